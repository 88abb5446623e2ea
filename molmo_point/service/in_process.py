"""The server as its own client: continuous queries go through the dispatcher like all requests, without a socket."""

from __future__ import annotations

import queue
import time

from molmo_point.client.cancellation import CancelToken
from molmo_point.client.transport import Replies
from molmo_point.defaults import WATCH_GRACE_S
from molmo_point.errors import TimedOut
from molmo_point.service.dispatcher import Dispatcher
from molmo_point.wire import Payload, Reply, Request, ServerInfo


class InProcessTransport:
    """A `Transport` to a dispatcher in this process."""

    url = "this server"

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def exchange(
        self,
        request: Request,
        image_payload: Payload | None,
        timeout_s: float,
        cancel_token: CancelToken | None = None,
    ) -> Replies:
        """As `Transport.exchange`."""
        caller = request.client or "watch"
        cancel_token = cancel_token or CancelToken()
        # The dispatcher ends a request at once, and its last reply wakes the thread that waits here.
        with cancel_token.on_cancel(lambda: self._dispatcher.cancel(caller, request.id)):
            yield from self._exchange(caller, request, image_payload, timeout_s, cancel_token)

    def _exchange(
        self,
        caller: str,
        request: Request,
        image_payload: Payload | None,
        timeout_s: float,
        cancel_token: CancelToken,
    ) -> Replies:
        replies: queue.Queue[Reply] = queue.Queue()
        job = self._dispatcher.submit(
            request,
            image_payload.data if image_payload is not None else None,
            caller=caller,
            transport="watch",
            owner=replies,
            listener=replies.put,
        )
        if cancel_token.cancelled:  # before the dispatcher knew the request
            self._dispatcher.cancel(caller, request.id)
        until = time.monotonic() + timeout_s + WATCH_GRACE_S
        try:
            while not (job.finished and replies.empty()):
                try:
                    yield replies.get(timeout=max(0.0, until - time.monotonic()))
                except queue.Empty:
                    raise TimedOut(f"no complete answer within {timeout_s:.1f} s") from None
        finally:
            if not job.finished:
                self._dispatcher.cancel(caller, request.id)

    def hello(self, timeout_s: float) -> ServerInfo:
        """As `Transport.hello`."""
        return self._dispatcher.info()

    def close(self) -> None:
        """As `Transport.close`; there is nothing to close."""
