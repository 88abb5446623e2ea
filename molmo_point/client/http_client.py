"""`HttpPointer`: a server behind http(s)://HOST as a `Pointer`. Needs the extra "client"."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from molmo_point.install import import_failure

try:
    import httpx
except ImportError as error:
    raise import_failure(error, "httpx", "client", "connecting over HTTP") from error
from pydantic import ValidationError

from molmo_point.client.link import GONE_S, Replies, checked_patience
from molmo_point.client.remote import RemotePointer
from molmo_point.client.withdrawal import Withdrawal
from molmo_point.errors import Cancelled, ServerGone, ServiceError, TimedOut, UsageError
from molmo_point.wire import (
    ArrayEncoding,
    ErrorBody,
    Op,
    Picture,
    Reply,
    Request,
    ServerInfo,
    ViewInfo,
    decode_reply,
    error_from,
    read,
)

GRACE_S = 1.0
"""How much longer than the server's deadline its answer "truncated" is waited for."""

_PATHS = {
    Op.POINT: "/v1/point",
    Op.STREAM: "/v1/point",
    Op.COUNT: "/v1/count",
    Op.ASK: "/v1/ask",
    Op.STREAM_TEXT: "/v1/ask",
    Op.OPEN: "/v1/views",
}


class HttpPointer(RemotePointer):
    """A server behind HTTP. Safe to use from several threads.

    Args:
        url: http://HOST:PORT or https://HOST.
        timeout_s: Budget of each call that brings none of its own, seconds.
        connect_timeout_s: How long the constructor waits for the server to say hello.
        token: Where the server wants one.
        arrays: How pictures that are not JPEG, PNG or WebP files are sent; png keeps every pixel.
        camera: As in `RemotePointer`.
        gone_after_s: For so long a server that refuses connections, or breaks them, is tried again.

    Raises:
        ServerGone: Nobody answers there.
        Refused: The token is missing or wrong.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 30.0,
        connect_timeout_s: float = 5.0,
        token: str | None = None,
        arrays: ArrayEncoding = "png",
        camera: str | None = None,
        gone_after_s: float = GONE_S,
    ) -> None:
        super().__init__(
            HttpLink(url, token, gone_after_s),
            timeout_s=timeout_s,
            connect_timeout_s=connect_timeout_s,
            # HTTP bodies are files; pixels would need a description of their own.
            arrays="png" if arrays == "raw" else arrays,
            camera=camera,
        )


class HttpLink:
    """Connections to one server, kept alive."""

    def __init__(self, url: str, token: str | None = None, gone_after_s: float = GONE_S) -> None:
        self._gone_after_s = checked_patience(gone_after_s)
        self.url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=self.url, headers=headers)

    def hello(self, timeout_s: float) -> ServerInfo:
        """As `Link.hello`."""
        self._check_open()
        until = time.monotonic() + timeout_s
        while True:
            try:
                response = self._http.get("/v1/server", timeout=max(0.1, until - time.monotonic()))
                return ServerInfo.model_validate(_object(self.url, response))
            except httpx.TransportError as error:
                if time.monotonic() + 0.1 >= until:
                    raise _gone(self.url, error) from error
                time.sleep(0.1)

    def exchange(
        self,
        request: Request,
        picture: Picture | None,
        timeout_s: float,
        withdrawal: Withdrawal | None = None,
    ) -> Replies:
        """As `Link.exchange`. A broken connection is tried again with the same id; replies heard before are skipped."""
        self._check_open()
        if withdrawal is None:
            yield from self._exchange(request, picture, timeout_s, lambda: False)
            return

        def wake() -> None:
            # The server ends the request that the other thread waits for. A thread of its own: a waker must not wait.
            threading.Thread(target=self._cancel, args=(request,), daemon=True).start()

        with withdrawal.waking(wake):
            yield from self._exchange(request, picture, timeout_s, lambda: withdrawal.wished)

    def _exchange(
        self,
        request: Request,
        picture: Picture | None,
        timeout_s: float,
        withdrawn: Callable[[], bool],
    ) -> Replies:
        until = time.monotonic() + timeout_s + GRACE_S
        gone_at = time.monotonic() + self._gone_after_s
        expected = 0
        while True:
            if withdrawn():
                raise Cancelled("the request was withdrawn by its caller")
            try:
                for reply in self._attempt(request, picture, until):
                    if withdrawn() and not reply.last:
                        # Overtaken by its own withdrawal, it began all the same.
                        self._cancel(request)
                        raise Cancelled("the request was withdrawn by its caller")
                    if reply.seq >= expected:
                        expected = reply.seq + 1
                        yield reply
                        if reply.last:
                            return
                raise httpx.RemoteProtocolError("the stream ended early")
            except GeneratorExit:
                self._cancel(request)
                raise
            except httpx.TimeoutException as error:
                raise TimedOut(
                    f"{self.url} gave no complete answer within {timeout_s:.1f} s"
                ) from error
            except httpx.TransportError as error:
                if time.monotonic() + 0.2 >= min(until, gone_at):
                    raise _gone(self.url, error) from error
                time.sleep(0.2)

    def close(self) -> None:
        """As `Link.close`."""
        self._http.close()

    def _check_open(self) -> None:
        if self._http.is_closed:
            raise UsageError("this pointer is closed: connect again")

    def _cancel(self, request: Request) -> None:
        """Withdraw a request whose caller has left; a server that is gone needs not be told."""
        headers = {"X-Client-Id": request.client} if request.client else {}
        with contextlib.suppress(httpx.HTTPError):
            self._http.delete(f"/v1/requests/{request.id}", headers=headers, timeout=2.0)

    def _attempt(self, request: Request, picture: Picture | None, until: float) -> Iterator[Reply]:
        headers = {"X-Request-Id": request.id}
        if request.client:
            headers["X-Client-Id"] = request.client
        left_s = max(0.05, until - time.monotonic())
        options: dict[str, Any] = {"headers": headers, "timeout": left_s}
        if request.op is Op.CLOSE:
            response = self._http.delete(f"/v1/views/{request.view}", **options)
            _object(self.url, response)
            yield Reply(id=request.id, type="done")
            return
        body = _body(request, picture)
        path = _PATHS[request.op]
        if request.op in (Op.STREAM, Op.STREAM_TEXT):
            with self._http.stream("POST", path, **body, **options) as streamed:
                if streamed.is_error:
                    streamed.read()
                    _object(self.url, streamed)
                yield from _events(streamed)
        else:
            response = self._http.post(path, **body, **options)
            yield _reply(request, _object(self.url, response))


def _body(request: Request, picture: Picture | None) -> dict[str, Any]:
    fields: dict[str, Any] = {
        name: value
        for name in ("query", "view", "timeout_s", "camera", "stamp_ns", "frame_id")
        if (value := getattr(request, name)) is not None
    }
    if request.op is Op.OPEN:
        fields = {}
    if request.op in (Op.STREAM, Op.STREAM_TEXT):
        fields["stream"] = True
    if picture is None:
        return {"json": fields}
    kind = picture.header.encoding
    form = {name: json.dumps(v) if not isinstance(v, str) else v for name, v in fields.items()}
    return {"data": form, "files": {"image": (f"image.{kind}", picture.data, f"image/{kind}")}}


def _object(url: str, response: httpx.Response) -> dict[str, Any]:
    """Return the JSON object of a response; raise what a refusal stands for."""
    try:
        value = response.json()
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ServiceError(
            f"{url} answered {response.status_code} without JSON: is it a molmo-point server?"
        )
    if response.is_error:
        try:
            body = ErrorBody.model_validate(value.get("error"))
        except ValidationError:
            raise ServiceError(f"{url} answered {response.status_code}") from None
        raise error_from(body)
    return value


def _reply(request: Request, value: dict[str, Any]) -> Reply:
    try:
        if request.op is Op.OPEN:
            view = ViewInfo.model_validate(value)
            return Reply(id=request.id, type="view", view=view)
        if request.op is Op.ASK:
            return Reply(id=request.id, type="text", text=str(value.get("text", "")))
        # "count" and what a newer server adds are left out.
        return read(Reply, {"id": request.id, "type": "pointing", "pointing": value})
    except ValidationError as error:
        raise ServiceError(f"the server answered with something else: {error}") from None


def _events(response: httpx.Response) -> Iterator[Reply]:
    for line in response.iter_lines():
        if line.startswith("data: "):
            reply = decode_reply([line[6:].encode()])
            if reply.error is not None:
                raise error_from(reply.error)
            yield reply


def _gone(url: str, error: Exception) -> ServerGone:
    return ServerGone(
        f"nobody answers at {url} ({error}): check that the server runs and the address is right"
    )
