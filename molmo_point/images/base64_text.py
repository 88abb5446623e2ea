"""Base64 to bytes, in every form that clients send: the one decoder for Python, HTTP and the command line."""

from __future__ import annotations

import base64
import re
from urllib.parse import unquote

from molmo_point.errors import ImageError

_URL_SAFE = str.maketrans("-_", "+/")
_OUTSIDE = re.compile(r"[^A-Za-z0-9+/]")
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")


def is_data_url(text: str) -> bool:
    """Whether `text` is a `data:` URL; the scheme may be in upper case (RFC 3986)."""
    return text[:5].lower() == "data:"


def decode_base64(text: str, name: str = "the image") -> bytes:
    """Decode base64, bare or in a `data:` URL.

    Line breaks and blanks are skipped (MIME), padding may be missing or stand in the URL as %3D, and the URL-safe alphabet
    (- and _) is read as well as the standard one (+ and /). The media type is not looked at: the bytes say what they are.

    Args:
        text: `data:image/png;base64,iVBOR...`, or only what comes after the comma.
        name: What the text is, for messages.

    Raises:
        ImageError: Not base64: another character, a length that no bytes have, or a `data:` URL in another encoding.
    """
    text = text.strip()
    if is_data_url(text):
        head, comma, text = text.partition(",")
        if not comma or "base64" not in (part.strip().lower() for part in head.split(";")[1:]):
            raise ImageError(f"expected data:image/...;base64,..., got {head[:40]!r}")
    elif address := _ADDRESS.match(text):
        raise ImageError(
            f"expected base64 or data:image/...;base64,..., got an address ({address[0]}...): send the image itself"
        )
    if "%" in text:
        text = unquote(text)
    digits = "".join(text.split()).translate(_URL_SAFE)
    padding = len(digits) - len(digits.rstrip("="))
    digits = digits.rstrip("=")
    wrong = _OUTSIDE.search(digits)
    if wrong is not None:
        raise ImageError(
            f"{name}'s base64 is damaged: the character {wrong.group()!r} at {wrong.start()} is none of base64"
        )
    if len(digits) % 4 == 1 or padding > 2:
        raise ImageError(
            f"{name}'s base64 is damaged or cut short: {len(digits)} characters and {padding} of padding"
        )
    if not digits:
        raise ImageError(f"{name} is empty (0 bytes)")
    return base64.b64decode(digits + "=" * (-len(digits) % 4))
