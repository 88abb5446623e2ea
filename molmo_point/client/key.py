"""The key file of one client: what it needs to speak to a server that encrypts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Union

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from molmo_point.errors import UsageError

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
