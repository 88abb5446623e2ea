"""What must happen on time while the model is busy: deadlines that pass, and tasks of threads that hold locks."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from molmo_point.defaults import OVERDUE_S
from molmo_point.errors import TimedOut
from molmo_point.service.reply_cache import ReplyCache
from molmo_point.service.request_queue import RequestQueue

EVERY_S = 0.25
"""How often deadlines are checked, and so the largest delay of a timeout's reply."""


class Housekeeping:
    """One thread beside the model's.

    Args:
        queue: Its jobs' deadlines are watched.
        cache: The same for running jobs.
    """

    def __init__(self, queue: RequestQueue, cache: ReplyCache) -> None:
        self._queue = queue
        self._cache = cache
        self._tasks: deque[Callable[[], None]] = deque()
        self._soon = threading.Event()
        self._stopping = False
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
        """Run a task soon in this thread; callable from any thread, whatever locks it holds."""
        self._tasks.append(task)
        self._soon.set()

    def _run(self) -> None:
        while not self._stopping:
            self._soon.wait(EVERY_S)
            self._soon.clear()
            while self._tasks:
                self._tasks.popleft()()
            self._sweep()

    def _sweep(self) -> None:
        self._queue.expire()
        for job in self._cache.unfinished():
            if job.left_s() < -OVERDUE_S:
                job.fail(
                    TimedOut(f"the model was still running {OVERDUE_S:.0f} s after the deadline")
                )
