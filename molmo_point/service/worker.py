"""The one thread that owns the model: takes questions out of the request queue and answers them.

A Pointer that can schedule (`LocalPointer.scheduler`) lets questions join while others are at work (`joining`); any other one
answers them one after another, plain point questions in batches.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from molmo_point.errors import PointError, ServiceError
from molmo_point.pointer import Pointer
from molmo_point.service.continuous_batching import ContinuousBatcher
from molmo_point.service.job import Job
from molmo_point.service.own_pointer import complete
from molmo_point.service.request_queue import RequestQueue
from molmo_point.service.sequential import (
    answer_batch,
    ask_picture,
    ask_view,
    internal_error,
    wanted,
)
from molmo_point.service.settings import Settings
from molmo_point.service.views import Views
from molmo_point.wire import Op, UnknownRequest

log = logging.getLogger(__name__)

SHUTDOWN_GRACE_S = 5.0
"""How long questions at work may go on when the server is told to stop."""

IDLE_S = 1.0
"""How often an idle worker looks for views to close and for the wish to stop."""


class Worker:
    """Loads a Pointer in its own thread and answers the jobs of the queue with it, one batch after the other.

    Args:
        load: Makes the Pointer; called in the worker's thread, so that sockets answer while a model loads.
        queue: Where the jobs wait.
        settings: Limits.
        on_batch: Called with the number of jobs of each batch.
    """

    def __init__(
        self,
        load: Callable[[], Pointer],
        queue: RequestQueue,
        settings: Settings,
        on_batch: Callable[[int], None] = lambda size: None,
    ) -> None:
        self._load = load
        self._queue = queue
        self._settings = settings
        self._on_batch = on_batch
        self._views = Views(settings.max_views, settings.view_idle_s)
        self._thread = threading.Thread(target=self._run, name="molmo-worker", daemon=True)
        self._stopping = threading.Event()
        self._busy_since: float | None = None
        self._loaded = False
        self.model = ""
        self.takes_text = False
        self.failure: Exception | None = None

    def start(self) -> None:
        """Begin to load and then to answer."""
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Have what waits asked again, finish what is at work, free the model; returns after at most `timeout_s` seconds."""
        self._stopping.set()
        self._queue.close(stopping_error)
        if self._thread.is_alive():
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                log.error("the model is still at work after %.0f s: it is left behind", timeout_s)

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
        since = self._busy_since
        if since is not None and time.monotonic() - since > self._settings.stuck_after_s:
            return False, f"stuck for {time.monotonic() - since:.0f} s with one question"
        return True, "ready"

    def _run(self) -> None:
        try:
            pointer = complete(self._load())
            self.takes_text = hasattr(pointer, "scheduler")
            self.model = pointer.model
        except Exception as error:
            # An error of ours says all there is to say; `Service.run` raises it. Of others the log keeps the traceback.
            if not isinstance(error, PointError):
                log.exception("the model could not be loaded")
            self.failure = error
            self._queue.close(_no_model)
            return
        self._loaded = True
        joining = ContinuousBatcher.of(pointer, self._views, self._on_batch)
        if joining is not None:
            self._queue.decode_all()
        try:
            while not self._stopping.is_set():
                if joining is None:
                    self._turn(pointer)
                else:
                    self._joining_turn(pointer, joining)
        finally:
            if joining is not None:
                joining.finish(SHUTDOWN_GRACE_S, stopping_error)
            self._views.sweep(everything=True)
            pointer.close()

    def _turn(self, pointer: Pointer) -> None:
        """Take the next question or batch, and answer it whole."""
        # A gathered question waits for the others: only where answering them together is faster.
        most = self._settings.max_batch if getattr(pointer, "batches", True) else 1
        jobs = self._queue.take(most, IDLE_S)
        if not jobs:
            self._views.sweep()
            return
        self._busy_since = time.monotonic()
        self._answer(pointer, jobs)
        self._busy_since = None

    def _joining_turn(self, pointer: Pointer, joining: ContinuousBatcher) -> None:
        """Let questions join that wait, as far as there is room, then make one pass for all at work."""
        self._busy_since = time.monotonic() if joining.busy else None
        while joining.room:
            # One at a time: reading a picture takes long enough for somebody with an older claim to come.
            jobs = self._queue.take(1, 0.0 if joining.busy else IDLE_S)
            if not jobs:
                break
            self._busy_since = time.monotonic()
            others = [job for job in jobs if wanted(job) and not joining.join(job)]
            if others:
                self._answer(pointer, others)
        if joining.busy:
            try:
                joining.step()
            except Exception as error:
                log.exception("a pass for the questions at work failed")
                joining.fail(internal_error(error))
        else:
            self._views.sweep()

    def _answer(self, pointer: Pointer, jobs: list[Job]) -> None:
        left = [job for job in jobs if wanted(job)]
        if not left:
            return
        together = len(left)
        if together > 1:
            left = answer_batch(pointer, left)
        for job in left:
            if not wanted(job):
                continue
            try:
                self._answer_one(pointer, job)
            except PointError as error:
                job.fail(error)
            except Exception as error:
                log.exception("answering %s %r failed", job.request.op, job.request.query[:80])
                job.fail(internal_error(error))
        self._on_batch(together)

    def _answer_one(self, pointer: Pointer, job: Job) -> None:
        request = job.request
        if request.op is Op.OPEN:
            self._open(pointer, job)
        elif request.op is Op.CLOSE:
            self._views.close(request.view or "")
            job.done()
        elif request.view is not None:
            ask_view(self._views.get(request.view), job)
        else:
            ask_picture(pointer, job)

    def _open(self, pointer: Pointer, job: Job) -> None:
        image = job.image()
        if image is None:  # withdrawn this moment
            return
        self._views.make_room()
        info = self._views.add(pointer.open(image))
        job.view(info)
        if job.cancelled:
            # Nobody will ever hear its handle.
            self._views.close(info.handle)


def stopping_error() -> UnknownRequest:
    """Return the error for a question that this server does not answer any more; clients ask again by themselves."""
    return UnknownRequest(
        "the server is stopping: send the request again, the next server answers it"
    )


def _no_model() -> ServiceError:
    return ServiceError("the server has no model: loading it failed, its log says why")
