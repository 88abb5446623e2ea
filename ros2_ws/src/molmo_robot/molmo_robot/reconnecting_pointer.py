"""`ReconnectingPointer`: connects to the server when it is first needed. Robots boot in any order; every request tries again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from molmo_point.errors import UsageError
from molmo_point.pointer import PointStream
from molmo_robot.model_call import StreamingPointer
from molmo_robot.settings import Settings

CONNECT_TIMEOUT_S = 2.0
"""Timeout of one attempt to connect, seconds."""


class ReconnectingPointer:
    """Connects at the first call, and again after every attempt that failed.

    Args:
        connect: Makes the connection; raises `ServiceError` where no server answers.
    """

    def __init__(self, connect: Callable[[], StreamingPointer]) -> None:
        self._connect = connect
        self._pointer: StreamingPointer | None = None
        self._lock = threading.Lock()

    @property
    def model(self) -> str:
        """Name of the server's model.

        Raises:
            ServiceError: No server answers.
        """
        return self._connected().model

    def stream(
        self,
        image: Any,
        query: str,
        *,
        timeout_s: float | None = None,
        stamp_ns: int | None = None,
        frame_id: str | None = None,
    ) -> PointStream:
        """As `Pointer.stream`; connects first if necessary."""
        # The stream itself, not one around it: a remote one can be cancelled while another thread waits for its next point.
        return self._connected().stream(
            image, query, timeout_s=timeout_s, stamp_ns=stamp_ns, frame_id=frame_id
        )

    def close(self) -> None:
        """Close the connection, if there is one; it can be opened again."""
        with self._lock:
            if self._pointer is not None:
                self._pointer.close()
                self._pointer = None

    def _connected(self) -> StreamingPointer:
        with self._lock:
            if self._pointer is None:
                self._pointer = self._connect()
            return self._pointer


def connect(settings: Settings) -> StreamingPointer:
    """Return the pointer for `server_endpoint`; it connects later.

    Raises:
        UsageError: A key for an endpoint without keys.
    """
    options: dict[str, object] = {"connect_timeout_s": CONNECT_TIMEOUT_S}
    if settings.server_key:
        if not settings.server_endpoint.startswith("tcp://"):
            raise UsageError("server_key: only tcp:// endpoints take a key file")
        options["key"] = settings.server_key

    def open_connection() -> StreamingPointer:
        from molmo_point.api import connect

        return connect(settings.server_endpoint, **options)

    return ReconnectingPointer(open_connection)
