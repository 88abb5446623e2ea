"""`HttpPointer`: a server behind http(s)://HOST as a `Pointer`. Needs the extra "client"."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from molmo_point.client.address import http_address
from molmo_point.client.cancellation import CancelToken
from molmo_point.client.http_messages import (
    body_of,
    object_in,
    replies_in,
    reply_in,
    server_in,
    streams,
)
from molmo_point.client.http_session import ERRORS, failure, httpx, open_session, permanent
from molmo_point.client.per_process import PerProcess
from molmo_point.client.remote import RemotePointer
from molmo_point.client.transport import Replies, check_gone_after, next_server_missing
from molmo_point.defaults import CALL_TIMEOUT_S, CONNECT_TIMEOUT_S, SILENCE_TIMEOUT_S
from molmo_point.errors import Cancelled, TimedOut, UsageError
from molmo_point.pointer import Detail
from molmo_point.wire import (
    ArrayEncoding,
    Op,
    Payload,
    Reply,
    Request,
    ServerInfo,
    UnknownRequest,
)

GRACE_S = 1.0
"""How much longer than the server's deadline its answer "truncated" is waited for."""

RETRY_S = 0.2
"""Between two attempts."""

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
        url: http://HOST:PORT or https://HOST; a "/v1" at its end is left out. Loopback addresses are reached without the proxies
            of the environment.
        timeout_s: Budget of each call that brings none of its own, seconds.
        connect_timeout_s: How long the constructor waits for the server to say hello.
        token: Where the server wants one.
        arrays: How images that are not JPEG, PNG or WebP files are sent; png keeps every pixel.
        camera: As in `RemotePointer`.
        gone_after_s: For so long a server that refuses connections, or breaks them, is tried again.

    Raises:
        UsageError: Not such an address, or network settings of the environment (proxy, certificates) that cannot be used.
        ServerGone: Nobody answers there.
        Refused: The token is missing or wrong, or the certificate is not trusted.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = CALL_TIMEOUT_S,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        token: str | None = None,
        arrays: ArrayEncoding = "png",
        camera: str | None = None,
        detail: Detail | None = None,
        gone_after_s: float = SILENCE_TIMEOUT_S,
    ) -> None:
        # HTTP bodies are files; pixels would need a description of their own.
        arrays = "png" if arrays == "raw" else arrays
        super().__init__(
            HttpTransport(url, token, gone_after_s),
            timeout_s=timeout_s,
            connect_timeout_s=connect_timeout_s,
            arrays=arrays,
            camera=camera,
            detail=detail,
            again={"token": token, "gone_after_s": gone_after_s},
        )


class HttpTransport:
    """Connections to one server, kept alive; each process has its own."""

    def __init__(
        self, url: str, token: str | None = None, gone_after_s: float = SILENCE_TIMEOUT_S
    ) -> None:
        self._gone_after_s = check_gone_after(gone_after_s)
        self.url = http_address(url)
        self._closed = False
        self._session = PerProcess(lambda: open_session(self.url, token))

    def hello(self, timeout_s: float) -> ServerInfo:
        """As `Transport.hello`."""
        until = time.monotonic() + timeout_s
        while True:
            try:
                left_s = max(0.1, until - time.monotonic())
                response = self._http().get("/v1/server", timeout=left_s)
                return server_in(self.url, object_in(self.url, response))
            except ERRORS as error:
                if permanent(error) or time.monotonic() + 0.1 >= until:
                    raise failure(self.url, error) from error
                time.sleep(0.1)

    def exchange(
        self,
        request: Request,
        image_payload: Payload | None,
        timeout_s: float,
        cancel_token: CancelToken | None = None,
    ) -> Replies:
        """As `Transport.exchange`. A broken connection is tried again with the same id; replies heard before are skipped."""
        if cancel_token is None:
            yield from self._exchange(request, image_payload, timeout_s, lambda: False)
            return

        def wake() -> None:
            # The server ends the request that the other thread waits for. A thread of its own: a callback must not wait.
            threading.Thread(target=self._cancel, args=(request,), daemon=True).start()

        with cancel_token.on_cancel(wake):
            yield from self._exchange(
                request, image_payload, timeout_s, lambda: cancel_token.cancelled
            )

    def _exchange(
        self,
        request: Request,
        image_payload: Payload | None,
        timeout_s: float,
        cancelled: Callable[[], bool],
    ) -> Replies:
        until = time.monotonic() + timeout_s + GRACE_S
        # From the first failure after a sign of life: how long the model took before it is no silence.
        gone_at: float | None = None
        expected, pid = 0, os.getpid()
        told: tuple[float, str] | None = None
        while True:
            if cancelled():
                raise Cancelled("the request was cancelled by its caller")
            try:
                for reply in self._attempt(request, image_payload, until):
                    if cancelled() and not reply.last:
                        # Overtaken by its own cancel_token, it began all the same.
                        self._cancel(request)
                        raise Cancelled("the request was cancelled by its caller")
                    if reply.seq >= expected:
                        expected, gone_at = reply.seq + 1, None
                        yield reply
                        if reply.last:
                            return
                raise httpx.RemoteProtocolError("the stream ended early")
            except GeneratorExit:
                # A forked child drops its copy of its parent's stream, which goes on.
                if pid == os.getpid():
                    self._cancel(request)
                raise
            except httpx.TimeoutException as error:
                raise TimedOut(
                    f"{self.url} gave no complete answer within {timeout_s:.1f} s"
                ) from error
            except ERRORS as error:
                gone_at = gone_at or time.monotonic() + self._gone_after_s
                if permanent(error) or time.monotonic() + RETRY_S >= min(until, gone_at):
                    if told is not None and isinstance(error, httpx.TransportError):
                        raise next_server_missing(
                            self.url, time.monotonic() - told[0], told[1]
                        ) from error
                    raise failure(self.url, error) from error
                time.sleep(RETRY_S)
            except UnknownRequest as error:
                # The server has said that it stops: the next one is waited for as long as the call has time.
                gone_at, told = until, (time.monotonic(), str(error))
                if time.monotonic() + RETRY_S >= until:
                    raise
                time.sleep(RETRY_S)

    def close(self) -> None:
        """As `Transport.close`."""
        self._closed = True
        self._session.get().close()

    def _http(self) -> httpx.Client:
        if self._closed:
            raise UsageError("this pointer is closed: connect again")
        return self._session.get()

    def _cancel(self, request: Request) -> None:
        """Cancel a request whose caller has left; a server that is gone needs not be told."""
        headers = {"X-Client-Id": request.client} if request.client else {}
        with contextlib.suppress(*ERRORS, UsageError):
            self._http().delete(f"/v1/requests/{request.id}", headers=headers, timeout=2.0)

    def _attempt(
        self, request: Request, image_payload: Payload | None, until: float
    ) -> Iterator[Reply]:
        http = self._http()
        headers = {"X-Request-Id": request.id}
        if request.client:
            headers["X-Client-Id"] = request.client
        left_s = max(0.05, until - time.monotonic())
        options: dict[str, Any] = {"headers": headers, "timeout": left_s}
        if request.op is Op.CLOSE:
            response = http.delete(f"/v1/views/{request.view}", **options)
            object_in(self.url, response)
            yield Reply(id=request.id, type="done")
            return
        body = body_of(request, image_payload)
        path = _PATHS[request.op]
        if streams(request):
            with http.stream("POST", path, **body, **options) as streamed:
                if not streamed.is_success:
                    streamed.read()
                    object_in(self.url, streamed)
                yield from replies_in(streamed)
        else:
            response = http.post(path, **body, **options)
            yield reply_in(request, object_in(self.url, response))
