"""What must happen on time while the model is busy: deadlines that pass in the queue, digests of answered pictures."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from molmo_point.errors import TimedOut
from molmo_point.service.job import Job
from molmo_point.service.line import Line
from molmo_point.service.memory import Memory
from molmo_point.service.settings import SEAL_BYTES

EVERY_S = 0.25
"""How often deadlines are looked at: the most by which the news of one is late."""

OVERDUE_S = 5.0
"""How long after its deadline the model may go on with a question: a pass of a large model on a CPU takes seconds."""


class Housekeeping:
    """One thread beside the model's.

    Args:
        line: Its jobs' deadlines are watched.
        memory: The same for jobs at work.
    """

    def __init__(self, line: Line, memory: Memory) -> None:
        self._line = line
        self._memory = memory
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._bytes = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="molmo-housekeeping", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End; returns after `timeout_s` seconds at the latest."""
        if self._thread.is_alive():
            self._tasks.put(None)
            self._thread.join(timeout_s)

    def do(self, task: Callable[[], None]) -> None:
        """Have something done soon by this thread; from any thread, whatever locks it holds."""
        self._tasks.put(task)

    def seal(self, job: Job) -> None:
        """Have the digest of a finished job's picture computed, and the picture's memory freed; does not wait for it."""
        if not job.nbytes:
            return
        with self._lock:
            full = self._bytes + job.nbytes > SEAL_BYTES
            self._bytes += 0 if full else job.nbytes
        if full:
            job.seal()
        else:
            self.do(lambda: self._seal(job))

    def _seal(self, job: Job) -> None:
        job.seal()
        with self._lock:
            self._bytes -= job.nbytes

    def _run(self) -> None:
        sweep_at = time.monotonic()
        while True:
            now = time.monotonic()
            if now >= sweep_at:
                self._sweep()
                sweep_at = now + EVERY_S
            try:
                task = self._tasks.get(timeout=max(0.0, sweep_at - now))
            except queue.Empty:
                continue
            if task is None:
                return
            task()

    def _sweep(self) -> None:
        self._line.expire()
        for job in self._memory.unfinished():
            if job.left_s() < -OVERDUE_S:
                job.fail(
                    TimedOut(f"the model was still at work {OVERDUE_S:.0f} s after the deadline")
                )
