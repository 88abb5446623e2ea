"""The chunks of a PNG that its pixels need; the rest is metadata, which must not decide whether an image is read.

Pillow refuses the whole image for a text or a colour profile above 1 MB and for a wrong checksum in a comment.
"""

from __future__ import annotations

import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_XMP = b"XML:com.adobe.xmp\0\0"
"""Begin of an uncompressed iTXt chunk that may hold the orientation."""

_LONGEST_METADATA = 1_000_000
"""Bytes; longer metadata is left out."""


def without_metadata(data: bytes) -> bytes:
    """Return a PNG without the ancillary chunks that are not read here; anything else as it is.

    Kept are the critical chunks (IHDR, PLTE, IDAT, IEND) with whatever checksum they have, and the orientation (eXIf, XMP) where
    its checksum is right. Of an animation the frames after the first go.
    """
    if not data.startswith(SIGNATURE):
        return data
    view = memoryview(data)
    kept: list[memoryview] = [view[: len(SIGNATURE)]]
    place, dropped = len(SIGNATURE), False
    while place + 12 <= len(data):
        length = int.from_bytes(view[place : place + 4], "big")
        end = place + 12 + length
        if end > len(data):
            break
        kind = bytes(view[place + 4 : place + 8])
        if _critical(kind) or _orientation(kind, view[place + 4 : end]):
            kept.append(view[place:end])
        else:
            dropped = True
        place = end
    if not dropped:
        return data
    # The tail of a file that is cut short stays: the decoder judges it.
    return b"".join([*kept, view[place:]])


def _critical(kind: bytes) -> bool:
    """Whether a chunk is needed to decode the pixels: bit 5 of its first letter, and letters they must be."""
    return not (kind.isalpha() and kind[0] & 0x20)


def _orientation(kind: bytes, named: memoryview) -> bool:
    """Whether a chunk (from its name to its checksum) may hold the orientation and is whole."""
    if kind != b"eXIf" and not (kind == b"iTXt" and bytes(named[4 : 4 + len(_XMP)]) == _XMP):
        return False
    if len(named) > _LONGEST_METADATA:
        return False
    return zlib.crc32(named[:-4]) == int.from_bytes(named[-4:], "big")
