"""CURVE for a client: its key file, the keys of a socket, and why a server refuses it, which ZeroMQ itself does not say."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Union

import zmq
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from zmq.utils.monitor import recv_monitor_message

from molmo_point.errors import Refused, UsageError

Z85Key = Annotated[str, Field(pattern=r"^[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}$")]
"""A 32-byte Curve25519 key in ZeroMQ's printable form."""


class ClientKey(BaseModel):
    """A client's own pair of keys and the public key of the server it trusts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    server_public: Z85Key
    public: Z85Key
    secret: Z85Key

    def __repr__(self) -> str:
        return f"ClientKey(public={self.public!r})"

    __str__ = __repr__


def read_key(path: Union[str, os.PathLike[str]]) -> ClientKey:
    """Read a key file written by `molmo-point keys new`.

    Raises:
        UsageError: No such file, or not a key file.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise UsageError(f"expected the path of a key file, got {type(path).__name__}")
    try:
        return ClientKey.model_validate_json(Path(path).read_bytes())
    except OSError as error:
        raise UsageError(f"the key file {path} cannot be read: {error.strerror}") from error
    except ValidationError:
        # Without the details: they would quote the file.
        raise UsageError(
            f"{path} is not a client's key file: make one on the server with `molmo-point keys new NAME`"
        ) from None


class Handshake:
    """Prepares a socket that is not yet connected, and listens to how its handshakes end.

    Args:
        socket: Of this client.
        url: Where it will connect to, for messages.
        key: This client's keys, if the server wants some.

    Attributes:
        monitor: Readable when a handshake has failed; to be polled beside the socket.
    """

    def __init__(self, socket: zmq.Socket[Any], url: str, key: ClientKey | None) -> None:
        self._socket = socket
        self._url = url
        if key is not None:
            socket.curve_serverkey = key.server_public.encode()
            socket.curve_publickey = key.public.encode()
            socket.curve_secretkey = key.secret.encode()
        failures = zmq.Event.HANDSHAKE_FAILED_AUTH | zmq.Event.HANDSHAKE_FAILED_PROTOCOL
        self.monitor = socket.get_monitor_socket(failures)

    def problem(self) -> Refused | None:
        """Return what went wrong since the last call, at once."""
        found: Refused | None = None
        while self.monitor.poll(0):
            event = recv_monitor_message(self.monitor)["event"]
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
