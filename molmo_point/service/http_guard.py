"""What every HTTP request passes before anything reads it: the host it names, its token, the size of its body."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Sequence

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from molmo_point.errors import Busy, Refused, TimedOut, UsageError
from molmo_point.service.exposure import is_loopback
from molmo_point.service.http_errors import error_response

OPEN_PATHS = frozenset({"/", "/healthz", "/readyz"})
"""Need no token: they say nothing about anybody's pictures."""

OPEN_PREFIX = "/page/"

BODY_S = 30.0
"""For a whole body to arrive: 64 MB at 20 Mbit/s."""


class Guard:
    """ASGI middleware around the whole application.

    Args:
        app: The application.
        tokens: Who may ask; empty for everybody.
        max_body: Bytes of one body.
        max_bodies: Bytes of all bodies that are being received or worked on.
        loopback_only: Whether the server is bound to this machine: then requests must name it as their host, so that a web page
            on the internet cannot reach it under a name of its own that resolves to 127.0.0.1.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        tokens: Sequence[str],
        max_body: int,
        max_bodies: int,
        loopback_only: bool,
    ) -> None:
        self._app = app
        self._tokens = [token.encode() for token in tokens]
        self._max_body = max_body
        self._max_bodies = max_bodies
        self._loopback_only = loopback_only
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._check_host(headers) or self._check_token(scope["path"], headers)
        if refusal is None and scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        if refusal is None:
            refusal = await self._with_body(headers, scope, receive, send)
        if refusal is not None:
            await refusal(scope, receive, send)

    def _check_host(self, headers: Headers) -> Response | None:
        if not self._loopback_only:
            return None
        host = headers.get("host", "")
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if is_loopback(name):
            return None
        return error_response(
            Refused(f"this server is for this machine alone, not for {host[:80]!r}")
        )

    def _check_token(self, path: str, headers: Headers) -> Response | None:
        if not self._tokens or path in OPEN_PATHS or path.startswith(OPEN_PREFIX):
            return None
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            token = headers.get("x-moondream-auth", "")
        given = token.strip().encode()
        # Every token is compared, each in constant time: the time taken says nothing about them.
        matches = [hmac.compare_digest(given, known) for known in self._tokens]
        if any(matches):
            return None
        return error_response(
            Refused(
                "expected the header 'Authorization: Bearer TOKEN' with a token of this server"
            ),
            status=401,
        )

    async def _with_body(
        self, headers: Headers, scope: Scope, receive: Receive, send: Send
    ) -> Response | None:
        """Read the body within its limits and run the application with it; return a refusal instead where it breaks one."""
        chunks: list[bytes] = []
        size = 0
        try:
            announced = headers.get("content-length", "0")
            if announced.isdigit() and int(announced[:12]) > self._max_body:
                return self._too_large()
            until = asyncio.get_running_loop().time() + BODY_S
            more = True
            while more:
                wait_s = until - asyncio.get_running_loop().time()
                message = await asyncio.wait_for(receive(), max(0.0, wait_s))
                if message["type"] == "http.disconnect":
                    return None
                chunk = message.get("body", b"")
                size += len(chunk)
                self._held += len(chunk)
                if size > self._max_body:
                    return self._too_large()
                if self._held > self._max_bodies:
                    return error_response(Busy("too many pictures are on their way at once"))
                chunks.append(chunk)
                more = message.get("more_body", False)
            await self._app(scope, _replay(b"".join(chunks), receive), send)
            return None
        except asyncio.TimeoutError:
            return error_response(
                TimedOut(f"the body did not arrive within {BODY_S:.0f} s"), status=408
            )
        finally:
            self._held -= size

    def _too_large(self) -> Response:
        return error_response(
            UsageError(
                f"the body is larger than {self._max_body:,} bytes: scale the picture down"
            ),
            status=413,
        )


def _replay(body: bytes, receive: Receive) -> Callable[[], Awaitable[Message]]:
    sent = False

    async def again() -> Message:
        nonlocal sent
        if not sent:
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return again
