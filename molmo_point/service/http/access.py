"""What every HTTP request passes before anything reads it: the host it names, its token, the size of its body."""

from __future__ import annotations

import base64
import contextlib
import hmac
from collections.abc import Awaitable, Callable, Sequence

import anyio
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from molmo_point.errors import Busy, Refused, TimedOut, UsageError
from molmo_point.service.http.arrivals import Arrivals
from molmo_point.service.http.errors import error_response
from molmo_point.service.http.hosts import Hosts
from molmo_point.service.worker import stopping_error

OPEN_PATHS = frozenset({"/", "/healthz", "/readyz"})
"""Need no token: they say nothing about anybody's images."""

OPEN_PREFIX = "/page/"

BODY = "molmo_point.body"
"""Key of the scope under which the application finds the whole body, a bytearray."""

TOKEN = "molmo_point.token"
"""Key of the scope under which stands which of the server's tokens was given, a number; missing where none is needed."""

BODY_S = 30.0
"""For a whole body to arrive: 64 MB at 20 Mbit/s."""


class AccessMiddleware:
    """ASGI middleware around the whole application.

    Args:
        app: The application.
        tokens: Who may ask; empty for everybody.
        max_body: Bytes of one body.
        max_bodies: Bytes of all bodies that are being received or worked on.
        hosts: The names this server answers to.
        origins: Whose web pages may ask, in addition to its own.
        arrivals: The bodies that are being received.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        tokens: Sequence[str],
        max_body: int,
        max_bodies: int,
        hosts: Hosts,
        origins: Sequence[str],
        arrivals: Arrivals,
    ) -> None:
        self._app = app
        self._tokens = [_spellings(token) for token in tokens]
        self._max_body = max_body
        self._max_bodies = max_bodies
        self._hosts = hosts
        self._origins = origins
        self._held = 0
        self._arrivals = arrivals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        send = _traced(headers.get("x-request-id"), send)
        refusal = (
            self._check_host(headers)
            or self._check_page(headers, scope["method"])
            or self._check_token(scope, headers)
        )
        if refusal is None and scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        if refusal is None:
            refusal = await self._with_body(headers, scope, receive, send)
        if refusal is not None:
            await refusal(scope, receive, send)

    def _check_host(self, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        if self._hosts.known(host):
            return None
        return error_response(
            Refused(
                f"this server is not known as {host[:80]!r}: start it with --allow-host NAME to be reached under that name"
            )
        )

    def _check_page(self, headers: Headers, method: str) -> Response | None:
        if self._hosts.own_page(headers, method, self._origins):
            return None
        origin = headers.get("origin", "another site")
        return error_response(
            Refused(
                f"web pages of {origin[:80]} may not ask this server: start it with --allow-origin ORIGIN to let them"
            )
        )

    def _check_token(self, scope: Scope, headers: Headers) -> Response | None:
        path = scope["path"]
        if not self._tokens or path in OPEN_PATHS or path.startswith(OPEN_PREFIX):
            return None
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            given = _password(token)
        elif scheme.lower() == "bearer":
            given = token.strip().encode("latin-1")
        else:
            given = headers.get("x-moondream-auth", "").strip().encode("latin-1")
        # Every token is compared, each in constant time: the time taken says nothing about them.
        matches = [
            sum(hmac.compare_digest(given, known) for known in spellings) > 0
            for spellings in self._tokens
        ]
        if any(matches):
            scope[TOKEN] = matches.index(True)
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
        coding = ", ".join(headers.getlist("content-encoding")).strip().lower()
        if any(word.strip() not in ("", "identity") for word in coding.split(",")):
            return error_response(
                UsageError(f"expected a body as it is, got Content-Encoding {coding[:80]}"),
                status=415,
            )
        announced = headers.get("content-length", "0")
        if announced.isdigit() and int(announced[:12]) > self._max_body:
            return self._too_large()
        body = bytearray()
        size = [0]
        refusal: Response | None = None
        try:
            try:
                # Not asyncio.wait_for, which costs a task for each body.
                with anyio.fail_after(BODY_S) as arriving, self._arrivals.during(arriving):
                    refusal = await self._collect(body, size, receive)
            except TimeoutError:
                return error_response(
                    TimedOut(f"the body did not arrive within {BODY_S:.0f} s"), status=408
                )
            if arriving.cancel_called:
                return error_response(stopping_error())
            if refusal is not None:
                return refusal
            scope[BODY] = body
            await self._app(scope, _after(receive), send)
            return None
        except ClientDisconnect:
            return None
        finally:
            self._held -= size[0]

    async def _collect(
        self, body: bytearray, size: list[int], receive: Receive
    ) -> Response | None:
        """Append the body's parts to `body`, and their bytes to the number in `size`; return a refusal where a limit is broken.

        Raises:
            ClientDisconnect: The caller has gone before the end.
        """
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunk = message.get("body", b"")
            if len(body) + len(chunk) > self._max_body:
                return self._too_large()
            if self._held + len(chunk) > self._max_bodies:
                return error_response(Busy("too many images are on their way at once"))
            self._held += len(chunk)
            size[0] += len(chunk)
            body += chunk
            more = message.get("more_body", False)
        return None

    def _too_large(self) -> Response:
        return error_response(
            UsageError(f"the body is larger than {self._max_body:,} bytes: scale the image down"),
            status=413,
        )


def _traced(name: str | None, send: Send) -> Send:
    """Return a `send` that gives the response the X-Request-Id of its request, where that is a printable word."""
    if name is None or not (0 < len(name) <= 128 and all("!" <= mark <= "~" for mark in name)):
        return send

    async def traced(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", name.encode())]
        await send(message)

    return traced


def _after(receive: Receive) -> Callable[[], Awaitable[Message]]:
    """Return a `receive` for an application that finds the body in its scope: an empty body, then the connection's end."""
    sent = False

    async def again() -> Message:
        nonlocal sent
        if not sent:
            sent = True
            return {"type": "http.request", "body": b"", "more_body": False}
        return await receive()

    return again


def _password(credentials: str) -> bytes:
    """Return the password of HTTP's basic authentication: clients that know no bearer tokens send the token so."""
    with contextlib.suppress(ValueError):
        return base64.b64decode(credentials, validate=True).partition(b":")[2]
    return b""


def check_token(token: str) -> None:
    """Refuse what is no secret, or cannot be sent as one.

    Raises:
        UsageError: It is empty, begins or ends with blanks, or holds line breaks; the message does not quote it.
    """
    if not token or token != token.strip() or not token.isprintable():
        raise UsageError(
            "expected each token as a word without blanks and line breaks around it, got "
            + ("an empty one" if not token.strip() else "one with some")
        )


def _spellings(token: str) -> tuple[bytes, ...]:
    """Return the bytes a token may arrive as: clients send letters beyond ASCII as UTF-8 or as Latin-1."""
    with contextlib.suppress(UnicodeEncodeError):
        return token.encode(), token.encode("latin-1")
    return (token.encode(),)
