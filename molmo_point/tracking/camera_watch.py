"""Continuous pointing for one camera: one publication per query and frame, for a server and for the command line."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence

from molmo_point.defaults import WATCH_TIMEOUT_S
from molmo_point.errors import PointError, QueryError
from molmo_point.images import Array
from molmo_point.pointer import Pointer
from molmo_point.points import Pointing, Status
from molmo_point.tracking.continuous import CameraFrame, ContinuousQuery, TrackedPoints
from molmo_point.tracking.tracker import Tracker
from molmo_point.wire import Publication

log = logging.getLogger(__name__)


class CameraWatch:
    """Look for several things in every frame of one camera.

    Args:
        pointer: The model; called from one thread of the watch.
        queries: What to look for.
        camera: Its name.
        publish: Receives one publication per query and frame, in the thread that brings the frames.
        timeout_s: For each question.
        every_s: Shortest time between two questions about different frames, seconds; 0 asks as fast as answers come.

    Attributes:
        asked: Frames that were asked about and answered.
        answered: Complete answers, one for each query and frame.
        incomplete: Answers that were truncated or malformed.
        failed: Frames that were asked about without an answer.
    """

    def __init__(
        self,
        pointer: Pointer,
        queries: Sequence[str],
        *,
        camera: str = "camera",
        publish: Callable[[Publication], None],
        timeout_s: float = WATCH_TIMEOUT_S,
        every_s: float = 0.0,
    ) -> None:
        if not queries or any(not query.strip() for query in queries):
            raise QueryError(
                f"expected at least one query and none of them empty, got {list(queries)}"
            )
        self._pointer = pointer
        self._queries = list(dict.fromkeys(queries))
        self._camera = camera
        self._publish = publish
        self._timeout_s = timeout_s
        self._pending: set[str] = set()
        self.asked = 0
        self.answered = 0
        self.incomplete = 0
        self.failed = 0
        self._continuous: ContinuousQuery[None] = ContinuousQuery(
            self._ask,
            self._queries,
            tracker=Tracker(),
            on_answer=self._count_answer,
            on_failure=self._count_failure,
            every_s=every_s,
            name=f"watch-{camera}",
        )

    def start(self) -> CameraWatch:
        """Begin to ask."""
        self._continuous.start()
        return self

    def stop(self, timeout_s: float = 5.0) -> None:
        """Ask no more; return after `timeout_s` seconds at the latest."""
        self._continuous.stop(timeout_s)

    def finish(self, timeout_s: float) -> list[Publication]:
        """Wait until the newest frame was asked about, for a source that has ended; return where the points are in it.

        Publishes what was `pending` and is known by now.

        Raises:
            UsageError: A query that the model refuses.
        """
        publications = [
            self._publication(tracked)
            for tracked in self._continuous.finish(timeout_s)
            if tracked.pointing.query in self._pending
            and tracked.pointing.status is not Status.PENDING
        ]
        for publication in publications:
            self._publish(publication)
        return publications

    def frame(
        self, image: Array, *, stamp_ns: int | None = None, time_s: float | None = None
    ) -> list[Publication]:
        """Track every point into a new frame and publish where they are; never waits for the model.

        Args:
            image: (H, W, 3) uint8 RGB.
            stamp_ns: The frame's stamp, passed through.
            time_s: When it was taken, on a clock that does not jump; None: now.

        Raises:
            UsageError: A query that the model refuses.
        """
        taken_s = time.monotonic() if time_s is None else time_s
        tracked = self._continuous.add_frame(CameraFrame(image, taken_s, None, stamp_ns))
        self._pending = {t.pointing.query for t in tracked if t.pointing.status is Status.PENDING}
        publications = [self._publication(t) for t in tracked]
        for publication in publications:
            self._publish(publication)
        return publications

    def __enter__(self) -> CameraWatch:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _publication(self, tracked: TrackedPoints) -> Publication:
        stamp_ns, age_s = tracked.evidence or (None, None)
        return Publication(
            camera=self._camera,
            pointing=tracked.pointing,
            tracks=tracked.tracks,
            evidence_stamp_ns=stamp_ns,
            evidence_age_s=age_s,
        )

    def _ask(self, frame: CameraFrame[None]) -> Iterator[Pointing]:
        """Ask every query about one frame; the image is sent and encoded once."""
        if len(self._queries) == 1:
            yield self._pointer.point(
                frame.image,
                self._queries[0],
                timeout_s=self._timeout_s,
                stamp_ns=frame.stamp_ns,
            )
        else:
            with self._pointer.open(frame.image) as view:
                for query in self._queries:
                    yield view.point(query, timeout_s=self._timeout_s)
        self.asked += 1

    def _count_answer(self, frame: CameraFrame[None], answer: Pointing, not_tracked: str) -> None:
        complete = answer.status in (Status.FOUND, Status.NOT_FOUND)
        self.answered += complete
        self.incomplete += not complete

    def _count_failure(self, error: Exception) -> None:
        level = logging.WARNING if isinstance(error, PointError) else logging.ERROR
        log.log(level, "asking about camera %s failed: %s", self._camera, error)
        self.failed += 1
