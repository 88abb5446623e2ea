"""`molmo-point watch`: follow what a camera sees, at the camera's rate, from a model that answers a few times a second."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molmo_point.cli.exit_codes import FAILED
from molmo_point.cli.model_options import (
    AsJson,
    ModelSelection,
    Quiet,
    open_pointer,
    with_model_options,
)
from molmo_point.defaults import WATCH_TIMEOUT_S
from molmo_point.points import Status
from molmo_point.wording import counted

if TYPE_CHECKING:
    from molmo_point.tracking.camera_watch import CameraWatch
    from molmo_point.tracking.frame_sources import SourceFrame
    from molmo_point.wire import Publication

LINES_S = 0.5
"""How often the plain output says where things are; --json says it for every frame."""

NOTHING = 3


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("watch")(watch)


@with_model_options
def watch(
    source: Annotated[
        str,
        typer.Option(
            help="Number or device file of a camera, a video file, or rtsp://, http://, udp://."
        ),
    ],
    query: Annotated[list[str], typer.Option(help="What to look for; repeatable.")],
    camera: Annotated[
        str, typer.Option(help="Name of the camera in what is published.")
    ] = "camera",
    publish: Annotated[
        str | None,
        typer.Option(help="Also publish over ZeroMQ (PUB) at this address: tcp://127.0.0.1:5557."),
    ] = None,
    insecure: Annotated[
        bool, typer.Option(help="Let --publish be heard by other machines.")
    ] = False,
    every: Annotated[
        float, typer.Option(min=0.0, help="Seconds between questions; 0: as fast as answers come.")
    ] = 0.0,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds for each question.")
    ] = WATCH_TIMEOUT_S,
    frames: Annotated[
        int, typer.Option(min=0, help="Stop after this number of frames; 0: never.")
    ] = 0,
    pace: Annotated[
        bool, typer.Option(help="Play a file at its own rate; otherwise as fast as it is read.")
    ] = True,
    reconnect: Annotated[
        bool, typer.Option(help="Open a camera or a stream again when it stops sending.")
    ] = True,
    *,
    where: ModelSelection,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Look for things in every frame: molmo-point watch --source 0 --query "red mug".

    The model answers as fast as it can; in between, points are carried along with the image. Each keeps its number for as long
    as it is followed, and says how old the frame is that the model saw it in. Ctrl-C stops.

    Before the first answer, and when every point was lost, the status is `pending`; `not_found` means that the model said so.
    Exit code 0: something was found; 3: the model answered, and nothing matched; 1: no complete answer came.
    """
    from molmo_point.tracking.camera_watch import CameraWatch
    from molmo_point.tracking.frame_sources import frames as read

    say = _Speaker(as_json)
    stop = threading.Event()
    with (
        _stopped_by_signals(stop),
        open_pointer(where, quiet=quiet) as pointer,
        _publisher(publish, insecure) as send,
    ):

        def out(publication: Publication) -> None:
            say(publication)
            send(publication)

        watching = CameraWatch(
            pointer, query, camera=camera, publish=out, timeout_s=timeout, every_s=every
        )
        images = read(source, paced=pace, reconnect=reconnect, stop=stop)
        _follow(watching, images, stop, at_most=frames, timeout_s=timeout, quiet=quiet)
    raise typer.Exit(0 if say.found else NOTHING if watching.answered else FAILED)


def _follow(
    watching: CameraWatch,
    frames: Iterable[SourceFrame],
    stop: threading.Event,
    *,
    at_most: int,
    timeout_s: float,
    quiet: bool,
) -> None:
    """Show every frame to `watching` until `stop`, the end or `at_most` frames (0: no limit); then wait for what is asked."""
    began = time.monotonic()
    seen = 0
    with watching:
        for frame in frames:
            watching.frame(frame.image, stamp_ns=frame.stamp_ns, time_s=frame.time_s)
            seen += 1
            if stop.is_set() or seen == at_most:
                break
        if not stop.is_set():
            # A short clip ends before the answer; what was asked about its newest frame is still an answer about it.
            watching.finish(timeout_s)
    if not quiet:
        _sum_up(seen, time.monotonic() - began, watching)


def _sum_up(seen: int, seconds: float, watching: CameraWatch) -> None:
    sys.stderr.write(
        f"{counted(seen, 'frame')} at {seen / max(1e-9, seconds):.1f} Hz; questions answered: {watching.asked} "
        f"({watching.incomplete} incomplete), failed: {watching.failed}\n"
    )


class _Speaker:
    """Writes publications to stdout: each as a JSON line, or a plain line now and then."""

    def __init__(self, as_json: bool) -> None:
        self._json = as_json
        self.found = 0
        self._next: dict[str, float] = {}
        self._told: set[str] = set()

    def __call__(self, publication: Publication) -> None:
        self.found += len(publication.tracks)
        if self._json:
            sys.stdout.write(publication.model_dump_json() + "\n")
            sys.stdout.flush()
            return
        query, status = publication.pointing.query, publication.pointing.status
        if status is Status.PENDING and query not in self._told:
            return  # nothing is known yet: said by silence
        if time.monotonic() < self._next.get(query, 0.0):
            return
        self._next[query] = time.monotonic() + LINES_S
        places = "  ".join(
            f"#{track.id} ({point.x:.3f}, {point.y:.3f}) {track.evidence_age_s:.1f} s old"
            for point, track in zip(publication.pointing.points, publication.tracks, strict=True)
        )
        self._told.add(query)
        nothing = "nothing" if status is Status.NOT_FOUND else "lost, or no answer yet"
        sys.stdout.write(f"{query}: {places or nothing}\n")
        sys.stdout.flush()


@contextmanager
def _publisher(address: str | None, insecure: bool) -> Iterator[Callable[[Publication], object]]:
    if address is None:
        yield lambda publication: None
        return
    import zmq

    from molmo_point.errors import UsageError
    from molmo_point.service.bind_check import check_bind_address, host_of
    from molmo_point.wire import encode_publication

    remedy = "publish through a server with --curve-dir"
    check_bind_address(host_of(address), secured=False, insecure=insecure, remedy=remedy)
    context: zmq.Context[Any] = zmq.Context.instance()
    socket = context.socket(zmq.PUB)
    try:
        socket.bind(address)
    except zmq.ZMQError as error:
        socket.close(0)
        raise UsageError(f"cannot publish at {address}: {error.strerror}") from error
    sys.stderr.write(f"publishing at {socket.getsockopt_string(zmq.LAST_ENDPOINT)}\n")
    try:
        yield lambda publication: socket.send_multipart(encode_publication(publication))
    finally:
        socket.close(200)


@contextmanager
def _stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    before = {
        number: signal.signal(number, lambda *_: stop.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
