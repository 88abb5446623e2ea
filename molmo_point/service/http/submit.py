"""From an HTTP request to the dispatcher and back: the only place where asyncio and the worker's thread meet."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request as HttpRequest

from molmo_point.capabilities import check_question
from molmo_point.defaults import HTTP_GRACE_S
from molmo_point.errors import ServiceError, TimedOut
from molmo_point.markup.noun_phrase import noun_phrase
from molmo_point.service.dispatcher import Dispatcher
from molmo_point.service.http.access import TOKEN
from molmo_point.service.http.bodies import token_header
from molmo_point.service.http.body_images import Brought, header_of
from molmo_point.service.job import Turn
from molmo_point.wire import JoinedPayload, Op, Reply, Request, error_from

LISTEN_S = 0.5
"""How often a waiting request checks that its caller is still connected."""


_numbers = itertools.count(1)
"""Numbers of requests without an id; no caller can refer to them."""

POINTING = frozenset({Op.POINT, Op.COUNT, Op.STREAM})
"""Operations whose query is a noun phrase; an instruction around it is removed."""


class HttpSubmitter:
    """Asks the dispatcher on behalf of HTTP requests."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher

    async def answer(
        self, http: HttpRequest, op: Op, data: Brought | None, **fields: Any
    ) -> Reply:
        """Ask and return the last reply; an error reply is raised.

        Args:
            http: The request: its headers name the caller and the id.
            op: What is wanted.
            data: The image file, several images, or None.
            fields: More fields of the wire request.
        """
        last: Reply | None = None
        async for reply in self.replies(http, op, data, **fields):
            last = reply
        if last is None:
            raise ServiceError("the question ended without an answer")
        return last

    async def replies(
        self, http: HttpRequest, op: Op, data: Brought | None, **fields: Any
    ) -> AsyncIterator[Reply]:
        """Ask and yield every reply as it comes; an error reply is raised."""
        query = fields.get("query", "")
        asked = fields.get("queries", [query])
        for words in asked:
            self.dispatcher.check_length(words)
        if op in (Op.ASK, Op.STREAM_TEXT):
            check_question(self.dispatcher.worker.model, query)
        elif op in POINTING:
            if "queries" in fields:
                fields["queries"] = [noun_phrase(words) for words in asked]
            else:
                fields["query"] = noun_phrase(query)
        caller = HttpCaller.of(http)
        request = Request(
            id=caller.request_id or f"r{next(_numbers)}",
            op=op,
            **_described(data),
            **fields,
        )
        mailbox = Mailbox()
        job = self.dispatcher.submit(
            request,
            data.data if isinstance(data, JoinedPayload) else data,
            caller=caller.name,
            transport="http",
            owner=mailbox,
            listener=mailbox.put,
            turn=caller.turn,
            camera_owner=caller.owner,
            once=caller.request_id is None,
        )
        heard_last = False
        try:
            while not heard_last:
                reply = await _next(mailbox, http, job.left_s() + HTTP_GRACE_S)
                heard_last = reply.last
                if reply.error is not None and reply.last:
                    raise error_from(reply.error)
                yield _as_asked(reply, asked[reply.seq] if reply.seq < len(asked) else query)
        finally:
            # A client that named its request may come back for it over a new connection.
            if not heard_last and caller.request_id is None:
                self.dispatcher.cancel(caller.name, request.id)


def _described(data: Brought | None) -> dict[str, Any]:
    """Return the fields of the wire's request that describe what was brought."""
    if data is None:
        return {}
    return data.fields() if isinstance(data, JoinedPayload) else {"image": header_of(data)}


def _as_asked(reply: Reply, query: str) -> Reply:
    """Return a reply whose answer has the query as the caller wrote it, not as the model was asked."""
    if reply.pointing is None or reply.pointing.query == query:
        return reply
    return reply.model_copy(update={"pointing": reply.pointing.replace(query=query)})


@dataclass(frozen=True)
class HttpCaller:
    """Who sent a request.

    Attributes:
        name: Whose requests it may ask for again and cancel: those of its token under its X-Client-Id. Without that header every
            request stands alone: an X-Request-Id by itself is a gateway's trace id, not a promise that it is used once.
        request_id: Under which the request is remembered, or None.
        turn: Whose turn it counts for: its token's or its machine's, and there its connection's.
        owner: Who owns the cameras it names.
    """

    name: str
    request_id: str | None
    turn: Turn
    owner: str

    @classmethod
    def of(cls, http: HttpRequest) -> HttpCaller:
        """Read who it is from a request.

        Raises:
            WireError: X-Client-Id or X-Request-Id is no token of 128 printable characters at most.
        """
        host, port = (http.client.host, http.client.port) if http.client else ("unknown", 0)
        token = http.scope.get(TOKEN)
        place = f"http {host}" if token is None else f"http token {token} {host}"
        client = token_header(http, "x-client-id")
        request_id = token_header(http, "x-request-id")
        if client is None:
            # No client can call itself so: their names have another beginning.
            name, owner, request_id = f"http:once:{next(_numbers)}", place, None
        else:
            name = owner = f"http:{token}:client:{client}"
        return cls(name, request_id, (place, str(port)), owner)


async def after_first_reply(replies: AsyncIterator[Reply]) -> AsyncIterator[Reply]:
    """Wait for the first reply and return all of them: a refusal is still a status code then, not an event in a stream."""
    first = await anext(replies)

    async def rest() -> AsyncIterator[Reply]:
        yield first
        async for reply in replies:
            yield reply

    return rest()


class Mailbox:
    """The replies to one request, from any thread to the event loop that made the mailbox."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._replies: deque[Reply] = deque()
        self._arrived: asyncio.Future[None] | None = None

    def put(self, reply: Reply) -> None:
        """Put a reply in; from any thread."""
        self._replies.append(reply)
        with contextlib.suppress(RuntimeError):  # the loop is closed: the server is going down
            self._loop.call_soon_threadsafe(self._wake)

    async def get(self, wait_s: float) -> Reply | None:
        """Return the next reply, None when none has come within `wait_s` seconds."""
        if not self._replies:
            self._arrived = self._loop.create_future()
            timer = self._loop.call_later(wait_s, self._wake)
            try:
                await self._arrived
            finally:
                timer.cancel()
        return self._replies.popleft() if self._replies else None

    def _wake(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)


async def _next(mailbox: Mailbox, http: HttpRequest, wait_s: float) -> Reply:
    until = time.monotonic() + wait_s
    while (left_s := until - time.monotonic()) > 0:
        reply = await mailbox.get(min(LISTEN_S, left_s))
        if reply is not None:
            return reply
        if await http.is_disconnected():
            raise TimedOut("the caller has gone")
    raise TimedOut("the model was still running long after the deadline")
