"""Masks of objects: kept compressed, read from image files, decoded from COCO's run lengths."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from molmo_point.errors import UsageError

Mask2D = NDArray[np.bool_]
"""(H, W) bool, row 0 at the top."""


class StoredMask:
    """A region of any shape, kept compressed: a test set holds hundreds of masks of a million pixels.

    Args:
        inside: (H, W) bool, True on the object.
        levels: (H, W) uint8 of the mask's file where its owner scores gray values; None otherwise.
    """

    def __init__(self, inside: Mask2D, levels: np.ndarray[Any, Any] | None = None) -> None:
        if inside.ndim != 2 or inside.dtype != np.bool_ or 0 in inside.shape:
            raise UsageError(
                f"expected a mask (H, W) of bool, got shape {inside.shape} of {inside.dtype}"
            )
        if not inside.any():
            raise UsageError("the mask is empty: no pixel of it is set")
        self._shape: tuple[int, int] = inside.shape
        self._packed = zlib.compress(np.packbits(inside).tobytes(), 1)
        self._levels = None if levels is None else zlib.compress(levels.tobytes(), 1)
        self._point = point_inside(inside)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self._shape[1], self._shape[0]

    def array(self) -> Mask2D:
        """Return the mask, (H, W) bool."""
        height, width = self._shape
        bits = np.frombuffer(zlib.decompress(self._packed), np.uint8)
        return np.unpackbits(bits, count=height * width).reshape(height, width).astype(bool)

    def levels(self) -> np.ndarray[Any, Any]:
        """Return gray values, (H, W) uint8: those of the file where they were kept, else 0 and 255."""
        if self._levels is None:
            return self.array().astype(np.uint8) * np.uint8(255)
        return np.frombuffer(zlib.decompress(self._levels), np.uint8).reshape(self._shape)

    def contains(self, x: float, y: float) -> bool:
        height, width = self._shape
        # The far edge belongs to the last pixel.
        column, row = min(int(x * width), width - 1), min(int(y * height), height - 1)
        return bool(self.array()[row, column])

    @property
    def center(self) -> tuple[float, float]:
        """A point on the object, (x, y) `norm`: the centroid where that is on it."""
        return self._point


def point_inside(inside: Mask2D) -> tuple[float, float]:
    """Return a point on the object, (x, y) `norm`: the centroid, else the middle of the longest run of its middle row."""
    height, width = inside.shape
    rows, columns = np.nonzero(inside)
    x, y = float(columns.mean()) + 0.5, float(rows.mean()) + 0.5
    if inside[int(y), int(x)]:
        return x / width, y / height
    row = int(np.sort(rows)[len(rows) // 2])
    edges = np.flatnonzero(np.diff(np.concatenate(([0], inside[row].astype(np.int8), [0]))))
    starts, ends = edges[::2], edges[1::2]
    longest = int(np.argmax(ends - starts))
    return float(starts[longest] + ends[longest]) / 2 / width, (row + 0.5) / height


def read_mask(data: bytes, *, above: int = 0, keep_levels: bool = False) -> StoredMask:
    """Read a mask from the bytes of an image file.

    Args:
        data: Of a PNG or JPEG; with several channels a pixel is set where any of red, green and blue is.
        above: A pixel is set where its value (0-255) is larger.
        keep_levels: Keep the gray values, too.

    Raises:
        UsageError: It is no image, or no pixel is set.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            # A palette's index is no brightness; 1-bit images count as 0 and 255.
            pixels = np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))
    except Exception as error:
        raise UsageError(f"the mask cannot be read: {error}") from error
    gray = pixels if pixels.ndim == 2 else pixels.max(axis=2)
    return StoredMask(gray > above, gray if keep_levels else None)


def decode_runs(counts: str | Sequence[int], height: int, width: int) -> Mask2D:
    """Return the mask of COCO's run lengths: columns from the left, each from the top, runs of 0 and 1 in turn.

    Args:
        counts: The runs, or COCO's text of them.

    Raises:
        UsageError: They are damaged, or do not fill (height, width).
    """
    runs = _unpacked(counts) if isinstance(counts, str) else [int(run) for run in counts]
    if any(run < 0 for run in runs) or sum(runs) != height * width:
        raise UsageError(
            f"expected run lengths that fill {width}x{height} pixels, got {sum(runs)} pixels"
        )
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(width, height).T


def _unpacked(text: str) -> list[int]:
    """Decode COCO's text: 5 bits a character, sign extended, from the fourth run on the difference to the run two before it."""
    runs: list[int] = []
    at = 0
    while at < len(text):
        value = shift = 0
        more = True
        while more:
            if at >= len(text):
                raise UsageError("the text of the run lengths ends within a number")
            code = ord(text[at]) - 48
            if not 0 <= code < 64:
                raise UsageError(f"expected COCO's text of run lengths, got {text[at]!r} in it")
            value |= (code & 0x1F) << shift
            more = bool(code & 0x20)
            at += 1
            shift += 5
            if not more and code & 0x10:
                value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
    return runs
