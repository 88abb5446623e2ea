"""The structure of a received JPEG or PNG, read without a decoder: one size, and how many passes over the pixels it asks for."""

from __future__ import annotations

import re
import struct

from molmo_point.errors import ImageError
from molmo_point.wire import Buffer

_PROGRESSIVE = frozenset({0xC2, 0xCA})
_FRAMES = frozenset({0xC0, 0xC1, 0xC9}) | _PROGRESSIVE
"""Kinds of JPEG that are decoded: baseline, extended and progressive, with Huffman or arithmetic coding."""

_SEGMENTS = frozenset({0xC4, 0xCC, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)})
"""Tables, comments and applications' data: every decoder skips or reads them by their length."""

_SEGMENT = re.compile(rb"\xff[^\x00\xff]")
"""What begins a segment in front of the pixels."""

_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""What ends the coded pixels of a scan; within them 0xFF is followed by 0 or by a restart marker."""

_MOST_SEGMENTS = 4096
"""Of a JPEG, and chunks of a PNG times 16 (pixels may come in pieces of 8 kB): no real file has as many.

The structure is read in the thread that serves everybody; 64 MB could hold 16 million segments.
"""

_DAMAGE = (IndexError, ValueError, struct.error)


def check_png(data: Buffer) -> None:
    """Walk the chunks.

    Raises:
        ImageError: A second IHDR in front of the pixels (some readers take the first size, some the last), or more chunks than
            real files have.
    """
    place, end, view = 8, len(data), memoryview(data)
    pixels = False
    for _ in range(16 * _MOST_SEGMENTS):
        if place + 8 > end:
            return
        (length,) = struct.unpack_from(">I", view, place)
        kind = bytes(view[place + 4 : place + 8])
        pixels = pixels or kind == b"IDAT"
        if kind == b"IHDR" and place > 8 and not pixels:
            raise ImageError("the PNG file states its size twice: save it again")
        place += 12 + length
    raise ImageError("the PNG file has too many chunks: save it again")


def jpeg_scans(data: Buffer, most: int) -> int:
    """Return how many scans a decoder makes over a JPEG's pixels, 1 for an ordinary one; counting ends above `most`.

    Raises:
        ImageError: It states its size twice, or has a segment before its pixels that decoders read differently.
    """
    view = memoryview(data)
    try:
        place, components, progressive = _first_scan(view)
        if not progressive and view[place + 4] >= components:
            return 1
        return _count(view, place, most)
    except _DAMAGE as error:
        raise ImageError(
            f"the JPEG file is damaged, or of a kind that is not read: {error}"
        ) from None


def _first_scan(view: memoryview) -> tuple[int, int, bool]:
    """Return the place of the first scan's marker, the number of colour components, and whether it is progressive."""
    place, frame, components = 2, 0, 0
    for _ in range(_MOST_SEGMENTS):
        if view[place] != 0xFF or view[place + 1] in (0, 0xFF):
            # Junk between segments and padding FFs are skipped, as decoders do.
            found = _SEGMENT.search(view, place)
            if found is None:
                raise ValueError("it ends before its pixels")
            place = found.start()
        marker = view[place + 1]
        if marker == 0xDA:
            if not frame:
                raise ValueError("the pixels begin before its size")
            return place, components, frame in _PROGRESSIVE
        if marker in _FRAMES:
            if frame:
                raise ValueError("it states its size twice")
            frame, components = marker, view[place + 9]
        elif marker not in _SEGMENTS:
            raise ValueError(f"a segment of the kind {marker:#x} before the pixels")
        place = _behind(view, place)
    raise ValueError("too many segments before the pixels")


def _count(view: memoryview, place: int, most: int) -> int:
    scans = 0
    for _ in range(_MOST_SEGMENTS):
        if scans > most:
            return scans
        marker = view[place + 1] if place + 1 < len(view) else 0xD9
        if marker == 0xD9:
            return scans
        scans += marker == 0xDA
        found = _MARKER.search(view, _behind(view, place))
        if found is None:  # cut short: the decoder judges that
            return scans
        place = found.start()
    raise ValueError("too many segments between the scans")


def _behind(view: memoryview, place: int) -> int:
    (length,) = struct.unpack_from(">H", view, place + 2)
    return place + 2 + int(length)
