"""Continuous batching: jobs join while others are answered, so that none waits for the longest of a batch."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable
from typing import Any

from molmo_point.errors import PointError
from molmo_point.pointer import Images, Kind, PreparedImage, SchedulingPointer, StepOutput
from molmo_point.points import Pointing
from molmo_point.service.fan_out import Opened
from molmo_point.service.job import Job
from molmo_point.service.sequential import internal_error, with_request_metadata
from molmo_point.service.views import Views, close_view, keep_view
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
        pointer: Makes the scheduler.
        views: The opened images that questions may be about.
        on_batch: Called with the number of jobs in the scheduler whenever one joins.
    """

    batch = 1
    """One at a time: whether the next one fits depends on the last one."""

    def __init__(
        self, pointer: SchedulingPointer, views: Views, on_batch: Callable[[int], None]
    ) -> None:
        self._scheduler = pointer.scheduler()
        self._views = views
        self._on_batch = on_batch
        self._began: dict[Hashable, tuple[Job, float]] = {}
        # What takes the view of a job whose image is opened for it.
        self._opened: dict[Hashable, Opened] = {}

    @property
    def free_rows(self) -> int:
        """Number of jobs that can be admitted now."""
        return self._scheduler.free_rows

    @property
    def has_work(self) -> bool:
        """Whether any job is unfinished."""
        return self._scheduler.has_work

    def fits(self, job: Job) -> bool:
        """Return whether a job can be admitted without waiting behind the crops of a whole batch."""
        prepared = job.prepared
        return prepared is None or self._scheduler.takes(prepared, ahead=self._goes_ahead(job))

    def _goes_ahead(self, job: Job) -> bool:
        """Whether its image overtakes others': its caller has nothing else under way, by its name or by its connection."""
        return not any(
            other.turn == job.turn or other.caller == job.caller
            for other, _ in self._began.values()
        )

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

    def open_image(self, job: Job, opened: Opened) -> None:
        """Have the image of a job opened in the scheduler's stages; as `fan_out.Opens`."""
        image: Images | PreparedImage | None = job.prepared or job.image()
        if image is None:  # cancelled just now
            return
        self._scheduler.open(job, image, ahead=self._goes_ahead(job), **job.detail)
        self._began[job], self._opened[job] = (job, time.monotonic()), opened
        job.decoded = job.prepared = None  # the scheduler has what it needs of it

    def _admit(self, job: Job) -> None:
        request = job.request
        if request.op is Op.CLOSE:
            close_view(self._views, job)
            return
        began = time.monotonic()
        image: Images | PreparedImage | None = job.prepared or job.image()
        if image is None and job.nbytes:  # cancelled just now
            return
        if request.op is Op.OPEN:
            assert image is not None  # the dispatcher refuses others
            self._views.make_room()
            self._scheduler.open(job, image, ahead=self._goes_ahead(job), **job.detail)
        else:
            view = job.opened
            if view is None and request.view is not None:
                view = self._views.get(request.view)
            kind, left_s = KINDS[request.op], max(0.0, job.left_s())
            limits: dict[str, Any] = {"ahead": self._goes_ahead(job), **job.detail}
            if request.max_tokens is not None:
                limits["max_new_tokens"] = request.max_tokens
            self._scheduler.add(
                job, view or image, request.query, kind=kind, timeout_s=left_s, **limits
            )
        job.decoded = job.prepared = None  # the scheduler has what it needs of it
        self._began[job] = job, began
        self._on_batch(len(self._began))

    def step(self) -> None:
        """Do one piece of work and send its outputs; cancelled jobs leave before it, in whatever stage they are."""
        for job, _ in list(self._began.values()):
            if (job.request.op is Op.OPEN or job in self._opened) and job.left_s() <= 0:
                job.expire()
            if job.finished or job.cancelled:
                self._scheduler.cancel(job)
                del self._began[job]
                self._opened.pop(job, None)
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
        if not output.last:
            return
        del self._began[output.key]
        opened = self._opened.pop(output.key, None)
        if output.error is not None:
            job.fail(output.error)
        elif isinstance(output.result, Pointing):
            job.pointing(with_request_metadata(output.result, job, began))
        elif output.view is not None and opened is not None:
            opened(job, output.view)
        elif output.view is not None:
            keep_view(self._views, output.view, job)
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
        self._opened.clear()
