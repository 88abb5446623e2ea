"""The one thread that owns the model: takes questions out of the line and answers them.

This file is the whole seam between the service and whatever answers: a scheduler that joins running generations takes its place
by offering the same four things (`start`, `stop`, `model`, `state`) over the same `Line` of `Job`s.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from molmo_point.errors import Cancelled, PointError, QueryError, ServiceError, TimedOut
from molmo_point.pointer import Pointer, PointStream, TextStream, View
from molmo_point.points import Pointing, Status
from molmo_point.service.job import Job
from molmo_point.service.line import Line
from molmo_point.service.settings import Settings
from molmo_point.service.views import Views
from molmo_point.wire import Op

log = logging.getLogger(__name__)

OVERTIME_S = 1.0
"""How long after its deadline a stream may go on to end by itself; one decoder pass of a large model takes a tenth of that."""

IDLE_S = 1.0
"""How often an idle worker looks for views to close and for the wish to stop."""


class Worker:
    """Loads a Pointer in its own thread and answers the line's jobs with it, one batch after the other.

    Args:
        load: Makes the Pointer; called in the worker's thread, so that sockets answer while a model loads.
        line: Where the jobs wait.
        settings: Limits.
        on_batch: Called with the number of jobs of each batch.
    """

    def __init__(
        self,
        load: Callable[[], Pointer],
        line: Line,
        settings: Settings,
        on_batch: Callable[[int], None] = lambda size: None,
    ) -> None:
        self._load = load
        self._line = line
        self._settings = settings
        self._on_batch = on_batch
        self._views = Views(settings.max_views, settings.view_idle_s)
        self._thread = threading.Thread(target=self._run, name="molmo-worker", daemon=True)
        self._stopping = threading.Event()
        self._busy_since: float | None = None
        self._loaded = False
        self.model = ""
        self.failure: Exception | None = None

    def start(self) -> None:
        """Begin to load and then to answer."""
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Refuse what waits, finish what is at work, free the model; returns after `timeout_s` seconds at the latest."""
        self._stopping.set()
        self._line.close()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def state(self) -> tuple[bool, str]:
        """Return (ready, in words), at once."""
        if self.failure is not None:
            return False, "failed to load the model"
        if self._stopping.is_set():
            return False, "stopping"
        if not self._loaded:
            return False, "loading"
        since = self._busy_since
        if since is not None and time.monotonic() - since > self._settings.stuck_after_s:
            return False, f"stuck for {time.monotonic() - since:.0f} s with one question"
        return True, "ready"

    def _run(self) -> None:
        try:
            pointer = self._load()
            self.model = pointer.model
        except Exception as error:
            log.exception("the model could not be loaded")
            self.failure = error
            self._line.close()
            return
        self._loaded = True
        try:
            while not self._stopping.is_set():
                jobs = self._line.take(self._settings.max_batch, IDLE_S)
                if jobs:
                    self._busy_since = time.monotonic()
                    self._answer(pointer, jobs)
                    self._busy_since = None
                else:
                    self._views.sweep()
        finally:
            self._views.sweep(everything=True)
            pointer.close()

    def _answer(self, pointer: Pointer, jobs: list[Job]) -> None:
        wanted = [job for job in jobs if _wanted(job)]
        if not wanted:
            return
        together = len(wanted)
        if together > 1:
            wanted = _answer_together(pointer, wanted)
        for job in wanted:
            if not _wanted(job):
                continue
            try:
                self._answer_one(pointer, job)
            except PointError as error:
                job.fail(error)
            except Exception as error:
                log.exception("answering %s %r failed", job.request.op, job.request.query[:80])
                job.fail(_internal(error))
        self._on_batch(together)

    def _answer_one(self, pointer: Pointer, job: Job) -> None:
        request = job.request
        if request.op is Op.OPEN:
            self._views.make_room()
            assert job.picture is not None  # the desk lets no OPEN in without one
            job.view(self._views.add(pointer.open(job.picture.image())))
        elif request.op is Op.CLOSE:
            self._views.close(request.view or "")
            job.done()
        elif request.view is not None:
            _ask_view(self._views.get(request.view), job)
        else:
            _ask_picture(pointer, job)


def _wanted(job: Job) -> bool:
    if job.finished:
        return False
    if job.cancelled:
        job.fail(Cancelled("the request was withdrawn"))
        return False
    if job.left_s() <= 0:
        job.expire()
        return False
    return True


