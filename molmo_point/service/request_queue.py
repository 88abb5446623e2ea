"""The request queue: bounded, served in turns, newest frame wins, plain point questions leave in batches."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from molmo_point.errors import Busy, PointError, Superseded
from molmo_point.pointer import Images, PreparedImage
from molmo_point.service.job import Job
from molmo_point.service.turns import Turns, levels
from molmo_point.wire import Op
from molmo_point.wording import counted

Prepare = Callable[[Images], PreparedImage]

PREPARED_AHEAD = 2
"""Images of one client that wait prepared, or under way to be: one for the model's next turn and one behind it. So frames
that newer ones replace are not prepared in vain, and a client that floods the queue does not delay the images of others."""

MAX_CLIENT_FRACTION = 0.75
"""Largest share of the queue one client may hold; a flooding client still leaves 25 % to others."""


class IdleTask(Protocol):
    """A task the consumer runs while the queue is empty."""

    def run(self, timeout_s: float, enough: Callable[[], bool]) -> bool:
        """Do it until `enough()` or for `timeout_s` seconds; return False where there is nothing to do any more."""
        ...

    def wake(self) -> None:
        """Make `run` check `enough` now; from any thread."""
        ...


class RequestQueue:
    """A bounded queue of jobs.

    Args:
        capacity: Jobs that wait.
        max_bytes: Of their images together.
        decode_ahead: Pixels of the images that may be decoded, or under way to be, before their turn.

    Attributes:
        idle_task: What `take` does while it waits.
        prepare: Makes what the consumer takes of an image; None: it takes decoded images, and decodes small ones itself.
    """

    def __init__(self, capacity: int, max_bytes: int, decode_ahead: int = 75_000_000) -> None:
        self.capacity = capacity
        self._max_bytes = max_bytes
        self._decode_ahead = decode_ahead
        self._share = max(1, int(capacity * MAX_CLIENT_FRACTION))
        self._jobs: list[Job] = []
        self._decoding: list[Job] = []
        self._turns = Turns()
        lock = threading.RLock()
        self._changed = threading.Condition(lock)
        self._to_decode = threading.Condition(lock)
        self._refusal: Callable[[], PointError] | None = None
        self.idle_task: IdleTask | None = None
        self.prepare: Prepare | None = None

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def closed(self) -> bool:
        """Whether it takes no more jobs."""
        return self._refusal is not None

    def put(self, job: Job) -> list[Job]:
        """Queue `job`, unless a newer frame that waits already supersedes it.

        Returns:
            The jobs that `job` supersedes, or `job` itself; they have been taken out of the queue and answered.

        Raises:
            Busy: The queue is full, or this client has its share of it.
            PointError: What the queue was closed with.
        """
        self.expire()
        evicted: list[Job] = []
        with self._changed:
            if self._refusal is not None:
                raise self._refusal()
            outdated = [other for other in self._jobs if _supersedes(job, other)]
            if not self._jobs:
                self._jobs.append(job)
                self._notify(job)
            elif any(_supersedes(other, job) for other in self._jobs):
                outdated = [job]
            else:
                evicted = self._admit(job, outdated)
        self._wake()
        for other in outdated:
            other.fail(
                Superseded(f"a newer frame of camera {other.request.camera} took its place")
            )
        for other in evicted:
            other.fail(Busy("the queue is full, and of all clients this one has the most in it"))
        return outdated

    def put_parts(self, jobs: Sequence[Job]) -> None:
        """Queue the queries of a job that has left the queue: it was admitted, so they are, too; they count for its client.

        They are failed where the queue is closed.
        """
        with self._changed:
            refusal = self._refusal
            if refusal is None:
                self._jobs += [job for job in jobs if not job.finished]
                self._changed.notify()
        self._wake()
        if refusal is not None:
            for job in jobs:
                job.fail(refusal())

    def _admit(self, job: Job, outdated: list[Job]) -> list[Job]:
        """Put a job in, at the place of the frame it replaces; return the jobs that had to leave for it."""
        staying = [other for other in self._jobs if other not in outdated]
        self._check_share(job, staying)
        evicted = self._make_room(job, staying)
        older = self._jobs[: self._jobs.index(outdated[0])] if outdated else self._jobs
        place = sum(other in older for other in staying)
        self._jobs = [*staying[:place], job, *staying[place:]]
        self._notify(job)
        return evicted

    def _notify(self, job: Job) -> None:
        (self._to_decode if self._to_be_decoded(job) else self._changed).notify()

    def _check_share(self, job: Job, staying: list[Job]) -> None:
        for name in ("caller", "turn"):
            own = sum(getattr(other, name) == getattr(job, name) for other in staying)
            if staying and own >= self._share:
                raise Busy(
                    f"this client has {counted(own, 'question')} waiting, one client may have {self._share}"
                )

    def _make_room(self, job: Job, staying: list[Job]) -> list[Job]:
        """Take the newest jobs of the client that holds most out of `staying` until `job` fits.

        Raises:
            Busy: Nobody holds more than this client would.
        """
        evicted: list[Job] = []
        while staying:
            held = sum(other.nbytes for other in staying)
            if len(staying) >= self.capacity:
                refusal = f"{counted(len(staying), 'question')} waiting, there is room for {self.capacity}"
                cost: Callable[[Job], int] = _one
            elif held and held + job.nbytes > self._max_bytes:
                refusal = f"the images that wait hold {held:,} bytes, there is room for {self._max_bytes:,}"
                cost = _bytes
            else:
                break
            shares: Counter[tuple[str, str]] = Counter()
            for other in staying:
                shares[other.turn] += cost(other)
            turn, most = shares.most_common(1)[0]
            if most <= shares[job.turn] + cost(job):
                raise Busy(refusal)
            victim = next(other for other in reversed(staying) if other.turn == turn)
            staying.remove(victim)
            evicted.append(victim)
        return evicted

    def take(
        self, most: int, wait_s: float, fits: Callable[[Job], bool] = lambda job: True
    ) -> list[Job]:
        """Take the next job out, and with a plain point question up to `most` of its kind, one of each connection.

        Args:
            most: Jobs to take.
            wait_s: Seconds to wait for the first one.
            fits: Whether the consumer has room for a job; others keep their places.

        Returns:
            Jobs to be answered together; empty when none came within `wait_s` seconds or the queue is closed.
        """
        if not self._ready() and wait_s > 0:
            self._wait(wait_s)
        taken: list[Job] = []
        with self._changed:
            while self._jobs and len(taken) < most:
                # One caller's questions are no batch: the next caller would wait for all of them.
                turns = {job.turn for job in taken}
                left = [
                    job
                    for job in self._jobs
                    if not self._to_be_decoded(job) and job.turn not in turns and fits(job)
                ]
                if taken:
                    left = [job for job in left if _batchable(job)]
                if not left:
                    break
                job = left[0] if len(left) == 1 else self._turns.next(left)
                self._jobs.remove(job)
                self._turns.taken(job, self._jobs)
                taken.append(job)
                if not _batchable(job):
                    break
            if any(self._to_be_decoded(job) for job in self._jobs):
                self._to_decode.notify()  # what was taken makes room for it
        return taken

    def take_to_decode(self, wait_s: float) -> Job | None:
        """Return the next job whose image is to be decoded; it stays in the queue. None when none came in time."""
        with self._to_decode:
            job = self._next_to_decode()
            if job is None and not self.closed:
                self._to_decode.wait(wait_s)
                job = self._next_to_decode()
            if job is not None:
                self._decoding.append(job)
            return job

    def _next_to_decode(self) -> Job | None:
        ready = Counter(levels(job)[1] for job in self._decoding)
        ready.update(levels(j)[1] for j in self._jobs if j.prepared and j.prepared.crop_bytes)
        waiting = [
            job
            for job in self._jobs
            if self._to_be_decoded(job)
            and job not in self._decoding
            and (self.prepare is None or ready[levels(job)[1]] < PREPARED_AHEAD)
        ]
        if not waiting:
            return None
        job = self._turns.next(waiting)
        ahead = sum(other.decode_pixels for other in self._decoding)
        ahead += sum(_pixels_held(other) for other in self._jobs)
        return job if not ahead or ahead + job.decode_pixels <= self._decode_ahead else None

    def decoded(self, job: Job) -> None:
        """Note that a job from `take_to_decode` is decoded, or has failed."""
        with self._changed:
            self._decoding.remove(job)
            if job.finished:
                job.decoded = job.prepared = None
            self._changed.notify()
            self._to_decode.notify()
        self._wake()

    def prepare_all(self, prepare: Prepare) -> None:
        """Decode and prepare all images before their turn: if the consumer did that, the running answers would wait."""
        with self._changed:
            self.prepare = prepare
            self._to_decode.notify_all()

    def _to_be_decoded(self, job: Job) -> bool:
        if self.prepare is not None:
            return job.prepared is None and job.image_payload is not None
        return job.decoded is None and not job.quick and job.decode_pixels > 0

    def _ready(self) -> bool:
        return any(not self._to_be_decoded(job) for job in self._jobs)

    def _wait(self, wait_s: float) -> None:
        idle_task = self.idle_task
        if idle_task is not None and idle_task.run(wait_s, lambda: self._ready() or self.closed):
            return
        with self._changed:
            if not self._ready() and not self.closed:
                self._changed.wait(wait_s)

    def _wake(self) -> None:
        if self.idle_task is not None:
            self.idle_task.wake()

    def remove(self, job: Job) -> None:
        """Take a waiting job out; does nothing when it is running or answered."""
        with self._changed:
            if job in self._jobs:
                self._jobs.remove(job)
                self._to_decode.notify()  # its room is free for another image

    def expire(self) -> None:
        """Remove the jobs whose deadline has passed and answer them: it frees room, and their callers get the timeout on time."""
        if not self._jobs:
            return
        with self._changed:
            late = [job for job in self._jobs if job.left_s() <= 0]
            if late:
                self._jobs = [job for job in self._jobs if job not in late]
                self._to_decode.notify()
        for job in late:
            job.expire()

    def close(self, refusal: Callable[[], PointError]) -> None:
        """Take no more jobs, and fail those that wait.

        Args:
            refusal: Makes the error for each of them and for all later ones.
        """
        with self._changed:
            self._refusal = refusal
            waiting, self._jobs = self._jobs, []
            self._changed.notify_all()
            self._to_decode.notify_all()
        self._wake()
        for job in waiting:
            job.fail(refusal())


def _one(job: Job) -> int:
    return 1


def _bytes(job: Job) -> int:
    return job.nbytes


def _pixels_held(job: Job) -> int:
    """Return how many decoded pixels a job holds, crops in units of a pixel's three bytes."""
    if job.prepared is not None:
        return job.prepared.crop_bytes // 3
    return job.decode_pixels if job.decoded is not None else 0


def _batchable(job: Job) -> bool:
    request = job.request
    with_image = request.view is None and job.opened is None
    return request.op is Op.POINT and with_image and not request.queries


def _supersedes(new: Job, old: Job) -> bool:
    """Whether `new` makes the waiting `old` pointless: a newer frame of the same camera of the same owner.

    Several questions about one frame carry the same stamp and leave each other alone. Frames without stamps are told apart by
    their order, question by question.
    """
    if new.request.camera is None or new.request.camera != old.request.camera:
        return False
    if new.camera_owner != old.camera_owner or new.transport != old.transport:
        return False
    if new.request.stamp_ns is not None and old.request.stamp_ns is not None:
        return new.request.stamp_ns > old.request.stamp_ns
    same_question = (new.request.op, new.request.query) == (old.request.op, old.request.query)
    return same_question and new.arrived > old.arrived
