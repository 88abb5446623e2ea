"""The size of an image from its file's headers, without a decoder.

A server looks at every image before it queues it: that must be quick, and must not run a decoder on bytes of strangers in the
thread that serves everybody. The decoder checks again, later, in the worker.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator

from molmo_point.errors import ImageError
from molmo_point.images.formats import FileFormat
from molmo_point.wire.codec import Buffer

_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers that begin a frame and hold its size; the three left out are Huffman tables, a reserved one, arithmetic coding."""

_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD8)})
"""Markers without a length."""

_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff]")
"""What begins a segment. In front of it decoders skip junk, FF 00 and padding FFs."""


_TIFF_SIDES = {3: "H", 4: "I", 16: "Q"}
"""How a TIFF writes a width or a height, by the type of its entry: SHORT, LONG, and BigTIFF's LONG8."""

_MOST_ENTRIES = 4096
"""Segments of a JPEG, entries of a TIFF directory and boxes of an AVIF that are looked through; no real file has as many."""


def stored_size(data: Buffer, encoding: FileFormat) -> tuple[int, int]:
    """Return (width, height) as stored in the file, before EXIF rotation; of an AVIF or HEIC file that of its largest image.

    Raises:
        ImageError: The file is cut short or damaged before its size, or says that it is empty.
    """
    try:
        width, height = _SIZES[encoding](data)
    except (IndexError, struct.error):
        raise ImageError(
            f"the {encoding} file is damaged or cut short: its size cannot be read"
        ) from None
    except ValueError as error:
        raise ImageError(
            f"the {encoding} file is damaged or cut short: its size cannot be read ({error})"
        ) from None
    if width < 1 or height < 1:
        raise ImageError(f"the {encoding} file says that it has {width}x{height} pixels")
    return width, height


def _jpeg(data: Buffer) -> tuple[int, int]:
    place = 2
    for _ in range(_MOST_ENTRIES):
        if data[place] != 0xFF or data[place + 1] in (0, 0xFF):
            found = _JPEG_MARKER.search(data, place)
            if found is None:
                break
            place = found.start()
        marker = data[place + 1]
        if marker in _JPEG_BARE:
            place += 2
        elif marker in _JPEG_SIZES:
            height, width = struct.unpack_from(">HH", data, place + 5)
            return width, height
        elif marker in (0xD9, 0xDA):
            raise ValueError("the image begins before its size")
        else:
            (length,) = struct.unpack_from(">H", data, place + 2)
            place += 2 + max(2, length)
    raise ValueError("no size in its segments")


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


def _gif(data: Buffer) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


def _bmp(data: Buffer) -> tuple[int, int]:
    (header,) = struct.unpack_from("<I", data, 14)
    if header == 12:  # OS/2
        width, height = struct.unpack_from("<HH", data, 18)
        return width, height
    width, height = struct.unpack_from("<ii", data, 18)
    return width, abs(height)  # negative: rows from the top


def _tiff(data: Buffer) -> tuple[int, int]:
    order = "<" if bytes(data[:2]) == b"II" else ">"
    (version,) = struct.unpack_from(order + "H", data, 2)
    big = version == 43
    offset, count, entry, at = ("Q", "Q", 20, 8) if big else ("I", "H", 12, 4)
    (place,) = struct.unpack_from(order + offset, data, at)
    (entries,) = struct.unpack_from(order + count, data, place)
    place += struct.calcsize("=" + count)
    sides: dict[int, int] = {}
    for number in range(min(entries, _MOST_ENTRIES)):
        here = place + number * entry
        tag, kind = struct.unpack_from(order + "HH", data, here)
        if tag in (256, 257) and kind in _TIFF_SIDES:
            (sides[tag],) = struct.unpack_from(
                order + _TIFF_SIDES[kind], data, here + (12 if big else 8)
            )
    if len(sides) < 2:
        raise ValueError("no width and height in its first directory")
    return sides[256], sides[257]


def _heif(data: Buffer) -> tuple[int, int]:
    """AVIF and HEIC: meta > iprp > ipco > ispe, one for each image, tile and thumbnail in the file."""
    left = iter(range(_MOST_ENTRIES))
    sizes = [
        struct.unpack_from(">II", data, start + 4)
        for meta in _boxes(data, 0, len(data), b"meta", left)
        for iprp in _boxes(data, meta[0] + 4, meta[1], b"iprp", left)  # behind version and flags
        for ipco in _boxes(data, *iprp, b"ipco", left)
        for start, _ in _boxes(data, *ipco, b"ispe", left)
    ]
    if not sizes:
        raise ValueError("no image size (ispe) in it")
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    return width, height


def _boxes(
    data: Buffer, start: int, end: int, wanted: bytes, left: Iterator[int]
) -> Iterator[tuple[int, int]]:
    """Yield (begin, end) of what the boxes of one kind hold between two places, while `left` lasts: one item a box."""
    for _ in left:
        if start + 8 > end:
            return
        (length,) = struct.unpack_from(">I", data, start)
        head = 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, start + 8)
            head = 16
        stop = end if length == 0 else start + length
        if 0 < length < head or stop > end:
            raise ValueError("a box reaches beyond the one around it")
        if bytes(data[start + 4 : start + 8]) == wanted:
            yield start + head, stop
        start = stop


_SIZES: dict[FileFormat, Callable[[Buffer], tuple[int, int]]] = {
    "jpeg": _jpeg,
    "png": _png,
    "webp": _webp,
    "gif": _gif,
    "bmp": _bmp,
    "tiff": _tiff,
    "avif": _heif,
    "heic": _heif,
}
