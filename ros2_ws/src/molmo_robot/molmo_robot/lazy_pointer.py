"""`PatientPointer`: a server that may not be there yet. Robots boot in any order; the node asks again with every request."""

from __future__ import annotations

import threading
from collections.abc import Callable

from molmo_point.errors import UsageError
from molmo_point.images import Array
from molmo_point.pointer import PointStream
from molmo_robot.model_call import Asker
from molmo_robot.settings import Settings

HELLO_S = 2.0
"""How long one attempt to reach the server may take."""


class PatientPointer:
    """Connects when it is first asked, and again after every attempt that failed.

    Args:
        connect: Makes the connection; raises `ServiceError` where nobody answers.
    """

    def __init__(self, connect: Callable[[], Asker]) -> None:
        self._connect = connect
        self._pointer: Asker | None = None
        self._lock = threading.Lock()

    @property
    def model(self) -> str:
        """Name of the server's model.

        Raises:
            ServiceError: Nobody answers.
        """
        return self._reached().model

    def stream(
        self,
        image: Array,
        query: str,
        *,
        timeout_s: float | None = None,
        stamp_ns: int | None = None,
        frame_id: str | None = None,
    ) -> PointStream:
        """As `Pointer.stream`; connects first if need be."""
        # The stream itself, not one around it: a remote one can be cancelled while another thread waits for its next point.
        return self._reached().stream(
            image, query, timeout_s=timeout_s, stamp_ns=stamp_ns, frame_id=frame_id
        )

    def close(self) -> None:
        """Close the connection, if there is one; it can be opened again."""
        with self._lock:
            if self._pointer is not None:
                self._pointer.close()
                self._pointer = None

    def _reached(self) -> Asker:
        with self._lock:
            if self._pointer is None:
                self._pointer = self._connect()
            return self._pointer


def connect(settings: Settings) -> Asker:
    """Return the pointer behind `server_endpoint`; nobody is asked yet.

    Raises:
        UsageError: A key for an endpoint that knows none.
    """
    options: dict[str, object] = {"connect_timeout_s": HELLO_S}
    if settings.server_key:
        if not settings.server_endpoint.startswith("tcp://"):
            raise UsageError("server_key: only tcp:// endpoints take a key file")
        options["key"] = settings.server_key

    def reach() -> Asker:
        import molmo_point as mp

        return mp.connect(settings.server_endpoint, **options)

    return PatientPointer(reach)
