"""Which connections have ended: their requests are cancelled, since nobody can receive the answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message


class Departures:
    """Watches the connections of a bound socket. Used by one thread at a time: the one that reads the socket.

    ZeroMQ reports the end of a connection by its file descriptor, and names the descriptor that a message came over. A descriptor
    is used again for a later connection, but never before the end of the earlier one was reported.

    Args:
        socket: A bound socket.
        departed: Called with the name of each caller from `watch` whose connection has ended.
    """

    def __init__(self, socket: zmq.Socket[Any], departed: Callable[[str], None]) -> None:
        self._socket = socket
        self._monitor = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._departed = departed
        self._callers: dict[int, str] = {}
        self.descriptor = int(self._monitor.getsockopt(zmq.FD))

    def watch(self, caller: str, frame: zmq.Frame) -> None:
        """Report the end of the connection that a message came over.

        Args:
            caller: Who sent the message; has no other connection.
            frame: A frame of the message, not the first.
        """
        descriptor = int(frame.get(zmq.SRCFD))
        if self._callers.get(descriptor) != caller:
            self.report()
            self._callers[descriptor] = caller

    def report(self) -> None:
        """Call `departed` for each connection that has ended since the last time."""
        while int(self._monitor.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            descriptor = int(recv_monitor_message(self._monitor)["value"])
            caller = self._callers.pop(descriptor, None)
            if caller is not None:
                self._departed(caller)

    def close(self) -> None:
        """Stop watching, before the socket is closed."""
        self._socket.disable_monitor()
        self._monitor.close(0)
