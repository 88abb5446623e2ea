"""Latency of cancelling: a robot's request to a server in the same process.

    python -m benchmarks.cancel [--rounds 50]

The model computes without yielding a point, which is the hard case: no reply wakes the waiting thread. Measured from the client's
cancel: the time until the request has its result (CANCELED), and until the model's stream is told to stop. Prints a table on
stdout.
"""

from __future__ import annotations

import argparse
import threading
import time
from typing import Any

import numpy as np
from molmo_robot.codes import Code
from molmo_robot.reconnecting_pointer import connect
from molmo_robot.session import Session
from molmo_robot.settings import Settings
from molmo_robot.types import Request

from benchmarks.report import spread, table
from molmo_point.errors import Cancelled
from molmo_point.service.run import ServeOptions, Service
from molmo_point.testing import FakePointer


class Thought:
    """A stream that gives nothing until it is told to stop; keeps when that was."""

    def __init__(self) -> None:
        self.begun, self._stopped = threading.Event(), threading.Event()
        self.stopped_at = float("nan")

    def cancel(self) -> None:
        """As of a model that looks up between two tokens."""
        self.stopped_at = time.perf_counter()
        self._stopped.set()

    def __next__(self) -> Any:
        self.begun.set()
        if not self._stopped.wait(60):
            raise TimeoutError("nobody stopped the model within 60 s")
        raise Cancelled("stopped")

    def close(self) -> None:
        """Nothing to free."""


class Thinker(FakePointer):
    """Thinks, once for each request."""

    def __init__(self) -> None:
        super().__init__()
        self.thought = Thought()

    def stream(self, image: Any, query: str, **options: Any) -> Any:
        return self.thought


def once(session: Session, thinker: Thinker, frame: Any) -> tuple[float, float]:
    """Ask, cancel while the model thinks; return the seconds until the outcome and until the model heard of it."""
    thinker.thought = thought = Thought()
    cancelled_at = [float("inf")]

    def cancel() -> None:
        thought.begun.wait(60)
        time.sleep(0.01)
        cancelled_at[0] = time.perf_counter()

    threading.Thread(target=cancel).start()
    request = Request("mug", image=frame, timeout_s=50.0, compute_position=False)
    outcome = session.point(request, cancelled=lambda: time.perf_counter() >= cancelled_at[0])
    ended_at = time.perf_counter()
    if outcome.code is not Code.CANCELED:
        raise SystemExit(f"expected CANCELED, got {outcome.code!r}: {outcome.message}")
    while np.isnan(thought.stopped_at):
        time.sleep(0.0005)
    return ended_at - cancelled_at[0], thought.stopped_at - cancelled_at[0]


class Frame:
    """What a `sensor_msgs/Image` of 640x480 holds."""

    class header:
        """Return the width and height of the image."""

        class stamp:
            """When it was taken."""

            sec, nanosec = 1, 0

        frame_id = "camera"

    height, width, encoding, is_bigendian, step = 480, 640, "rgb8", 0, 1920
    data = np.zeros(480 * 640 * 3, np.uint8)


def main() -> None:
    """Measure over both transports and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=50, help="Requests for each transport.")
    rounds: int = parser.parse_args().rounds
    thinker = Thinker()
    options = ServeOptions(zmq="tcp://127.0.0.1:*", publish=None, http=("127.0.0.1", 0))
    rows = []
    with Service(lambda: thinker, options) as service:
        assert service.zmq is not None
        assert service.http is not None
        for endpoint in (service.zmq.address, service.http.url):
            settings = Settings.of({"server_endpoint": endpoint, "max_image_age_s": 0.0})
            pointer = connect(settings)
            session = Session(settings, pointer)
            times = [once(session, thinker, Frame) for _ in range(rounds)]
            pointer.close()
            ended, heard = zip(*times, strict=True)
            rows.append((endpoint.partition(":")[0], spread(ended), spread(heard)))
    table(
        f"from the cancel on, ms: median (least-most) of {rounds}",
        ("transport", "until the outcome", "until the model is told"),
        rows,
    )


if __name__ == "__main__":
    main()
