"""16-bit, 32-bit and float images to 8 bits: which value is white.

Such files do not say what white is: 1, 100 (percent), 255, 1023 (10 bits), 4095, 16383 and 65535 are all usual. White is taken
from the image:

1. `top` is its highest value after the highest 0.5 % of the pixels (at least one) are left out: a hot pixel decides nothing.
2. White is the smallest nominal range that holds `top`: 1 and 100 (floats only), 255, 1023, 4095, 16383, 65535.
3. Where `top` is below half of that range, white slides from the range before (at its end) to this one (at its half), as a
   power of `top`. So white is a continuous function of `top`: no image turns black because its values grow by a hair, and above 1
   the brightest parts are never darker than half of white. Above 65535 white is `top` itself.

Black is 0, or the lowest value, found in the same way, where that is negative. Values outside are clipped. NaN and infinities
hold no brightness: they are black and count for nothing.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEFT_OUT = 0.005
"""Share of the pixels that is left out at each end before black and white are chosen."""

WHITES = (255.0, 1023.0, 4095.0, 16383.0, 65535.0)
FLOAT_WHITES = (1.0, 100.0, *WHITES)

Grey = NDArray[Any]


def to_eight_bits(values: Grey) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return (H, W) or (H, W, C) uint8 of integers or floats of any range, as the module says; all channels have one white."""
    if values.dtype == np.uint16:
        return _by_table(values)
    fractions = values.dtype.kind == "f"
    grey = values.astype(np.float64)
    finite = np.isfinite(grey)
    known = grey[finite]
    if known.size == 0:
        return np.zeros(values.shape, np.uint8)
    bottom, top = _range(known)
    black = min(0.0, bottom)
    white = white_of(top, fractions)
    grey = np.where(finite, grey, black)
    scaled = (grey - black) / (white - black) * 255.0
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def top_of(values: np.ndarray[Any, np.dtype[Any]]) -> int:
    """Return the highest value of uint8 or uint16 without the outermost ones."""
    # In blocks: counting makes numbers of 8 bytes.
    counts = np.zeros(np.iinfo(values.dtype).max + 1, np.int64)
    for block in _blocks(values):
        counts += np.bincount(block.ravel(), minlength=counts.size)
    return int(np.searchsorted(np.cumsum(counts), values.size - _outer(values.size)))


def _by_table(
    values: np.ndarray[Any, np.dtype[np.uint16]],
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The same for the 65,536 values of uint16, without an image of floats."""
    white = white_of(float(top_of(values)), fractions=False)
    table = np.clip(np.rint(np.arange(65_536) / white * 255.0), 0, 255).astype(np.uint8)
    scaled = np.empty(values.shape, np.uint8)
    for block, out in zip(_blocks(values), _blocks(scaled), strict=True):
        out[...] = table[block]
    return scaled


def _blocks(values: np.ndarray[Any, np.dtype[Any]]) -> list[np.ndarray[Any, np.dtype[Any]]]:
    """Return the image in rows of about a million values."""
    return np.array_split(values, 1 + min(len(values) - 1, values.size >> 20))


def white_of(top: float, fractions: bool) -> float:
    """Return the value that becomes 255 for an image whose highest values are at `top`; a continuous, rising function of it.

    Args:
        top: In the image's own units.
        fractions: Whether the values may be fractions of 1 (floats).
    """
    below, *ranges = FLOAT_WHITES if fractions else WHITES
    if top <= below:
        return below
    for white in ranges:
        if top <= white:
            power = math.log(white / below) / math.log(white / 2 / below)
            return min(white, below * (top / below) ** power)
        below = white
    return top


def _range(known: Grey) -> tuple[float, float]:
    """Return the lowest and the highest value without the outermost ones at each end."""
    count = known.size
    outer = _outer(count)
    places = np.partition(known, (outer, count - 1 - outer))
    return float(places[outer]), float(places[count - 1 - outer])


def _outer(count: int) -> int:
    """Return how many of `count` values are left out at each end."""
    return min(max(1, round(LEFT_OUT * count)), (count - 1) // 2)
