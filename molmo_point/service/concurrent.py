"""Answers several jobs at once, each in a thread of its own: for Pointers that wait for machines elsewhere."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial

from molmo_point.errors import PointError
from molmo_point.service.fan_out import Opened
from molmo_point.service.job import Job
from molmo_point.service.left_behind import NAME, Stopped, interrupt
from molmo_point.service.own_pointer import OwnPointer
from molmo_point.service.sequential import answer_job, open_now
from molmo_point.service.views import Views, close_view
from molmo_point.wire import Op

STEP_S = 1.0
"""How long a step waits at most for one of the running jobs."""


class ConcurrentAnswers:
    """Answers the jobs of a Pointer that may be used from several threads. Implements `Answers`; its methods are the worker's.

    Args:
        pointer: Answers; `pointer.concurrency` jobs run at once.
        views: The opened images that questions may be about.
        on_batch: Called with the number of running jobs whenever one begins.
    """

    batch = 1
    """One at a time: those that wait in the queue can still be reordered there."""

    def __init__(self, pointer: OwnPointer, views: Views, on_batch: Callable[[int], None]) -> None:
        self._pointer = pointer
        self._views = views
        self._on_batch = on_batch
        self._threads = pointer.concurrency
        self._running: dict[Future[None], _Answering] = {}

    @property
    def free_rows(self) -> int:
        """Number of threads without a job."""
        self._running = {end: one for end, one in self._running.items() if not end.done()}
        return self._threads - len(self._running)

    @property
    def has_work(self) -> bool:
        """Whether the worker has to wait for a thread. While one is free it waits for the queue instead."""
        return self.free_rows == 0

    def fits(self, job: Job) -> bool:
        """Return True: no job makes another one wait."""
        return True

    def open_image(self, job: Job, opened: Opened) -> None:
        """As `fan_out.Opens`, at once."""
        open_now(self._pointer, job, opened)

    def admit(self, jobs: list[Job]) -> None:
        """Begin to answer jobs."""
        for job in jobs:
            if job.request.op is Op.CLOSE:
                # At once: a question that names the closed image afterwards is refused.
                close_view(self._views, job)
                continue
            answering = _Answering(job, partial(answer_job, self._pointer, self._views, job))
            self._running[answering.end] = answering
            answering.start()
            self._on_batch(len(self._running))

    def step(self) -> None:
        """Wait until a thread is free."""
        wait(self._running, timeout=STEP_S, return_when=FIRST_COMPLETED)

    def finish(self, grace_s: float, refusal: Callable[[], PointError]) -> None:
        """Answer the running jobs within `grace_s` seconds, then fail the rest with `refusal()`."""
        wait(self._running, timeout=grace_s)
        self.fail(refusal())
        interrupt([one for end, one in self._running.items() if not end.done()])

    def fail(self, error: PointError) -> None:
        """Fail all running jobs; what a thread still hears is not passed on."""
        for end, one in self._running.items():
            if not end.done():
                one.job.fail(error)


class _Answering(threading.Thread):
    """Answers one job. No thread of a pool: Python waits for those at its end, however long they take.

    Attributes:
        job: The job.
        end: Has its (empty) result when the thread is through.
    """

    def __init__(self, job: Job, answer: Callable[[], None]) -> None:
        super().__init__(name=f"{NAME}answer", daemon=True)
        self.job = job
        self.end: Future[None] = Future()
        self._answer = answer

    def run(self) -> None:
        """Answer the job."""
        try:
            with contextlib.suppress(Stopped):
                self._answer()
        finally:
            self.end.set_result(None)
