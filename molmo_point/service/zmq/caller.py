"""Who sent a message, as far as ZeroMQ knows it."""

from __future__ import annotations

import zmq


class Caller:
    """Who sent a message, as far as ZeroMQ knows it: by its key or its connection; and what it calls itself.

    Args:
        peer: The connection.
        frame: A frame of the message, not the first.
        keyed: Whether the socket asks for keys.

    Attributes:
        peer: The connection.
        turn: Whose turn its questions count for: its key's, else its machine's; and there its connection's.
        name: Whose requests it may ask for again. Nobody without its key can speak in its name.
        owner: Who owns the cameras it names.
        returns: Whether it may come back over another connection: under the name or the routing id that it gives itself.
    """

    def __init__(self, peer: bytes, frame: zmq.Frame, *, keyed: bool) -> None:
        self.peer = peer
        self._key = _property(frame, "User-Id") if keyed else ""
        place = f"key {self._key}" if self._key else _property(frame, "Peer-Address")
        connection = self.peer.hex()
        self.turn = (f"zmq {place}", connection)
        self.name = f"zmq:{self._key}:connection:{connection}"
        self.owner = f"key:{self._key}" if self._key else self.name
        # ZeroMQ's own routing ids begin with 0, those that a peer chooses cannot.
        self.returns = not peer.startswith(b"\0")

    def call_itself(self, client: str | None) -> None:
        """Take the name that the caller gives itself."""
        if client is not None:
            self.returns = True
            self.name = f"zmq:{self._key}:client:{client}"
            self.owner = f"key:{self._key}" if self._key else self.name


def _property(frame: zmq.Frame, name: str) -> str:
    """Return what ZeroMQ knows about the sender of a frame, "" where it does not."""
    try:
        return str(frame.get(name))
    except (zmq.ZMQError, UnicodeDecodeError):
        return ""
