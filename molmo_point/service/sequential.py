"""Answers one job after the other, and plain point questions in batches: for every Pointer without a scheduler."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from molmo_point.defaults import STREAM_GRACE_S
from molmo_point.errors import Cancelled, PointError, QueryError, ServiceError, TimedOut
from molmo_point.pointer import PointStream, TextStream, View
from molmo_point.points import Point, Pointing, Status
from molmo_point.service.job import Job
from molmo_point.service.left_behind import Stopped
from molmo_point.service.own_pointer import OwnPointer, drained
from molmo_point.service.views import Views, answer_view_request
from molmo_point.wire import Op

log = logging.getLogger(__name__)


def check_alive(job: Job) -> bool:
    """Return whether a job still needs an answer; finish one that is cancelled or whose deadline has passed."""
    if job.finished:
        return False
    if job.cancelled:
        job.fail(Cancelled("the request was cancelled"))
        return False
    if job.left_s() <= 0:
        job.expire()
        return False
    return True


class SequentialAnswers:
    """Answers the jobs of a Pointer that cannot schedule. Belongs to the worker's thread alone; implements `Answers`.

    Args:
        pointer: Answers.
        views: The opened images that questions may be about.
        max_batch: Plain point questions answered together, where the Pointer is faster then.
        on_batch: Called with the number of jobs of each batch.
    """

    def __init__(
        self, pointer: OwnPointer, views: Views, max_batch: int, on_batch: Callable[[int], None]
    ) -> None:
        self._pointer = pointer
        self._views = views
        self._on_batch = on_batch
        self._jobs: list[Job] = []
        self.batch = max_batch if pointer.batches else 1

    @property
    def free_rows(self) -> int:
        """`batch` between two steps."""
        return 0 if self._jobs else self.batch

    @property
    def has_work(self) -> bool:
        """Whether there are jobs for the next step."""
        return bool(self._jobs)

    def fits(self, job: Job) -> bool:
        """Return True: no job makes another one of the same step wait longer."""
        return True

    def admit(self, jobs: list[Job]) -> None:
        """Take the jobs of the next step."""
        self._jobs = jobs

    def open_image(self, job: Job, opened: Callable[[Job, View], None]) -> None:
        """As `fan_out.Opens`, at once."""
        open_now(self._pointer, job, opened)

    def step(self) -> None:
        """Answer the admitted jobs whole."""
        left, self._jobs = self._jobs, []
        together = len(left)
        if together > 1:
            left = answer_batch(self._pointer, left)
        for job in left:
            answer_job(self._pointer, self._views, job)
        self._on_batch(together)

    def finish(self, grace_s: float, refusal: Callable[[], PointError]) -> None:
        """Fail the jobs that were admitted and not begun."""
        self.fail(refusal())

    def fail(self, error: PointError) -> None:
        """Fail the admitted jobs."""
        left, self._jobs = self._jobs, []
        for job in left:
            job.fail(error)


def answer_job(pointer: OwnPointer, views: Views, job: Job) -> None:
    """Answer one job whole, or fail it with what stops it; nothing is done for one that needs no answer any more."""
    if not check_alive(job):
        return
    try:
        _answer_job(pointer, views, job)
    except PointError as error:
        job.fail(error)
    except Stopped:
        return  # its caller was told so
    except BaseException as error:
        # `sys.exit` and asyncio's CancelledError in a Pointer, too: they end a question, not the thread for all others.
        log.exception("answering %s %r failed", job.request.op, job.request.query[:80])
        job.fail(internal_error(error))


def _answer_job(pointer: OwnPointer, views: Views, job: Job) -> None:
    if answer_view_request(pointer, views, job):
        return
    if job.opened is not None:
        ask_view(job.opened, job)
    elif job.request.view is not None:
        ask_view(views.get(job.request.view), job)
    else:
        ask_image(pointer, job)


def open_now(pointer: OwnPointer, job: Job, opened: Callable[[Job, View], None]) -> None:
    """Open the image of a job, and call `opened`."""
    image = job.image()
    if image is not None:  # cancelled just now
        opened(job, pointer.open(image))


def answer_batch(pointer: OwnPointer, jobs: list[Job]) -> list[Job]:
    """Answer plain point questions in one batch; return those that still need an answer of their own."""
    # A job that was cancelled just now has no image any more.
    asked = [(job, image) for job in jobs if (image := job.image()) is not None]
    jobs = [job for job, _ in asked]
    if not jobs:
        return []
    left_s = max(0.0, min(job.left_s() for job in jobs))
    began = time.monotonic()
    pairs = [(image, job.request.query) for job, image in asked]
    try:
        pointings = pointer.point_many(pairs, timeout_s=left_s)
    except Stopped:
        return []
    except BaseException:
        # One bad image or query fails the whole batch; answered one by one, the error reaches its own job.
        log.info("a batch of %d failed, answering one by one", len(jobs))
        return jobs
    return _hand_out(jobs, pointings, began)


def _hand_out(jobs: list[Job], pointings: Sequence[Pointing], began: float) -> list[Job]:
    if len(pointings) != len(jobs):
        log.error("%d answers for a batch of %d: answering one by one", len(pointings), len(jobs))
        return jobs
    again = []
    for job, pointing in zip(jobs, pointings, strict=True):
        # The batch ran with the shortest of the deadlines: jobs with time left are answered again, whole.
        if pointing.status is Status.TRUNCATED and job.left_s() > 0.05:
            again.append(job)
        else:
            job.pointing(with_request_metadata(pointing, job, began))
    return again


def ask_view(view: View, job: Job) -> None:
    """Answer a question about an opened image. Of a view of one's own only the method that is asked for need exist."""
    _ask(lambda name: getattr(view, name), job)


