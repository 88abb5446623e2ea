"""What must happen on time while the model is busy: deadlines that pass in the queue, digests of answered pictures."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from molmo_point.errors import TimedOut
from molmo_point.service.job import Job
from molmo_point.service.reply_cache import Memory
from molmo_point.service.request_queue import Line
from molmo_point.service.settings import SEAL_BYTES

EVERY_S = 0.25
"""How often deadlines are looked at: the most by which the news of one is late."""

OVERDUE_S = 5.0
"""How long after its deadline the model may go on with a question: a pass of a large model on a CPU takes seconds."""

WAKE_BYTES = 256 * 1024
"""Answered images without a digest for which the thread is woken at once: memory that is freed soon is still in the cache."""


class Housekeeping:
    """One thread beside the model's.

    Args:
        line: Its jobs' deadlines are watched.
        memory: The same for jobs at work.
    """

    def __init__(self, line: Line, memory: Memory) -> None:
        self._line = line
        self._memory = memory
        self._tasks: deque[Callable[[], None]] = deque()
        self._soon = threading.Event()
        self._stopping = False
        self._bytes = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="molmo-housekeeping", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End; returns after `timeout_s` seconds at the latest."""
        self._stopping = True
        self._soon.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def do(self, task: Callable[[], None]) -> None:
        """Have something done soon by this thread; from any thread, whatever locks it holds."""
        self._tasks.append(task)
        self._soon.set()

    def seal(self, job: Job) -> None:
        """Have the digest of a finished job's picture computed, and the picture's memory freed; does not wait for it."""
        if not job.nbytes:
            return
        with self._lock:
            full = self._bytes + job.nbytes > SEAL_BYTES
            self._bytes += 0 if full else job.nbytes
        if full:
            job.seal()
            return
        self._tasks.append(lambda: self._seal(job))
        # Not woken for each small one: it would compete with those who send the answer.
        if self._bytes > WAKE_BYTES:
            self._soon.set()

    def _seal(self, job: Job) -> None:
        job.seal()
        with self._lock:
            self._bytes -= job.nbytes

    def _run(self) -> None:
        while not self._stopping:
            self._soon.wait(EVERY_S)
            self._soon.clear()
            while self._tasks:
                self._tasks.popleft()()
            self._sweep()

    def _sweep(self) -> None:
        self._line.expire()
        for job in self._memory.unfinished():
            if job.left_s() < -OVERDUE_S:
                job.fail(
                    TimedOut(f"the model was still at work {OVERDUE_S:.0f} s after the deadline")
                )
