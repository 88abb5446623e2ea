"""Keys on a socket, and why a server does not let it in: ZeroMQ itself is silent about that."""

from __future__ import annotations

from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

from molmo_point.client.key import ClientKey
from molmo_point.errors import Refused


class Handshake:
    """Prepares a socket that is not yet connected, and listens to how its handshakes end.

    Args:
        socket: Of this client.
        url: Where it will connect to, for messages.
        key: This client's keys, if the server wants some.
    """

    def __init__(self, socket: zmq.Socket[Any], url: str, key: ClientKey | None) -> None:
        self._socket = socket
        self._url = url
        if key is not None:
            socket.curve_serverkey = key.server_public.encode()
            socket.curve_publickey = key.public.encode()
            socket.curve_secretkey = key.secret.encode()
        failures = zmq.Event.HANDSHAKE_FAILED_AUTH | zmq.Event.HANDSHAKE_FAILED_PROTOCOL
        self._monitor = socket.get_monitor_socket(failures)

    def problem(self) -> Refused | None:
        """Return what went wrong since the last call, at once."""
        found: Refused | None = None
        while self._monitor.poll(0):
            event = recv_monitor_message(self._monitor)["event"]
            if event == zmq.Event.HANDSHAKE_FAILED_AUTH:
                found = Refused(f"{self._url} does not know this client's key")
            else:
                found = found or Refused(
                    f"{self._url} and this client do not agree on how to speak: either one of them uses keys and the other "
                    "does not, the server's key is another one, or no ZeroMQ server listens there"
                )
        return found

    def close(self) -> None:
        """End the listening; to be called before the socket is closed."""
        self._socket.disable_monitor()
