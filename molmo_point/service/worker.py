"""The one thread that owns the model: takes jobs out of the request queue and answers them.

A `SchedulingPointer` answers them by continuous batching, one with a `concurrency` in threads, every other Pointer one after the
other.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from molmo_point.defaults import SHUTDOWN_GRACE_S
from molmo_point.errors import PointError, ServiceError
from molmo_point.pointer import Pointer, SchedulingPointer
from molmo_point.service.concurrent import ConcurrentAnswers
from molmo_point.service.continuous_batching import ContinuousBatcher
from molmo_point.service.fan_out import FanOut, Opened
from molmo_point.service.job import Job
from molmo_point.service.left_behind import Stopped, interrupt
from molmo_point.service.own_pointer import OwnPointer, complete
from molmo_point.service.request_queue import RequestQueue
from molmo_point.service.sequential import SequentialAnswers, check_alive, internal_error
from molmo_point.service.settings import Settings
from molmo_point.service.views import Views
from molmo_point.wire import UnknownRequest

log = logging.getLogger(__name__)

IDLE_S = 1.0
"""How often an idle worker looks for views to close and for the request to stop."""

LOADING_S = 0.5
"""How long a model that is being loaded is waited for at the end: large ones take minutes, and it answers nothing yet."""


class Answers(Protocol):
    """A way to answer jobs, from the worker's thread: `admit` takes them, `step` works on all of them."""

    batch: int
    """Largest number of jobs to take out of the queue at once."""

    @property
    def free_rows(self) -> int:
        """Number of jobs that can be admitted now."""

    @property
    def has_work(self) -> bool:
        """Whether `step` has something to do."""

    def fits(self, job: Job) -> bool:
        """Return whether a job should be admitted now; others stay in the queue, which may serve another client first."""

    def open_image(self, job: Job, opened: Opened) -> None:
        """As `fan_out.Opens`."""

    def admit(self, jobs: list[Job]) -> None:
        """Begin to answer jobs, or fail them."""

    def step(self) -> None:
        """Work on all admitted jobs; those it finishes leave."""

    def finish(self, grace_s: float, refusal: Callable[[], PointError]) -> None:
        """Answer the admitted jobs within `grace_s` seconds, then fail the rest with `refusal()`."""

    def fail(self, error: PointError) -> None:
        """Fail all admitted jobs."""


class Worker:
    """Loads a Pointer in its own thread and answers the jobs of the queue with it, one batch after the other.

    Args:
        load: Makes the Pointer; called in the worker's thread, so that sockets answer while a model loads.
        queue: Where the jobs wait.
        settings: Limits.
        on_batch: Called with the number of jobs of each batch.
        close_pointer: Whether the Pointer is closed at the end: one that belongs to somebody else is not.

    Attributes:
        model: The Pointer's name, "" until it is loaded.
        takes_text: Whether it answers questions without an image.
        failure: Why it could not be loaded.
        watched: Somebody raises `failure`; else the log says it.
    """

    def __init__(
        self,
        load: Callable[[], Pointer],
        queue: RequestQueue,
        settings: Settings,
        on_batch: Callable[[int], None] = lambda size: None,
        *,
        close_pointer: bool = True,
    ) -> None:
        self._load = load
        self._queue = queue
        self._settings = settings
        self._on_batch = on_batch
        self._close_pointer = close_pointer
        self._views = Views(settings.max_views, settings.view_idle_s)
        self._thread = threading.Thread(target=self._run, name="molmo-worker", daemon=True)
        self._stopping = threading.Event()
        self._busy_since: float | None = None
        self._loaded = False
        self.model = ""
        self.takes_text = False
        self.failure: Exception | None = None
        self.watched = False

    def start(self) -> None:
        """Begin to load and then to answer."""
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Refuse the waiting jobs, finish the running ones, free the model; returns after at most `timeout_s` seconds."""
        self._stopping.set()
        self._queue.close(stopping_error)
        if self._thread.is_alive() and not self._loaded and self.failure is None:
            self._thread.join(min(timeout_s, LOADING_S))
            if self._thread.is_alive() and not self._loaded:
                log.info("the model is still being loaded: that is left behind")
                return
        if self._thread.is_alive():
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                log.error(
                    "the model is still running after %.0f s: that is left behind", timeout_s
                )

    def abandon(self) -> None:
        """End the thread that is still in the Pointer after `stop`, where that is possible."""
        if self._loaded:
            interrupt([self._thread])

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stopping.is_set()

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
        if not self._thread.is_alive():
            return False, "its thread has died"
        since = self._busy_since
        if since is not None and time.monotonic() - since > self._settings.stuck_after_s:
            return False, f"stuck for {time.monotonic() - since:.0f} s with one question"
        return True, "ready"

    def _run(self) -> None:
        with contextlib.suppress(Stopped):
            self._work()

    def _work(self) -> None:
        try:
            pointer = complete(self._load())
            self.model = pointer.model
            answers = self._answers(pointer)
            fan_out = FanOut(answers, self._queue, self._settings.max_views)
        except Exception as error:
            # An error of ours says all there is to say; `Service.run` raises it. Of others the log keeps the traceback.
            if not isinstance(error, PointError):
                log.exception("the model could not be loaded")
            elif not self.watched:
                log.error("the model could not be loaded: %s", error)
            self.failure = error
            self._queue.close(_no_model)
            return
        self._loaded = True
        try:
            while not self._stopping.is_set():
                self._turn(answers, fan_out)
        finally:
            answers.finish(SHUTDOWN_GRACE_S, stopping_error)
            fan_out.close(stopping_error())
            self._views.sweep(everything=True)
            if self._close_pointer:
                pointer.close()

    def _answers(self, pointer: SchedulingPointer | OwnPointer) -> Answers:
        if isinstance(pointer, OwnPointer):
            if pointer.concurrency > 1:
                return ConcurrentAnswers(pointer, self._views, self._on_batch)
            most = self._settings.max_batch
            return SequentialAnswers(pointer, self._views, most, self._on_batch)
        self.takes_text = True
        self._queue.prepare_all(pointer.prepare)
        return ContinuousBatcher(pointer, self._views, self._on_batch)

    def _turn(self, answers: Answers, fan_out: FanOut) -> None:
        """Admit waiting jobs while there is room, then make one step."""
        fan_out.sweep()
        self._busy_since = time.monotonic() if answers.has_work else None
        while answers.free_rows:
            wait_s = 0.0 if answers.has_work else IDLE_S
            jobs = self._queue.take(answers.batch, wait_s, answers.fits)
            if not jobs:
                break
            self._busy_since = time.monotonic()
            alive = [job for job in jobs if check_alive(job)]
            answers.admit([job for job in alive if not fan_out.take(job)])
        if not answers.has_work:
            self._views.sweep()
            return
        try:
            answers.step()
        except Exception as error:
            log.exception("a step for the running jobs failed")
            answers.fail(internal_error(error))


def stopping_error() -> UnknownRequest:
    """Return the error for a question that this server does not answer any more; clients ask again by themselves."""
    return UnknownRequest(
        "the server is stopping: send the request again, the next server answers it"
    )


def _no_model() -> ServiceError:
    return ServiceError("the server has no model: loading it failed, its log says why")