def _answer_together(pointer: Pointer, jobs: list[Job]) -> list[Job]:
    """Answer plain point questions in one batch; return those that still need an answer of their own."""
    left_s = min(job.left_s() for job in jobs)
    began = time.monotonic()
    pairs = [(job.picture.image(), job.request.query) for job in jobs if job.picture is not None]
    try:
        pointings = pointer.point_many(pairs, timeout_s=left_s)
    except Exception:
        # One bad picture or query spoils the batch; asked one by one, the error finds its owner.
        log.info("a batch of %d failed, answering one by one", len(jobs))
        return jobs
    return _hand_out(jobs, pointings, began)


def _hand_out(jobs: list[Job], pointings: Sequence[Pointing], began: float) -> list[Job]:
    if len(pointings) != len(jobs):
        log.error("%d answers for a batch of %d: answering one by one", len(pointings), len(jobs))
        return jobs
    again = []
    for job, pointing in zip(jobs, pointings, strict=True):
        # The batch ran with the shortest of the deadlines: who has time left gets the rest of his answer.
        if pointing.status is Status.TRUNCATED and job.left_s() > 0.05:
            again.append(job)
        else:
            job.pointing(_stamped(pointing, job, began))
    return again


def _ask_view(view: View, job: Job) -> None:
    op, query, left_s = job.request.op, job.request.query, job.left_s()
    began = time.monotonic()
    if op is Op.POINT:
        job.pointing(_stamped(view.point(query, timeout_s=left_s), job, began))
    elif op is Op.COUNT:
        job.pointing(_stamped(view.count(query, timeout_s=left_s), job, began))
    elif op is Op.ASK:
        job.text(view.ask(query, timeout_s=left_s))
    elif op is Op.STREAM:
        _run_point_stream(view.stream(query, timeout_s=left_s), job, began)
    else:
        _run_text_stream(view.stream_text(query, timeout_s=left_s), job)


def _ask_picture(pointer: Pointer, job: Job) -> None:
    assert job.picture is not None  # the desk lets no question in without a picture or a view
    op, query, left_s = job.request.op, job.request.query, job.left_s()
    image = job.picture.image()
    began = time.monotonic()
    if op is Op.POINT:
        job.pointing(_stamped(pointer.point(image, query, timeout_s=left_s), job, began))
    elif op is Op.COUNT:
        job.pointing(_stamped(pointer.count(image, query, timeout_s=left_s), job, began))
    elif op is Op.ASK:
        job.text(pointer.ask(image, query, timeout_s=left_s))
    elif op is Op.STREAM:
        _run_point_stream(pointer.stream(image, query, timeout_s=left_s), job, began)
    elif op is Op.STREAM_TEXT:
        _run_text_stream(pointer.stream_text(image, query, timeout_s=left_s), job)
    else:
        raise QueryError(f"{op} is not a question")


def _run_point_stream(stream: PointStream, job: Job, began: float) -> None:
    while True:
        try:
            point = next(stream)
        except StopIteration as stop:
            job.pointing(_stamped(stop.value, job, began))
            return
        if not _stream_wanted(job):
            stream.close()
            return
        job.point(point)


def _run_text_stream(stream: TextStream, job: Job) -> None:
    while True:
        try:
            piece = next(stream)
        except StopIteration as stop:
            job.text(stop.value)
            return
        if not _stream_wanted(job):
            stream.close()
            return
        job.piece(piece)


def _stream_wanted(job: Job) -> bool:
    """Whether to go on. The deadline is first the Pointer's to honour: it answers with what is complete."""
    if job.cancelled:
        job.fail(Cancelled("the request was withdrawn"))
        return False
    if job.left_s() < -OVERTIME_S:
        job.fail(TimedOut(f"the model was still at work {OVERTIME_S:.0f} s after the deadline"))
        return False
    return True


def _stamped(pointing: Pointing, job: Job, began: float) -> Pointing:
    """Return the answer with the caller's stamp and frame, and how long the question waited."""
    waited = max(0.0, began - job.arrived)
    return pointing.model_copy(
        update={
            "stamp_ns": job.request.stamp_ns,
            "frame_id": job.request.frame_id,
            "timing": pointing.timing.model_copy(update={"queue_s": waited}),
        }
    )


def _internal(error: Exception) -> ServiceError:
    # The text of a foreign exception may hold paths or data: it belongs into the log, not on the wire.
    return ServiceError(
        f"the server failed while answering ({type(error).__name__}); its log has the details"
    )
