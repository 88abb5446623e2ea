"""Several queries of one image: it is opened once, in the stages of all images, and each query then waits as a job of its own.

The parent job answers with one reply for each query, in the order of the queries, and `done` at the end. A query that failed has
an error reply which is not the last one; the others are answered.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from itertools import takewhile
from typing import Protocol

from molmo_point.errors import PointError
from molmo_point.pointer import View
from molmo_point.service.job import Job
from molmo_point.service.left_behind import Stopped
from molmo_point.service.request_queue import RequestQueue
from molmo_point.service.sequential import check_alive, internal_error
from molmo_point.wire import Reply, UnknownRequest, error_from

log = logging.getLogger(__name__)


Opened = Callable[[Job, View], None]
"""Takes the view of a job's image."""


class Opens(Protocol):
    """What opens the image of a job."""

    @property
    def free_rows(self) -> int:
        """Number of images that can be begun now."""

    def open_image(self, job: Job, opened: Opened) -> None:
        """Have the image of a job opened, now or beside other work, then call `opened`; or fail the job.

        Raises:
            PointError: The image cannot be opened, and will not be.
        """


class FanOut:
    """The jobs of several queries that are under way. Belongs to the worker's thread alone.

    Args:
        answers: Opens the images.
        queue: Where the queries wait.
        most: Images that are open for such jobs at once; further jobs wait for one to be closed.
    """

    def __init__(self, answers: Opens, queue: RequestQueue, most: int) -> None:
        self._answers = answers
        self._queue = queue
        self._most = most
        self._waiting: deque[Job] = deque()
        self._opening: list[Job] = []
        self._open: list[_Parts] = []

    def take(self, job: Job) -> bool:
        """Begin a job of several queries; return False for any other job."""
        if not job.request.queries:
            return False
        self._waiting.append(job)
        self.sweep()
        return True

    def sweep(self) -> None:
        """Close the images of finished jobs, and open those of waiting ones."""
        for parts in [parts for parts in self._open if parts.job.finished]:
            self._open.remove(parts)
            _close(parts.view)
        self._opening = [job for job in self._opening if not (job.finished or job.cancelled)]
        self._waiting = deque(job for job in self._waiting if check_alive(job))
        while self._waiting and self._has_room:
            self._begin(self._waiting.popleft())

    @property
    def _has_room(self) -> bool:
        held = len(self._open) + len(self._opening)
        return held < self._most and self._answers.free_rows > 0

    def close(self, error: PointError) -> None:
        """Fail what is not answered and close the images."""
        for job in [*self._waiting, *self._opening, *(parts.job for parts in self._open)]:
            job.fail(error)
        self._waiting.clear()
        self.sweep()

    def _begin(self, job: Job) -> None:
        self._opening.append(job)
        try:
            self._answers.open_image(job, self._opened)
        except PointError as error:
            job.fail(error)
        except Stopped:
            raise
        except BaseException as error:
            log.exception("opening the image of %d queries failed", len(job.request.queries))
            job.fail(internal_error(error))

    def _opened(self, job: Job, view: View) -> None:
        """Ask the queries about an image that is open now."""
        self._opening.remove(job)
        job.decoded = job.prepared = None  # the view has what is needed of them
        if job.finished or job.cancelled:
            _close(view)
            return
        parts = _Parts(job, view, self._queue)
        self._open.append(parts)
        self._queue.put_parts(parts.jobs)


class _Parts:
    """The queries of one job, each a job that asks the same opened image."""

    def __init__(self, job: Job, view: View, queue: RequestQueue) -> None:
        self.job = job
        self.view = view
        self.jobs = [job.part(query, view) for query in job.request.queries]
        self._queue = queue
        self._replies: dict[Job, Reply] = {}
        self._lock = threading.Lock()
        for part in self.jobs:
            part.on_finish(self._finished)
        job.on_cancel(self._cancel)

    def _finished(self, part: Job, reply: Reply) -> None:
        """Pass the answers on, in the order of the queries."""
        if reply.error is not None and reply.error.kind == UnknownRequest.kind:
            # The server stops: the next one is asked for everything.
            self.job.fail(error_from(reply.error))
            return
        with self._lock:
            self._replies[part] = reply
            ready = list(takewhile(self._replies.__contains__, self.jobs))
            if not self.job.cancelled:
                self.job.parts([self._replies[job] for job in ready], len(self.jobs))

    def _cancel(self) -> None:
        for part in self.jobs:
            self._queue.remove(part)
            part.cancel()


def _close(view: View) -> None:
    try:
        view.close()
    except Exception:
        log.exception("closing an opened image failed")
