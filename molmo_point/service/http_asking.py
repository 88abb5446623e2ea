"""From an HTTP request to the desk and back: the only place where asyncio and the worker's thread meet."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request as HttpRequest

from molmo_point.errors import ServiceError, TimedOut
from molmo_point.service.desk import Desk
from molmo_point.service.http_bodies import header_of, token_header
from molmo_point.wire import Op, Reply, Request, error_from

GRACE_S = 5.0
"""How much longer than its deadline an answer is waited for: a model that is in the middle of a pass finishes it first."""

LISTEN_S = 0.5
"""How often a waiting request looks whether its caller is still there."""


class Asking:
    """Asks the desk on behalf of HTTP requests."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    async def answer(self, http: HttpRequest, op: Op, data: bytes | None, **fields: Any) -> Reply:
        """Ask and return the last reply; an error reply is raised.

        Args:
            http: The request: its headers name the caller and the id.
            op: What is wanted.
            data: The picture file, or None.
            fields: More fields of the wire request.
        """
        last: Reply | None = None
        async for reply in self.replies(http, op, data, **fields):
            last = reply
        if last is None:
            raise ServiceError("the question ended without an answer")
        return last

    async def replies(
        self, http: HttpRequest, op: Op, data: bytes | None, **fields: Any
    ) -> AsyncIterator[Reply]:
        """Ask and yield every reply as it comes; an error reply is raised."""
        name = token_header(http, "x-request-id")
        caller = caller_of(http)
        request = Request(
            id=name or secrets.token_hex(16),
            op=op,
            image=header_of(data) if data is not None else None,
            **fields,
        )
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Reply] = asyncio.Queue()

        def listener(reply: Reply) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the server is going down
                loop.call_soon_threadsafe(queue.put_nowait, reply)

        job = self.desk.ask(
            request, data, caller=caller, transport="http", owner=queue, listener=listener
        )
        heard_last = False
        try:
            while not heard_last:
                reply = await _next(queue, http, job.left_s() + GRACE_S)
                heard_last = reply.last
                if reply.error is not None:
                    raise error_from(reply.error)
                yield reply
        finally:
            # Whoever named his request may come back for it over a new connection.
            if not heard_last and name is None:
                self.desk.cancel(caller, request.id)


def caller_of(http: HttpRequest) -> str:
    """Return whose request it is: the client's name for itself, or its address."""
    host = http.client.host if http.client else "unknown"
    return token_header(http, "x-client-id") or f"http-{host}"


async def primed(replies: AsyncIterator[Reply]) -> AsyncIterator[Reply]:
    """Wait for the first reply and return all of them: a refusal is still a status code then, not an event in a stream."""
    first = await anext(replies)

    async def rest() -> AsyncIterator[Reply]:
        yield first
        async for reply in replies:
            yield reply

    return rest()


async def _next(queue: asyncio.Queue[Reply], http: HttpRequest, wait_s: float) -> Reply:
    until = asyncio.get_running_loop().time() + wait_s
    while True:
        left_s = until - asyncio.get_running_loop().time()
        if left_s <= 0:
            raise TimedOut("the model was still at work when the deadline had long passed")
        try:
            return await asyncio.wait_for(queue.get(), min(LISTEN_S, left_s))
        except asyncio.TimeoutError:
            if await http.is_disconnected():
                raise TimedOut("the caller has gone") from None
