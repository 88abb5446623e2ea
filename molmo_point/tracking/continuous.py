"""A standing query: one thread asks the model as fast as it answers, the caller's thread follows the points frame by frame."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from molmo_point.defaults import WATCH_TIMEOUT_S
from molmo_point.errors import MissingExtra, PointError, QueryError, Superseded, UsageError
from molmo_point.pointer import Pointer
from molmo_point.points import Pointing, Status
from molmo_point.tracking import Tracker
from molmo_point.wire import Publication

log = logging.getLogger(__name__)

RETRY_S = (0.2, 5.0)
"""After a failed question: the first wait, doubled at each further one up to the second number."""


class Watch:
    """Looks for several things in every frame of one camera.

    Args:
        pointer: Who is asked; from one thread of the watch.
        queries: What to look for.
        camera: Its name.
        publish: Hears one publication per query and frame, in the thread that brings the frames.
        timeout_s: For each question.
        every_s: Shortest time between two questions about different frames; 0 asks as fast as answers come.
        frame_id: The camera's coordinate frame.

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
        frame_id: str | None = None,
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
        self._every_s = every_s
        self._frame_id = frame_id
        self._tracker = Tracker()
        self._changed = threading.Condition()
        self._waiting: tuple[int, Any, int | None] | None = None
        self._stopping = False
        self._fatal: UsageError | None = None
        self._model = ""
        self._busy = False
        self._unknown: set[str] = set()
        self.asked = 0
        self.answered = 0
        self.incomplete = 0
        self.failed = 0
        self._thread = threading.Thread(target=self._ask_on, name=f"watch-{camera}", daemon=True)

    def start(self) -> Watch:
        """Begin to ask."""
        self._thread.start()
        return self

    def stop(self, timeout_s: float = 5.0) -> None:
        """Ask no more; returns after `timeout_s` seconds at the latest."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def finish(self, timeout_s: float) -> list[Publication]:
        """Wait until the newest frame was asked about, for a source that has ended; return where the points are in it.

        Publishes what was `pending` and is known by now.

        Raises:
            UsageError: A query that the model refuses.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._fatal is not None or (self._waiting is None and not self._busy),
                timeout_s,
            )
            if self._fatal is not None:
                raise self._fatal
            publications = [self._where(query) for query in sorted(self._unknown)]
            publications = [p for p in publications if p.pointing.status is not Status.PENDING]
        for publication in publications:
            self._publish(publication)
        return publications

    def frame(
        self, image: Any, *, stamp_ns: int | None = None, time_s: float | None = None
    ) -> list[Publication]:
        """Follow every point into a new frame and publish where they are; never waits for the model.

        Args:
            image: (H, W, 3) uint8 RGB.
            stamp_ns: The frame's stamp, passed through.
            time_s: When it was taken, on a clock that does not jump; now, if it is not said.

        Raises:
            UsageError: A query that the model refuses.
        """
        size = (int(image.shape[1]), int(image.shape[0]))
        with self._changed:
            if self._fatal is not None:
                raise self._fatal
            if self._tracker.image_size not in (None, size):
                log.warning(
                    "camera %s now sends frames of %s: its points start again", self._camera, size
                )
                self._tracker.restart()
            taken_s = time.monotonic() if time_s is None else time_s
            number = self._tracker.add_frame(image, taken_s, stamp_ns)
            if self._waiting is not None:
                self._tracker.release(self._waiting[0])
            self._tracker.expect(number)
            self._waiting = (number, image, stamp_ns)
            publications = [self._where(query) for query in self._queries]
            pending = [p for p in publications if p.pointing.status is Status.PENDING]
            self._unknown = {publication.pointing.query for publication in pending}
            self._changed.notify_all()
        for publication in publications:
            self._publish(publication)
        return publications

    def __enter__(self) -> Watch:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _where(self, query: str) -> Publication:
        pointing, tracks = self._tracker.answer(query, self._model, self._frame_id)
        stamp_ns, age_s = self._tracker.evidence(query) or (None, None)
        return Publication(
            camera=self._camera,
            pointing=pointing,
            tracks=tracks,
            evidence_stamp_ns=stamp_ns,
            evidence_age_s=age_s,
        )

    def _ask_on(self) -> None:
        wait_s = RETRY_S[0]
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._waiting is not None, 1.0)
                if self._stopping:
                    return
                if self._waiting is None:
                    continue
                (number, image, stamp_ns), self._waiting = self._waiting, None
                self._busy = True
            began = time.monotonic()
            fine = self._try(number, image, stamp_ns)
            pause_s = self._every_s - (time.monotonic() - began) if fine else wait_s
            wait_s = RETRY_S[0] if fine else min(RETRY_S[1], 2 * wait_s)
            with self._changed:
                self._busy = False
                self._tracker.release(number)
                self._changed.notify_all()
                if self._fatal is not None:
                    return
                self._changed.wait_for(lambda: self._stopping, max(0.0, pause_s))

    def _try(self, number: int, image: Any, stamp_ns: int | None) -> bool:
        """Ask about one frame; return whether to ask about the next one at the usual pace."""
        try:
            self._ask(number, image, stamp_ns)
        except Superseded:
            return True
        except (QueryError, MissingExtra) as error:
            # Asking again would end the same way: the next frame brings it to the caller.
            self._fatal = error
        except Exception as error:
            self._fail(error)
            return False
        return True

    def _fail(self, error: Exception) -> None:
        level = logging.WARNING if isinstance(error, PointError) else logging.ERROR
        log.log(level, "asking about camera %s failed: %s", self._camera, error)
        with self._changed:
            self.failed += 1
            # Which of several queries was answered before does not matter: the frame as a whole was not.
            for query in self._queries:
                self._tracker.answer_failed(query)

    def _ask(self, number: int, image: Any, stamp_ns: int | None) -> None:
        """Ask every query about one frame; the picture is sent and encoded once."""
        if len(self._queries) == 1:
            query = self._queries[0]
            answer = self._pointer.point(
                image, query, timeout_s=self._timeout_s, stamp_ns=stamp_ns
            )
            self._take_in(number, answer)
        else:
            with self._pointer.open(image) as view:
                for query in self._queries:
                    self._take_in(number, view.point(query, timeout_s=self._timeout_s))
        self.asked += 1

    def _take_in(self, number: int, answer: Pointing) -> None:
        complete = answer.status in (Status.FOUND, Status.NOT_FOUND)
        with self._changed:
            self._model = answer.model
            self.answered += complete
            self.incomplete += not complete
            catch_up = self._tracker.catch_up(number, answer)
        if catch_up is None:  # the tracker was restarted since
            return
        # The long way, through all the frames since the question, without holding up new ones.
        catch_up.run()
        with self._changed:
            self._tracker.merge(catch_up)
