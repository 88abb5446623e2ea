"""The dispatcher: all transports submit their requests here; they are checked, entered in the reply cache and queued.

Nothing here waits for the model: `info`, `resume` and `cancel` are answered at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from molmo_point.arguments import check_queries, check_query, check_query_length
from molmo_point.defaults import SHUTDOWN_GRACE_S
from molmo_point.errors import PointError
from molmo_point.pointer import Pointer
from molmo_point.service.cameras import Cameras
from molmo_point.service.decoding import Decoding
from molmo_point.service.decoding_cost import check_payload
from molmo_point.service.housekeeping import Housekeeping
from molmo_point.service.job import Job, Listener, Owner, Transport, Turn
from molmo_point.service.metrics import Metrics
from molmo_point.service.reply_cache import ReplyCache
from molmo_point.service.request_queue import IdleTask, RequestQueue
from molmo_point.service.settings import Settings
from molmo_point.service.worker import Worker, stopping_error
from molmo_point.version import __version__
from molmo_point.wire import (
    QUESTIONS,
    Buffer,
    Op,
    Payload,
    Publication,
    Reply,
    Request,
    ServerInfo,
    UnknownRequest,
    WireError,
    payload_of,
)

LAST_PASS_S = 1.0
"""For the pass of the model that is under way when the grace of `SHUTDOWN_GRACE_S` is over."""

TEXT = frozenset({Op.ASK, Op.STREAM_TEXT})
"""Questions that some models answer without an image."""


class Dispatcher:
    """Takes requests of all transports to one worker.

    Args:
        load: Makes the Pointer, in the worker's thread.
        settings: Limits.
        close_pointer: As in `Worker`.
    """

    def __init__(
        self,
        load: Callable[[], Pointer],
        settings: Settings | None = None,
        *,
        close_pointer: bool = True,
    ) -> None:
        self.settings = settings or Settings()
        self._queue = RequestQueue(
            self.settings.capacity, self.settings.max_queue_bytes, self.settings.decode_ahead
        )
        self._cache = ReplyCache(
            self.settings.memory_answers,
            self.settings.memory_bytes,
            self.settings.memory_s,
            self.settings.memory_image_bytes,
        )
        self.metrics = Metrics(self._queue.__len__, lambda: self.worker.state()[0])
        self.worker = Worker(
            load, self._queue, self.settings, self.metrics.batch, close_pointer=close_pointer
        )
        self.cameras = Cameras(self.settings.camera_idle_s)
        self._decoding = Decoding(self._queue, self.settings.max_pixels)
        self._housekeeping = Housekeeping(self._queue, self._cache)
        self._began = time.monotonic()
        self._publishers: list[Callable[[Publication], None]] = []
        self.publish_port: int | None = None

    def start(self) -> None:
        """Start the worker and the threads around it."""
        self._housekeeping.start()
        self._decoding.start()
        self.worker.start()

    @property
    def stopping(self) -> bool:
        """Whether no question is taken any more."""
        return self.worker.stopping

    def stop(self, timeout_s: float = SHUTDOWN_GRACE_S + LAST_PASS_S) -> None:
        """Finish the running requests within `timeout_s` seconds; refuse all others: clients ask the next server."""
        self.worker.stop(timeout_s)
        # Of a Pointer that cannot be interrupted: their callers hear of it while there are still sockets.
        for job in self._cache.unfinished():
            job.fail(stopping_error())
        self.worker.abandon()
        self._decoding.stop()
        self._housekeeping.stop()

    def set_idle_task(self, idle_task: IdleTask | None) -> None:
        """Have the worker do something while no question waits; None to end that."""
        self._queue.idle_task = idle_task

    def info(self) -> ServerInfo:
        """Return what this server is and its state, at once."""
        ready, state = self.worker.state()
        return ServerInfo(
            version=__version__,
            model=self.worker.model,
            ready=ready,
            state=state,
            max_message_bytes=self.settings.max_message_bytes,
            max_pixels=self.settings.max_pixels,
            max_images=self.settings.max_images,
            max_frames=self.settings.max_frames,
            waiting=len(self._queue),
            capacity=self._queue.capacity,
            publishes=self.publish_port,
            uptime_s=round(time.monotonic() - self._began, 3),
        )

    def submit(
        self,
        request: Request,
        payload: Buffer | None,
        *,
        caller: str,
        transport: Transport,
        owner: Owner,
        listener: Listener,
        turn: Turn | None = None,
        camera_owner: str | None = None,
        once: bool = False,
    ) -> Job:
        """Submit a request; `listener` is called with every reply. A repeated request is answered from the reply cache.

        Args:
            request: Its header; a question, an `open` or a `close`.
            payload: The image's bytes.
            caller: Whose request it is, the same after a reconnection.
            transport: Where it came from.
            owner: The connection that `listener` belongs to.
            listener: Called with every reply, from any thread.
            turn: As in `Job`.
            camera_owner: As in `Job`.
            once: As in `Job`.

        Raises:
            PointError: It is refused; nothing is remembered of it.
        """
        image_payload = payload_of(request, payload)
        job = Job(
            request,
            image_payload,
            caller=caller,
            transport=transport,
            default_timeout_s=self.settings.default_timeout_s,
            turn=turn,
            camera_owner=camera_owner,
            once=once,
        )
        known = self._cache.find(job.key)
        if known is None:
            job.decode_pixels, job.quick = self._check(request, image_payload)
            known = self._cache.add(job)
        if known is not None:
            repeats = job.repeats(known)
            if repeats and not known.failed:
                self.metrics.repeated(transport)
                known.listen(owner, listener)
                return known
            # A failure is no answer: the same request sent again is computed again. A client that was restarted, over another
            # connection, may count from 1 again.
            if repeats is False and job.turn == known.turn:
                raise WireError(f"id {request.id} was used before, for another question")
            job.decode_pixels, job.quick = self._check(request, image_payload)
            self._cache.replace(job)
        job.on_finish(self._finished)
        if request.queries and request.camera is not None:
            job.listen(self, partial(self._publish_answer, job))
        job.listen(owner, listener)
        try:
            self._queue.put(job)
        except PointError:
            self._cache.forget(job)
            raise
        return job

    def resume(
        self, caller: str, name: str, owner: Owner, listener: Listener, seq: int = 0
    ) -> Job:
        """Repeat the replies to a known request from number `seq` on, and go on with those to come.

        Raises:
            UnknownRequest: No such request here: never arrived, refused, forgotten, or before a restart.
        """
        job = self._cache.find((caller, name))
        if job is None:
            raise UnknownRequest(f"no request {name} of this client is known here")
        job.listen(owner, listener, seq)
        return job

    def knows(self, caller: str, name: str) -> bool:
        """Whether a request was taken in, and not forgotten since."""
        return self._cache.find((caller, name)) is not None

    def cancel(self, caller: str, name: str) -> None:
        """Cancel a request at once, waiting or running; one that is not known or answered is left alone."""
        job = self._cache.find((caller, name))
        if job is not None:
            self._queue.remove(job)
            job.cancel()

    def cancel_all(self, caller: str) -> None:
        """End all requests of a caller that has gone."""
        for job in self._cache.unfinished():
            if job.caller == caller:
                self._queue.remove(job)
                job.cancel()

    def cancel_soon(self, caller: str, name: str) -> None:
        """As `cancel`, in another thread: also for a listener, which is called while its job is locked."""
        self._housekeeping.do(lambda: self.cancel(caller, name))

    def subscribe(self, publisher: Callable[[Publication], None]) -> None:
        """Call `publisher` with each answer about a named camera."""
        self._publishers.append(publisher)

    def publish(self, publication: Publication) -> None:
        """Give a publication to every publisher."""
        for publisher in self._publishers:
            publisher(publication)
            self.metrics.published()

    def check_length(self, query: str) -> None:
        """Refuse a query that is too long, before any other work on it.

        Raises:
            QueryError: Longer than `max_query_chars`.
        """
        check_query_length(query, self.settings.max_query_chars)

    def _finished(self, job: Job, reply: Reply) -> None:
        if job.once:
            self._cache.forget(job)
        else:
            self._cache.mark_finished(job)
        self.metrics.finished(job, reply)
        self._publish_answer(job, reply)

    def _publish_answer(self, job: Job, reply: Reply) -> None:
        camera = job.request.camera
        # A continuous query publishes its answers itself, once they are tracked.
        if camera is None or reply.pointing is None or job.transport == "watch":
            return
        if self.cameras.claim(camera, (job.transport, job.camera_owner)):
            self.publish(Publication(camera=camera, pointing=reply.pointing))

    def _check(self, request: Request, image_payload: Payload | None) -> tuple[int, bool]:
        """Refuse what cannot be answered; return `Job.decode_pixels` and `Job.quick`."""
        if request.queries:
            _check_several(request, self.settings.max_query_chars)
        elif request.op in QUESTIONS:
            check_query(request.query, self.settings.max_query_chars)
        if request.op in QUESTIONS:
            without = image_payload is None and request.view is None
            if image_payload is not None and request.view is not None:
                raise WireError(f"{request.op} needs an image or an opened view, one of them")
            if without and not (request.op in TEXT and self.worker.takes_text):
                raise WireError(f"{request.op} needs an image or an opened view, one of them")
            if request.view is not None and request.detail is not None:
                raise WireError(
                    "detail is chosen when an image is opened: leave it out beside a view"
                )
        elif request.op is Op.OPEN and image_payload is None:
            raise WireError("open needs an image")
        elif request.op is Op.CLOSE and request.view is None:
            raise WireError('close needs "view", the handle of an opened image')
        if image_payload is None:
            return 0, True
        if request.images and request.camera is not None:
            raise WireError("a camera's answers are about one image: leave camera out for several")
        return check_payload(image_payload, self.settings)


def _check_several(request: Request, max_characters: int) -> None:
    """Refuse several queries where one of them, or something beside them, cannot be answered."""
    if request.op not in (Op.POINT, Op.COUNT):
        raise WireError(f"queries are for point and count, not for {request.op}")
    if request.query or request.view is not None:
        raise WireError("queries take the place of query, and bring an image: no query or view")
    check_queries(request.queries, max_characters)
