"""Continuous batching: jobs join while others are answered, so that none waits for the longest of a batch."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable

from molmo_point.errors import PointError
from molmo_point.pointer import ImageLike, Kind, SchedulingPointer, StepOutput, View
from molmo_point.points import Pointing
from molmo_point.service.job import Job
from molmo_point.service.sequential import internal_error, with_request_metadata
from molmo_point.service.views import Views, answer_view_request
from molmo_point.wire import Op

log = logging.getLogger(__name__)

KINDS: dict[Op, Kind] = {
    Op.POINT: "point",
    Op.STREAM: "point",
    Op.COUNT: "count",
    Op.ASK: "text",
    Op.STREAM_TEXT: "text",
}
"""What the scheduler calls each question."""


class ContinuousBatcher:
    """Answers jobs in one scheduler. Belongs to the worker's thread alone; implements `Answers`.

    Args:
        pointer: Makes the scheduler, and opens views.
        views: The opened images that questions may be about.
        on_batch: Called with the number of jobs in the scheduler whenever one joins.
    """

    batch = 1
    """One at a time: admitting an image takes long enough for a job with an older claim to arrive."""

    def __init__(
        self, pointer: SchedulingPointer, views: Views, on_batch: Callable[[int], None]
    ) -> None:
        self._pointer = pointer
        self._scheduler = pointer.scheduler()
        self._views = views
        self._on_batch = on_batch
        self._began: dict[Hashable, tuple[Job, float]] = {}

    @property
    def free_rows(self) -> int:
        """Number of jobs that can be admitted now."""
        return self._scheduler.free_rows

    @property
    def has_work(self) -> bool:
        """Whether any job is unfinished."""
        return self._scheduler.has_work

    def admit(self, jobs: list[Job]) -> None:
        """Add jobs to the scheduler, and answer those that open or close a view; fail what cannot be added."""
        for job in jobs:
            try:
                self._admit(job)
            except PointError as error:
                job.fail(error)
            except Exception as error:
                log.exception("admitting %s %r failed", job.request.op, job.request.query[:80])
                job.fail(internal_error(error))

    def _admit(self, job: Job) -> None:
        if answer_view_request(self._pointer, self._views, job):
            return
        request = job.request
        began = time.monotonic()
        image: ImageLike | View | None = job.opened
        if image is None:
            image = self._views.get(request.view) if request.view is not None else job.image()
        if image is None and request.image is not None:  # cancelled just now
            return
        left_s = max(0.0, job.left_s())
        kind = KINDS[request.op]
        limit = {} if request.max_tokens is None else {"max_new_tokens": request.max_tokens}
        self._scheduler.add(job, image, request.query, kind=kind, timeout_s=left_s, **limit)
        job.decoded = None  # the scheduler has what it needs of it
        self._began[job] = job, began
        self._on_batch(len(self._began))

    def step(self) -> None:
        """Make one pass for all jobs and send its outputs; cancelled jobs leave before it."""
        for job, _ in list(self._began.values()):
            if job.finished or job.cancelled:
                self._scheduler.cancel(job)
                del self._began[job]
        if not self.has_work:
            return
        for output in self._scheduler.step():
            self._send(output)

    def _send(self, output: StepOutput) -> None:
        job, began = self._began[output.key]
        if job.request.op is Op.STREAM:
            for point in output.points:
                job.point(point)
        elif job.request.op is Op.STREAM_TEXT and output.piece:
            job.piece(output.piece)
        if output.error is None and output.result is None:
            return
        del self._began[output.key]
        if output.error is not None:
            job.fail(output.error)
        elif isinstance(output.result, Pointing):
            job.pointing(with_request_metadata(output.result, job, began))
        elif output.result is not None:
            job.text(output.result)

    def finish(self, grace_s: float, refusal: Callable[[], PointError]) -> None:
        """Answer the admitted jobs within `grace_s` seconds, then fail the rest with `refusal()`."""
        end = time.monotonic() + grace_s
        while self.has_work and time.monotonic() < end:
            self.step()
        self.fail(refusal())

    def fail(self, error: PointError) -> None:
        """Fail all admitted jobs."""
        for job, _ in list(self._began.values()):
            self._scheduler.cancel(job)
            job.fail(error)
        self._began.clear()
