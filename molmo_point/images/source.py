"""From what a user has to the bytes of an image file: paths, file:// and data: URLs, bytes."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from molmo_point.errors import ImageError
from molmo_point.images.base64_text import decode_base64, is_data_url

MAX_FILE_BYTES = 256 * 1024 * 1024
"""Larger files are refused before they are read."""


def printable(text: str | os.PathLike[str]) -> str:
    r"""Return a file's name as text that can be encoded in UTF-8: bytes that are no UTF-8 become \xNN."""
    return os.fspath(text).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def file_bytes(source: object) -> tuple[str, bytes]:
    """Return a name for messages and the bytes of an image file.

    Args:
        source: Path ("~" is the home folder), file:// URL, `data:` URL, or the bytes themselves.

    Raises:
        ImageError: No such file, a folder or a device, larger than `MAX_FILE_BYTES`, damaged base64, or none of these.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return "the image bytes", bytes(source)
    if isinstance(source, str) and is_data_url(source):
        return "the data URL", decode_base64(source, "the data URL")
    if isinstance(source, (str, os.PathLike)):
        path = _path(os.fspath(source))
        return printable(path), _read(path)
    raise ImageError(
        "expected a path, image bytes, a PIL image or an (H, W, 3) uint8 RGB array, "
        f"got {type(source).__name__}"
    )


def _path(text: str | bytes) -> Path:
    text = os.fsdecode(text)
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", text)
    if scheme is not None and scheme[1].lower() != "file":
        address = printable(text)[:200]
        how = f" (curl -O {address})" if scheme[1].lower() in ("http", "https") else ""
        raise ImageError(
            f"expected a file of this machine, got the address {address}: images are not downloaded here, "
            f"so download it first{how}"
        )
    if scheme is not None:
        text = url2pathname(urlsplit(text).path)
    path = Path(text)
    if text.startswith("~") and not os.path.lexists(path):
        try:
            path = path.expanduser()
        except RuntimeError:  # no home folder, no such user
            return path
    return path


def _read(path: Path) -> bytes:
    name = printable(path)[:200]
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise ImageError(f"{name} is a folder: give the path of one image")
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            raise ImageError(f"{name} is a device, not an image file: check the path")
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            # Not by its size alone: a pipe and the files under /proc say 0.
            data = file.read(MAX_FILE_BYTES + 1) if size <= MAX_FILE_BYTES else b""
    except FileNotFoundError:
        raise ImageError(f"there is no file {name}: check the path") from None
    except ImageError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or printable(str(error))
        raise ImageError(f"{name} cannot be read: {reason}") from error
    if size > MAX_FILE_BYTES or len(data) > MAX_FILE_BYTES:
        raise ImageError(
            f"{name} has {max(size, len(data)):,} bytes, the limit is {MAX_FILE_BYTES:,}: make the image smaller"
        )
    return data
