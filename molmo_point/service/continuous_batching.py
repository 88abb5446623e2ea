"""Answering jobs with a model that lets them join while others are at work: no question waits for the longest of a batch."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Protocol, cast

from molmo_point.errors import PointError
from molmo_point.pointer import Pointer
from molmo_point.points import Pointing
from molmo_point.service.job import Job
from molmo_point.service.sequential import internal_error, with_request_metadata
from molmo_point.service.views import Views
from molmo_point.wire import Op

log = logging.getLogger(__name__)

KINDS = {
    Op.POINT: "point",
    Op.STREAM: "point",
    Op.COUNT: "count",
    Op.ASK: "text",
    Op.STREAM_TEXT: "text",
}
"""Questions that can join, and what the scheduler calls them."""


class Scheduler(Protocol):
    """What is needed of `molmo_point.engine.scheduler.Scheduler`."""

    @property
    def free_rows(self) -> int: ...
    @property
    def has_work(self) -> bool: ...
    def add(
        self, key: Job, image: Any, query: str, *, kind: str, timeout_s: float | None
    ) -> None: ...
    def cancel(self, key: Job) -> None: ...
    def step(self) -> list[Any]: ...


class ContinuousBatcher:
    """Jobs at work in one scheduler. Belongs to the worker's thread alone.

    Args:
        views: The opened pictures that questions may be about.
        on_batch: Called with the number of jobs at work whenever one joins.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        views: Views,
        on_batch: Callable[[int], None],
    ) -> None:
        self._scheduler = scheduler
        self._views = views
        self._on_batch = on_batch
        self._began: dict[Job, float] = {}

    @classmethod
    def of(
        cls,
        pointer: Pointer,
        views: Views,
        on_batch: Callable[[int], None],
    ) -> ContinuousBatcher | None:
        """Return one for a Pointer that can schedule (`LocalPointer.scheduler`), None for another."""
        scheduler = getattr(pointer, "scheduler", None)
        if scheduler is None:
            return None
        return cls(cast("Scheduler", scheduler()), views, on_batch)

    @property
    def room(self) -> int:
        """How many more jobs may join now."""
        return self._scheduler.free_rows

    @property
    def busy(self) -> bool:
        """Whether a job is at work."""
        return self._scheduler.has_work

    def join(self, job: Job) -> bool:
        """Let a job join, or fail it; return False for one that is no question."""
        request = job.request
        kind = KINDS.get(request.op)
        if kind is None:
            return False
        began = time.monotonic()
        try:
            if request.view is not None:
                view: Any = self._views.get(request.view)
                image = view.encoded()
            else:
                image = job.image()
                if image is None and request.image is not None:  # withdrawn this moment
                    return True
            left_s = max(0.0, job.left_s())
            self._scheduler.add(job, image, request.query, kind=kind, timeout_s=left_s)
            job.decoded = None  # the scheduler has what it needs of it
        except PointError as error:
            job.fail(error)
            return True
        except Exception as error:
            log.exception("reading the picture for %r failed", request.query[:80])
            job.fail(internal_error(error))
            return True
        self._began[job] = began
        self._on_batch(len(self._began))
        return True

    def step(self) -> None:
        """Make one pass for all jobs at work, and give out what it brought; withdrawn ones leave before it."""
        for job in [job for job in self._began if job.finished or job.cancelled]:
            self._scheduler.cancel(job)
            del self._began[job]
        if not self.busy:
            return
        for news in self._scheduler.step():
            job = news.key
            if job.request.op is Op.STREAM:
                for point in news.points:
                    job.point(point)
            elif job.request.op is Op.STREAM_TEXT and news.piece:
                job.piece(news.piece)
            if news.error is not None:
                del self._began[job]
                job.fail(news.error)
            elif news.result is not None:
                began = self._began.pop(job)
                if isinstance(news.result, Pointing):
                    job.pointing(with_request_metadata(news.result, job, began))
                else:
                    job.text(news.result)

    def finish(self, most_s: float, refusal: Callable[[], PointError]) -> None:
        """Answer what is at work within `most_s` seconds, and fail the rest with `refusal()`: the server stops."""
        end = time.monotonic() + most_s
        while self.busy and time.monotonic() < end:
            self.step()
        self.fail(refusal())

    def fail(self, error: PointError) -> None:
        """Refuse all jobs at work: the model failed under them."""
        for job in list(self._began):
            self._scheduler.cancel(job)
            job.fail(error)
        self._began.clear()
