"""Which images an MCP host may name: files in allowed folders, and images that it sends along."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from molmo_point.errors import ImageError, Refused, UsageError
from molmo_point.images import decode_base64, sniff
from molmo_point.images.base64_text import is_data_url

SHORTEST_BASE64 = 48
"""Characters; the smallest image file is longer, and few paths are base64 of an image."""


class AllowedImages:
    """Reads what a host names; never a file outside the allowed folders, also not through links.

    Args:
        folders: Whose files may be read, those in their subfolders, too; none by default.

    Raises:
        UsageError: One of them is no folder.
    """

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        for folder in folders:
            if not folder.is_dir():
                raise UsageError(f"expected a folder of images, got {folder}")
        self._folders = [folder.resolve() for folder in folders]

    def read(self, image: str) -> bytes:
        """Return the bytes of an image file.

        Args:
            image: Path, absolute or below an allowed folder; file:// or data: URL; or the file itself in base64.

        Raises:
            Refused: The path is outside the allowed folders.
            ImageError: There is no such file, or it is no image.
        """
        if is_data_url(image):
            return decode_base64(image, "the data URL")
        sent = _sent(image)
        return sent if sent is not None else self._file(image)

    def _file(self, text: str) -> bytes:
        parts = urlsplit(text)
        if parts.scheme in ("http", "https"):
            raise Refused(
                "images are not downloaded: give a path in an allowed folder, or a data: URL"
            )
        path = Path(url2pathname(parts.path) if parts.scheme == "file" else text)
        for folder in self._folders:
            try:
                real = (folder / path).resolve()
                allowed = real.is_relative_to(folder) and real.is_file()
            except (OSError, ValueError, RuntimeError):  # too long, a zero byte, a loop of links
                continue
            if allowed:
                return _bytes_of(real)
        places = ", ".join(str(folder) for folder in self._folders) or "none"
        # One answer for what is missing and what is forbidden: it says nothing about files elsewhere.
        raise Refused(f"{text[:200]!r} is no file in the allowed folders: {places}")


def _sent(text: str) -> bytes | None:
    """Return the image that a text is the base64 of; None for a text that is a path."""
    if len(text) < SHORTEST_BASE64 or not text.isascii():
        return None
    try:
        data = decode_base64(text, "the image")
    except ImageError:
        return None
    return data if sniff(data) is not None else None


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror}") from error
