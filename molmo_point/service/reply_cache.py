"""The reply cache: the requests a server knows, running or answered a while ago. A repeated one is not computed twice."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict

from molmo_point.service.job import Job


class ReplyCache:
    """Jobs by (caller, id). Running ones are always kept, answered ones within bounds.

    Args:
        most: Answered jobs kept.
        max_bytes: Of their replies together.
        keep_s: Seconds an answer is kept.
        image_bytes: Of the images of answered jobs together; the oldest are dropped first.
    """

    def __init__(self, most: int, max_bytes: int, keep_s: float, image_bytes: int) -> None:
        self._most = most
        self._max_bytes = max_bytes
        self._keep_s = keep_s
        self._jobs: dict[tuple[str, str], Job] = {}
        self._answered: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()
        self._bytes = 0
        self._max_image_bytes = image_bytes
        self._images: OrderedDict[tuple[str, str], Job] = OrderedDict()
        self._image_bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._jobs)

    def find(self, key: tuple[str, str]) -> Job | None:
        """Return the job with that key, or None."""
        with self._lock:
            return self._jobs.get(key)

    def add(self, job: Job) -> Job | None:
        """Remember `job` unless one with its key is known; return that one then."""
        with self._lock:
            known = self._jobs.setdefault(job.key, job)
            return None if known is job else known

    def replace(self, job: Job) -> None:
        """Remember `job` in the place of the one with its key, which goes on for those who listen to it."""
        with self._lock:
            self._drop_answer(job.key)
            self._jobs[job.key] = job

    def unfinished(self) -> list[Job]:
        """Return the jobs that have no last reply yet."""
        with self._lock:
            return [job for key, job in self._jobs.items() if key not in self._answered]

    def forget(self, job: Job) -> None:
        """Drop a job that was refused, so that its id can be tried again."""
        with self._lock:
            if self._jobs.get(job.key) is job:
                del self._jobs[job.key]
                self._drop_answer(job.key)

    def mark_finished(self, job: Job) -> None:
        """Note that `job` has its last reply; from now on it may be dropped when room is needed."""
        now = time.monotonic()
        with self._lock:
            if self._jobs.get(job.key) is not job or job.key in self._answered:
                return
            size = job.reply_bytes
            self._answered[job.key] = (now, size)
            self._bytes += size
            while self._answered:
                key, (since, _) = next(iter(self._answered.items()))
                full = len(self._answered) > self._most or self._bytes > self._max_bytes
                if not full and now - since <= self._keep_s:
                    break
                del self._jobs[key]
                self._drop_answer(key)
            self._keep_image(job)

    def _keep_image(self, job: Job) -> None:
        if job.key not in self._answered:
            return
        self._images[job.key] = job
        self._image_bytes += job.nbytes
        while self._image_bytes > self._max_image_bytes:
            self._drop_image(next(iter(self._images)))

    def _drop_image(self, key: tuple[str, str]) -> None:
        job = self._images.pop(key, None)
        if job is not None:
            self._image_bytes -= job.nbytes
            job.forget_image()

    def _drop_answer(self, key: tuple[str, str]) -> None:
        entry = self._answered.pop(key, None)
        self._bytes -= entry[1] if entry else 0
        self._drop_image(key)
