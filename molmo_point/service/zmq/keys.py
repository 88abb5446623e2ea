"""The folder of keys on the server: its own pair, and the public keys of the clients it lets in.

keys/server.json          the server's pair; never leaves this machine
keys/clients/NAME.json    the public key of a client that is let in; delete the file and it is out
keys/NAME.key             what that client needs: carry it to the client, then delete it here
"""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

import zmq
from pydantic import BaseModel, ConfigDict, ValidationError
from zmq.utils import z85

from molmo_point.client.curve import ClientKey, Z85Key
from molmo_point.errors import UsageError

log = logging.getLogger(__name__)


class ServerKey(BaseModel):
    """The server's pair of keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    public: Z85Key
    secret: Z85Key

    def __repr__(self) -> str:
        return f"ServerKey(public={self.public!r})"

    __str__ = __repr__


class KnownClient(BaseModel):
    """A client that is let in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    public: Z85Key


def new_client(folder: Path, name: str) -> Path:
    """Make keys for a client, and the server's own at the first time.

    Args:
        folder: The folder of keys; made where it is missing, readable by its owner only.
        name: Of the client: letters, digits, dots, dashes and underscores.

    Returns:
        The key file to carry to the client.

    Raises:
        UsageError: The name is not one, is taken, or the folder cannot be written.
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,63}", name):
        raise UsageError(
            f"expected a name of letters, digits, dots, dashes and underscores, got {name!r}"
        )
    try:
        # Each by itself: with `parents` only the last folder would get the mode.
        folder.parent.mkdir(parents=True, exist_ok=True)
        for made in (folder, folder / "clients"):
            made.mkdir(exist_ok=True, mode=0o700)
        if not (folder / "server.json").exists():
            public, secret = _pair()
            _write_new(folder / "server.json", ServerKey(public=public, secret=secret))
        server = server_key(folder)
        public, secret = _pair()
        path = folder / f"{name}.key"
        _write_new(folder / "clients" / f"{name}.json", KnownClient(name=name, public=public))
        _write_new(path, ClientKey(server_public=server.public, public=public, secret=secret))
    except FileExistsError as error:
        raise UsageError(
            f"{error.filename} exists: choose another name, or delete it to shut that client out"
        ) from None
    except OSError as error:
        raise UsageError(f"the keys cannot be written: {error}") from error
    return path


def server_key(folder: Path) -> ServerKey:
    """Read the server's pair.

    Raises:
        UsageError: There is none, or it is damaged.
    """
    path = folder / "server.json"
    try:
        return ServerKey.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UsageError(
            f"there are no keys in {folder}: make some with `molmo-point keys new NAME --dir {folder}`"
        ) from None
    except (OSError, ValidationError):
        raise UsageError(f"{path} is not a server's key file") from None


def known_clients(folder: Path) -> dict[str, str]:
    """Return {public key: name} of the clients that are let in; files that are no keys are named in the log and left out."""
    known = {}
    for path in sorted((folder / "clients").glob("*.json")):
        try:
            client = KnownClient.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            log.warning("%s is not a client's public key", path)
            continue
        known[client.public] = client.name
    return known


class CurveCredentials:
    """Says which clients are let in. The folder is read at each handshake: a new or a deleted key counts at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def callback(self, domain: str, key: bytes) -> bool:
        """Return whether the client with that public key (32 bytes or Z85) may come in."""
        printable = key.decode("ascii") if len(key) == 40 else z85.encode(key).decode("ascii")
        name = known_clients(self._folder).get(printable)
        log.info("client %s %s", name or printable, "comes in" if name else "is refused")
        return name is not None


def _pair() -> tuple[str, str]:
    public, secret = zmq.curve_keypair()
    return public.decode("ascii"), secret.decode("ascii")


def _write_new(path: Path, value: BaseModel) -> None:
    # Created with its mode, not chmodded afterwards: others can never read it.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(value.model_dump_json(indent=1) + "\n")
