"""The HTTP side of the server: uvicorn in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
import threading
import time

import uvicorn

from molmo_point.defaults import HTTP_HOST, HTTP_PORT
from molmo_point.errors import ServiceError, UsageError
from molmo_point.service.bind_check import check_bind_address, is_loopback
from molmo_point.service.dispatcher import Dispatcher
from molmo_point.service.http.app import HttpOptions, build_app
from molmo_point.service.http.arrivals import Arrivals
from molmo_point.service.http.connections import connection_limit, limited_protocol

STARTS_S = 10.0

FINISH_S = 3.0
"""Seconds that a stop gives to the answers under way; then their connections are reset."""

FINISH_AND_RESET_S = 4
"""Seconds after which uvicorn cancels the handlers that have not ended although their connections were reset."""

BACKLOG = 128
"""Connections that the system holds until they are accepted."""


class HttpServer:
    """Binds at once, so that an address in use is the caller's exception; `start` begins to serve.

    Args:
        dispatcher: Where the requests go.
        host: Address to bind to.
        port: 0 takes a free one.
        options: Tokens, allowed hosts. `loopback_only` follows from `host`.
        insecure: Serve other machines without tokens.

    Attributes:
        url: Where it really is.

    Raises:
        UsageError: The address is in use, or is open to others without tokens.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        host: str = HTTP_HOST,
        port: int = HTTP_PORT,
        *,
        options: HttpOptions | None = None,
        insecure: bool = False,
    ) -> None:
        options = options or HttpOptions()
        check_bind_address(
            host, secured=bool(options.tokens), insecure=insecure, remedy="give --token-file"
        )
        options = dataclasses.replace(options, loopback_only=is_loopback(host))
        self._socket = _bind(host, port)
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._socket.getsockname()[1]}"
        arrivals = Arrivals()
        config = uvicorn.Config(
            build_app(dispatcher, options, arrivals),
            # Not httptools: it takes headers of any size before anybody looks at them.
            http=limited_protocol(connection_limit()),
            ws="none",
            # Who is behind a proxy is the proxy's word, and any program of this machine could be the proxy.
            proxy_headers=False,
            # The process's logging stays as its owner has set it: uvicorn's own settings would replace handlers.
            log_config=None,
            log_level="warning",
            access_log=False,
            lifespan="off",
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=FINISH_AND_RESET_S,
            h11_max_incomplete_event_size=64 * 1024,
        )
        self._server = _ThreadServer(config, arrivals)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="molmo-http", daemon=True
        )

    def start(self) -> None:
        """Begin to serve; returns when it does.

        Raises:
            ServiceError: It does not within some seconds.
        """
        self._thread.start()
        until = time.monotonic() + STARTS_S
        while not self._server.started:
            if time.monotonic() > until or not self._thread.is_alive():
                raise ServiceError(f"the HTTP server did not start at {self.url}: see the log")
            time.sleep(0.01)

    def stop(self, timeout_s: float = 5.0) -> None:
        """Finish what is being answered and close; returns after `timeout_s` seconds at the latest."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                self._server.force_exit = True
                self._thread.join(1.0)
        self._socket.close()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()


class _ThreadServer(uvicorn.Server):
    """Leaves signals to the main thread, which stops every part of the service together.

    Args:
        config: Of uvicorn.
        arrivals: Refused when it stops: a caller that never sends the rest of its body would keep it waiting.
    """

    def __init__(self, config: uvicorn.Config, arrivals: Arrivals) -> None:
        super().__init__(config)
        self._arrivals = arrivals

    def install_signal_handlers(self) -> None:
        return

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._arrivals.refuse()
        resetting = asyncio.create_task(self._reset_after(FINISH_S))
        try:
            await super().shutdown(sockets)
        finally:
            resetting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await resetting

    async def _reset_after(self, finish_s: float) -> None:
        """Reset the connections that are still open: their handlers end as for a caller that hangs up.

        A handler that uvicorn cancels instead, because nobody reads its stream, leaves a traceback in the log.
        """
        await asyncio.sleep(finish_s)
        for connection in list(self.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio turns Nagle's algorithm off only for sockets that say they are TCP: with it every
    # answer over a kept-alive connection waits 40 ms for an acknowledgement.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise UsageError(
            f"cannot listen at {host}:{port}: {error.strerror or error}; give another address for HTTP (--http HOST:PORT)"
        ) from error
    return bound
