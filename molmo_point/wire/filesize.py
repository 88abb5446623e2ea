"""The size of a picture from the first bytes of its file, without a decoder.

A server looks at every picture before it queues it: that must be quick, and must not run a decoder on bytes of strangers in the
thread that serves everybody. The decoder checks again, later, in the worker.
"""

from __future__ import annotations

import struct
from typing import Literal

from molmo_point.errors import ImageError
from molmo_point.wire.codec import Buffer

FileEncoding = Literal["jpeg", "png", "webp"]

_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers that begin a frame and hold its size; the three left out are Huffman tables, a reserved one, arithmetic coding."""

_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD8)})
"""Markers without a length."""


def sniff(data: Buffer) -> FileEncoding | None:
    """Return which of the three file formats `data` begins like, or None."""
    head = bytes(data[:12])
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(b"RIFF") and head[8:] == b"WEBP":
        return "webp"
    return None


def stored_size(data: Buffer, encoding: FileEncoding) -> tuple[int, int]:
    """Return (width, height) as stored in the file, before EXIF rotation.

    Raises:
        ImageError: The file is cut short or damaged before its size, or says that it is empty.
    """
    try:
        if encoding == "jpeg":
            width, height = _jpeg(data)
        elif encoding == "png":
            width, height = _png(data)
        else:
            width, height = _webp(data)
    except (IndexError, struct.error, ValueError) as error:
        raise ImageError(
            f"the {encoding} file is damaged or cut short: its size cannot be read ({error})"
        ) from None
    if width < 1 or height < 1:
        raise ImageError(f"the {encoding} file says that it has {width}x{height} pixels")
    return width, height


def _jpeg(data: Buffer) -> tuple[int, int]:
    place, end = 2, len(data)
    while place < end:
        if data[place] != 0xFF:
            raise ValueError(f"no marker at byte {place}")
        marker = data[place + 1]
        if marker == 0xFF:  # padding
            place += 1
        elif marker in _JPEG_BARE:
            place += 2
        elif marker in _JPEG_SIZES:
            height, width = struct.unpack_from(">HH", data, place + 5)
            return width, height
        elif marker in (0xD9, 0xDA):
            raise ValueError("the picture begins before its size")
        else:
            (length,) = struct.unpack_from(">H", data, place + 2)
            place += 2 + length
    raise ValueError("no size in the whole file")


def _png(data: Buffer) -> tuple[int, int]:
    if bytes(data[12:16]) != b"IHDR":
        raise ValueError("no IHDR chunk")
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _webp(data: Buffer) -> tuple[int, int]:
    kind = bytes(data[12:16])
    if kind == b"VP8X":
        low = struct.unpack_from("<HBHB", data, 24)
        return 1 + low[0] + (low[1] << 16), 1 + low[2] + (low[3] << 16)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise ValueError(f"unknown chunk {kind!r}")
