"""Bilinear scaling without antialiasing, in whole bytes: what Molmo 2's weights were trained on (molmo2.md 3.1)."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from molmo_point.preprocess.arrays import Bytes, Floats

Places = NDArray[np.int64]

ROWS = 16
"""Output rows of a block: its intermediate numbers stay in the cache."""


class _Axis(NamedTuple):
    """For each output place along one axis the two input places that it lies between, and their weights."""

    first: Places
    second: Places
    first_weight: Floats
    second_weight: Floats

    def part(self, places: slice) -> _Axis:
        """Return some of the output places."""
        first, second = self.first[places], self.second[places]
        return _Axis(first, second, self.first_weight[places], self.second_weight[places])


def stretch(image: Bytes, width: int, height: int) -> Bytes:
    """Scale an image to a size, whatever its shape was; small details alias where it shrinks.

    Equal byte for byte to torch's `interpolate(mode="bilinear", align_corners=False, antialias=False)` of float32 in one thread,
    rounded half to even: float32 weights, and a chain of fused multiply-adds over the four neighbours, which are emulated here in
    float64. Another order of the same sum moves up to 1 byte in 1,000 by 1 (sizes whose places are often exact halves).

    Args:
        image: (H, W, 3) uint8.

    Returns:
        (height, width, 3) uint8.
    """
    down, across = _axis(image.shape[0], height), _axis(image.shape[1], width)
    out = np.empty((height, width, image.shape[2]), np.uint8)
    for start in range(0, height, ROWS):
        rows = slice(start, start + ROWS)
        out[rows] = _block(image, down.part(rows), across)
    return out


def _block(image: Bytes, down: _Axis, across: _Axis) -> Floats:
    """Return the output rows of `down`, rounded, [rows, columns, channels]."""
    upper, lower = image[down.first], image[down.second]
    sum_ = _weighted(upper[:, across.second], down.first_weight, across.second_weight)
    sum_ = sum_.astype(np.float32)
    for rows, row_weight, columns, column_weight in (
        (upper, down.first_weight, across.first, across.first_weight),
        (lower, down.second_weight, across.first, across.first_weight),
        (lower, down.second_weight, across.second, across.second_weight),
    ):
        sum_ = (_weighted(rows[:, columns], row_weight, column_weight) + sum_).astype(np.float32)
    return np.rint(sum_)


def _weighted(values: Bytes, down: Floats, across: Floats) -> np.ndarray[Any, Any]:
    """Return the values times their weights, float64: the exact product."""
    weights = down[:, None] * across[None, :]
    return values * weights[:, :, None].astype(np.float64)


@functools.lru_cache(maxsize=64)
def _axis(size_in: int, size_out: int) -> _Axis:
    one, half = np.float32(1), np.float32(0.5)
    scale = np.float32(size_in) / np.float32(size_out)
    center = (np.arange(size_out, dtype=np.float32) + half).astype(np.float64)
    # One rounding, as of a fused multiply-add. `center` is float64: numpy 1 multiplies a float64 number and a float32 array in
    # float32.
    place = (float(scale) * center - 0.5).astype(np.float32)
    place = np.maximum(place, np.float32(0))
    first = np.minimum(place.astype(np.int64), size_in - 1)
    weight = np.clip(place - first.astype(np.float32), 0, one)
    return _Axis(first, np.minimum(first + 1, size_in - 1), one - weight, weight)
