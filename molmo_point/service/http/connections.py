"""How many connections the HTTP server holds: an idle one makes room for a new one before the process runs out of descriptors."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_S = 30.0
"""Seconds within which a new connection must send the head of a request; else it is closed."""

RESERVED = 128
"""File descriptors that are left to the rest of the process: ZeroMQ's connections, the model's files, the log."""

MOST = 1000


def connection_limit() -> int:
    """Return how many connections this process may hold, after asking the system for as many descriptors as it allows."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return MOST
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST + RESERVED
    if soft != resource.RLIM_INFINITY and soft < wanted:
        top = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (top, hard))
            soft = top
        except (OSError, ValueError):
            pass
    if soft == resource.RLIM_INFINITY:
        return MOST
    return max(16, min(MOST, soft - RESERVED))


def limited_protocol(most: int, request_s: float = REQUEST_S) -> type[asyncio.Protocol]:
    """Return uvicorn's protocol for HTTP/1.1 with a limit on connections.

    Args:
        most: Connections at a time. At the limit, the one that has been idle longest is closed for a new one, and the
            new one itself where none is idle.
        request_s: Time for the head of a connection's first request.
    """

    class Limited(H11Protocol):
        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > most and not self._make_room():
                transport.abort()
                return
            self._timer = self.loop.call_later(request_s, self._close_if_idle)

        def connection_lost(self, exc: Exception | None) -> None:
            if self._timer is not None:
                self._timer.cancel()
            super().connection_lost(exc)

        @property
        def idle(self) -> bool:
            """Whether no request is under way."""
            return self.cycle is None or self.cycle.response_complete

        def _make_room(self) -> bool:
            # uvicorn keeps them in a set; the descriptors' numbers say nothing about age, the timers do.
            idle = [
                other
                for other in self.connections
                if isinstance(other, Limited) and other is not self and other.idle
            ]
            if not idle:
                return False
            oldest = min(idle, key=lambda other: other.since)
            oldest.transport.abort()
            return True

        @property
        def since(self) -> float:
            """When it was opened, in the loop's time."""
            return self._timer.when() if self._timer is not None else 0.0

        def _close_if_idle(self) -> None:
            if self.cycle is None:
                self.transport.close()

    return Limited
