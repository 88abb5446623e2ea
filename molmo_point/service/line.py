"""Where questions wait for the model: bounded, newest frame wins, plain point questions leave in batches."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from molmo_point.errors import Busy, Superseded
from molmo_point.service.job import Job
from molmo_point.wire import Op

MAX_SHARE = 0.75
"""Of the places, for one caller: whoever floods the server leaves a quarter of it to the others."""


class Errand(Protocol):
    """What whoever takes jobs does while there are none."""

    def help(self, timeout_s: float, enough: Callable[[], bool]) -> bool:
        """Do it until `enough()` or for `timeout_s` seconds; return False where there is nothing to do any more."""
        ...

    def wake(self) -> None:
        """Make `help` look whether it is enough; from any thread."""
        ...


class Line:
    """A bounded queue of jobs.

    Args:
        capacity: Jobs that wait.
        max_bytes: Of their pictures together.

    Attributes:
        errand: What `take` does while it waits.
    """

    def __init__(self, capacity: int, max_bytes: int) -> None:
        self.capacity = capacity
        self._max_bytes = max_bytes
        self._share = max(1, int(capacity * MAX_SHARE))
        self._jobs: list[Job] = []
        self._changed = threading.Condition()
        self._closed = False
        self.errand: Errand | None = None

    def __len__(self) -> int:
        return len(self._jobs)

    def put(self, job: Job) -> list[Job]:
        """Let `job` wait, or be superseded by a newer frame that waits already.

        Returns:
            The jobs that `job` supersedes, or `job` itself; they have been taken out of the line and answered.

        Raises:
            Busy: The line is full, this caller has his share of it, or the server is going down.
        """
        with self._changed:
            if self._closed:
                raise Busy("the server is stopping")
            outdated = [other for other in self._jobs if _outdates(job, other)]
            if any(_outdates(other, job) for other in self._jobs):
                outdated = [job]
            else:
                self._check_room(job, outdated)
                self._jobs = [other for other in self._jobs if other not in outdated]
                self._jobs.append(job)
                self._changed.notify()
        self._wake()
        for other in outdated:
            other.fail(
                Superseded(f"a newer frame of camera {other.request.camera} took its place")
            )
        return outdated

    def _check_room(self, job: Job, outdated: list[Job]) -> None:
        if not self._jobs:
            return
        staying = [other for other in self._jobs if other not in outdated]
        if len(staying) >= self.capacity:
            raise Busy(f"{len(staying)} questions are waiting, there is room for {self.capacity}")
        callers = Counter(other.caller for other in staying)
        if callers[job.caller] >= self._share:
            raise Busy(
                f"this client has {callers[job.caller]} questions waiting, one client may have {self._share}"
            )
        held = sum(other.nbytes for other in staying)
        if held and held + job.nbytes > self._max_bytes:
            raise Busy(
                f"the pictures that wait hold {held:,} bytes, there is room for {self._max_bytes:,}"
            )

    def take(self, most: int, wait_s: float) -> list[Job]:
        """Take the next job out, and with a plain point question up to `most` of its kind.

        Returns:
            Jobs to be answered together; empty when none came within `wait_s` seconds or the line is closed.
        """
        if not self._jobs and wait_s > 0:
            self._wait(wait_s)
        with self._changed:
            if not self._jobs:
                return []
            first = self._jobs[0]
            taken = [first]
            if _batchable(first):
                taken = [job for job in self._jobs if _batchable(job)][:most]
            self._jobs = [job for job in self._jobs if job not in taken]
            return taken

    def _wait(self, wait_s: float) -> None:
        errand = self.errand
        if errand is not None and errand.help(wait_s, lambda: bool(self._jobs) or self._closed):
            return
        with self._changed:
            if not self._jobs and not self._closed:
                self._changed.wait(wait_s)

    def _wake(self) -> None:
        if self.errand is not None:
            self.errand.wake()

    def remove(self, job: Job) -> None:
        """Take a waiting job out; does nothing when it is at work or answered."""
        with self._changed:
            if job in self._jobs:
                self._jobs.remove(job)

    def close(self) -> None:
        """Take no more jobs and refuse those that wait."""
        with self._changed:
            self._closed = True
            waiting, self._jobs = self._jobs, []
            self._changed.notify_all()
        self._wake()
        for job in waiting:
            job.fail(Busy("the server is stopping"))


def _batchable(job: Job) -> bool:
    return job.request.op is Op.POINT and job.request.view is None


def _outdates(new: Job, old: Job) -> bool:
    """Whether `new` makes the waiting `old` pointless: the same caller's newer frame of the same camera.

    Several questions about one frame carry the same stamp and leave each other alone. Frames without stamps are told apart by
    their order, question by question.
    """
    if new.request.camera is None or new.request.camera != old.request.camera:
        return False
    if new.caller != old.caller:
        return False
    if new.request.stamp_ns is not None and old.request.stamp_ns is not None:
        return new.request.stamp_ns > old.request.stamp_ns
    same_question = (new.request.op, new.request.query) == (old.request.op, old.request.query)
    return same_question and new.arrived > old.arrived
