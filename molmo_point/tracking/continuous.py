"""One continuous query: the model is asked about the newest frame, its points are carried to every frame since.

`CameraWatch` publishes with it for a server and for the command line, `molmo_robot` for the ROS node. OpenCV is needed only where
a `Tracker` is handed in.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from molmo_point.errors import MissingExtra, QueryError, Superseded
from molmo_point.images import Array
from molmo_point.points import Pointing
from molmo_point.wire import Track

if TYPE_CHECKING:
    from molmo_point.tracking.tracker import Tracker

log = logging.getLogger(__name__)

T = TypeVar("T")

RETRY_S = (0.2, 5.0)
"""Seconds before the model is asked again after a failure: the first pause, doubled at each further failure up to the second."""

FATAL = (QueryError, MissingExtra)
"""Errors that asking again cannot change."""

SET_BACK_S = 1.0
"""A frame this many seconds before the newest one was taken after the clock was set back."""

NOT_KEPT = "the points of the answer are not tracked: the frame it is about is no longer kept"
NOT_TRACKED = "the points of the answer could not be tracked to the newest frame"


@dataclass(frozen=True, eq=False)
class CameraFrame(Generic[T]):
    """One image of a camera.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        time_s: When it was taken, seconds on a clock that does not jump.
        data: What the caller needs to ask about it and to publish it.
        stamp_ns: Its stamp, passed through.
    """

    image: Array
    time_s: float
    data: T
    stamp_ns: int | None = None


@dataclass(frozen=True)
class TrackedPoints:
    """Where the points of one query are in the newest frame.

    Attributes:
        pointing: The points; `pending` while nothing is known.
        tracks: One for each point.
        evidence: (stamp in ns, age in seconds) of the frame that the last complete answer is about; None before one.
        in_doubt: Points that this frame does not show and that are not lost yet.
    """

    pointing: Pointing
    tracks: tuple[Track, ...]
    evidence: tuple[int | None, float] | None
    in_doubt: int


class ContinuousQuery(Generic[T]):
    """Ask about the newest frame as fast as the model answers; one question at a time, on a thread of its own.

    Args:
        ask: Yields one answer for each query of a frame; called on the asking thread.
        queries: What is asked.
        tracker: Carries the points from frame to frame; None: answers only, `add_frame` returns no points.
        on_answer: Called on the asking thread with the frame, its answer, and why the answer's points are not tracked (or "").
        on_failure: Called on the asking thread with the error of a question.
        every_s: Shortest time between the starts of two questions, seconds.
        retry_s: Pauses after failures, see `RETRY_S`.
        fatal: Errors that end the asking; the next `add_frame`, or `finish`, raises them.
        doubtful: Also give points that the newest frame does not show, where they were last, with a covariance that has grown.
        name: Of the thread.
    """

    def __init__(
        self,
        ask: Callable[[CameraFrame[T]], Iterable[Pointing]],
        queries: Sequence[str],
        *,
        tracker: Tracker | None,
        on_answer: Callable[[CameraFrame[T], Pointing, str], None],
        on_failure: Callable[[Exception], None],
        every_s: float = 0.0,
        retry_s: tuple[float, float] = RETRY_S,
        fatal: tuple[type[Exception], ...] = FATAL,
        doubtful: bool = True,
        name: str = "continuous-query",
    ) -> None:
        self._ask = ask
        self._queries = tuple(queries)
        self._tracker = tracker
        self._on_answer = on_answer
        self._on_failure = on_failure
        self._every_s = every_s
        self._retry_s = retry_s
        self._fatal_types = fatal
        self._doubtful = doubtful
        self._changed = threading.Condition()
        self._newest: CameraFrame[T] | None = None
        self._waiting: tuple[int, CameraFrame[T]] | None = None
        self._asking = False
        self._stopping = False
        self._fatal: Exception | None = None
        self._model = ""
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called; a question under way may be cancelled."""
        return self._stopping

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Ask no more; return after `timeout_s` seconds at the latest."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def finish(self, timeout_s: float) -> list[TrackedPoints]:
        """Wait until the newest frame was asked about; return where the points are in it.

        Raises:
            Exception: An error of a type in `fatal`.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._fatal is not None or (self._waiting is None and not self._asking),
                timeout_s,
            )
            if self._fatal is not None:
                raise self._fatal
            return self._tracked()

    def add_frame(self, frame: CameraFrame[T]) -> list[TrackedPoints]:
        """Track every point into the next frame and hand the frame to the asking thread; never waits for the model.

        A frame of another size, or one taken after the clock was set back, restarts the tracker.

        Returns:
            Where the points are in this frame, one item for each query; empty without a tracker.

        Raises:
            Exception: An error of a type in `fatal`.
        """
        with self._changed:
            if self._fatal is not None:
                raise self._fatal
            number = 0 if self._tracker is None else self._track(self._tracker, frame)
            self._newest = frame
            self._waiting = (number, frame)
            self._changed.notify_all()
            return self._tracked()

    def wait_newer(self, frame: CameraFrame[T], timeout_s: float) -> bool:
        """Wait for a frame after `frame`, or for the end; return False where neither came in time."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._stopping or self._newest is not frame, timeout_s
            )

    def _track(self, tracker: Tracker, frame: CameraFrame[T]) -> int:
        """Add a frame to the tracker; return its number, which an answer is expected about."""
        size = (int(frame.image.shape[1]), int(frame.image.shape[0]))
        before_s = frame.time_s if self._newest is None else self._newest.time_s
        if tracker.image_size not in (None, size) or frame.time_s < before_s - SET_BACK_S:
            log.warning(
                "%s: the frames changed their size or their time was set back: tracking restarts",
                self._thread.name,
            )
            tracker.restart()
        number = tracker.add_frame(frame.image, frame.time_s, frame.stamp_ns)
        if self._waiting is not None:
            tracker.release(self._waiting[0])
        tracker.expect(number)
        return number

    def _tracked(self) -> list[TrackedPoints]:
        tracker = self._tracker
        if tracker is None or tracker.image_size is None:
            return []
        return [
            TrackedPoints(
                *tracker.answer(query, self._model, doubtful=self._doubtful),
                tracker.evidence(query),
                tracker.doubtful(query),
            )
            for query in self._queries
        ]

    def _run(self) -> None:
        retry_s = self._retry_s[0]
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._waiting is not None, 1.0)
                if self._stopping:
                    return
                if self._waiting is None:
                    continue
                (number, frame), self._waiting = self._waiting, None
                self._asking = True
            began = time.monotonic()
            answered = self._try(number, frame)
            pause_s = self._every_s - (time.monotonic() - began)
            if not answered:
                pause_s = max(pause_s, retry_s)
            retry_s = self._retry_s[0] if answered else min(self._retry_s[1], 2 * retry_s)
            with self._changed:
                self._asking = False
                if self._tracker is not None:
                    self._tracker.release(number)
                self._changed.notify_all()
                if self._fatal is not None:
                    return
                self._changed.wait_for(lambda: self._stopping, max(0.0, pause_s))

    def _try(self, number: int, frame: CameraFrame[T]) -> bool:
        """Ask about one frame; return whether to ask about the next one at the usual pace."""
        try:
            for pointing in self._ask(frame):
                self._on_answer(frame, pointing, self._merge(number, pointing))
        except Superseded:
            return True
        except Exception as error:
            if isinstance(error, self._fatal_types):
                self._fatal = error
            elif not self._stopping:
                self._forget_answers()
                self._on_failure(error)
            return False
        return True

    def _merge(self, number: int, pointing: Pointing) -> str:
        """Carry the points of an answer to the newest frame; return why they are not tracked, or ""."""
        tracker = self._tracker
        if tracker is None:
            return ""
        with self._changed:
            self._model = pointing.model
            catch_up = tracker.catch_up(number, pointing)
        if catch_up is not None:
            # Through all the frames since the question, without holding up new ones.
            catch_up.run()
        with self._changed:
            if catch_up is None or not tracker.merge(catch_up):
                return NOT_KEPT
            _, tracks = tracker.answer(pointing.query, doubtful=False)
            return NOT_TRACKED if pointing.points and not tracks else ""

    def _forget_answers(self) -> None:
        """Which of several queries was answered before does not matter: the frame as a whole was not."""
        if self._tracker is not None:
            with self._changed:
                for query in self._queries:
                    self._tracker.answer_failed(query)