def ask_image(pointer: OwnPointer, job: Job) -> None:
    """Answer a question that brings its image."""
    image = job.image()
    if image is None:  # cancelled just now
        return
    _ask(lambda name: partial(getattr(pointer, name), image), job)


def _ask(method: Callable[[str], Callable[..., Any]], job: Job) -> None:
    """Answer a question with the method of that name, to which the image is no argument."""
    op, query, left_s = job.request.op, job.request.query, max(0.0, job.left_s())
    began = time.monotonic()
    if op is Op.POINT or op is Op.COUNT:
        pointing = method(op.value)(query, timeout_s=left_s)
        job.pointing(with_request_metadata(pointing, job, began))
    elif op is Op.ASK:
        job.text(method("ask")(query, timeout_s=left_s))
    elif op is Op.STREAM:
        _run_point_stream(method("stream")(query, timeout_s=left_s), job, began)
    elif op is Op.STREAM_TEXT:
        _run_text_stream(method("stream_text")(query, timeout_s=left_s), job)
    else:
        raise QueryError(f"{op} is not a question")


def _run_point_stream(stream: PointStream, job: Job, began: float) -> None:
    _stop_on_cancel(stream, job)
    while True:
        try:
            point = next(stream)
        except StopIteration as stop:
            if not isinstance(stop.value, Pointing):
                raise ServiceError(
                    f"the model's stream of points ended with {type(stop.value).__name__}, expected that it returns a Pointing"
                ) from None
            job.pointing(with_request_metadata(stop.value, job, began))
            return
        if not isinstance(point, Point):
            raise ServiceError(
                f"the model's stream of points yielded {type(point).__name__}, expected a Point"
            )
        if not _check_stream(job):
            close = getattr(stream, "close", None)
            if close is not None:
                close()
            return
        job.point(point)


def _run_text_stream(stream: TextStream, job: Job) -> None:
    _stop_on_cancel(stream, job)

    def on_piece(piece: str) -> bool:
        wanted = _check_stream(job)
        if wanted:
            job.piece(piece)
        return wanted

    text = drained(stream, on_piece)
    if not job.finished:
        job.text(text)


def _stop_on_cancel(stream: PointStream | TextStream, job: Job) -> None:
    """Have a cancellation stop the model between two points, where its streams can be cancelled from another thread."""
    cancel = getattr(stream, "cancel", None)
    if cancel is not None:
        job.on_cancel(cancel)


def _check_stream(job: Job) -> bool:
    """Whether to go on. The deadline is first the Pointer's to honour: it answers with what is complete."""
    if job.finished:
        return False
    if job.cancelled:
        job.fail(Cancelled("the request was cancelled"))
        return False
    if job.left_s() < -STREAM_GRACE_S:
        job.fail(
            TimedOut(f"the model was still running {STREAM_GRACE_S:.0f} s after the deadline")
        )
        return False
    return True


def with_request_metadata(pointing: Pointing, job: Job, began: float) -> Pointing:
    """Return the answer with the caller's stamp and frame, and how long the question waited."""
    waited = max(0.0, began - job.arrived)
    return pointing.model_copy(
        update={
            "stamp_ns": job.request.stamp_ns,
            "frame_id": job.request.frame_id,
            "timing": pointing.timing.model_copy(update={"queue_s": waited}),
        }
    )


def internal_error(error: BaseException) -> ServiceError:
    """Return the error that a caller gets for a failure of the server."""
    # The text of a foreign exception may hold paths or data: it goes to the log, not to the caller.
    return ServiceError(
        f"the server failed while answering ({type(error).__name__}); its log has the details"
    )
