"""Resizing and letterboxing of images, with the same mapping for points (molmo.md 3.3)."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from molmo_point.preprocess.arrays import Floats, Pixels, Points


@dataclass(frozen=True)
class Placement:
    """Position of an image on a canvas after scaling and centring. All numbers are pixels.

    Attributes:
        width, height: Size of the scaled image.
        left, top: Its top left corner on the canvas.
        canvas_width, canvas_height: Size of the canvas.
    """

    width: int
    height: int
    left: int
    top: int
    canvas_width: int
    canvas_height: int

    def canvas_from_norm(self, points: Points) -> Points:
        """Map points (..., 2) from 0-1 of the image to canvas pixels; the inverse of `norm_from_canvas`."""
        size = np.array([self.width, self.height], dtype=np.float64)
        return np.asarray(points, np.float64) * size + np.array([self.left, self.top], np.float64)

    def norm_from_canvas(self, points: Points) -> Points:
        """Map points (..., 2) from canvas pixels to 0-1 of the image; values outside 0-1 lie on the padding."""
        size = np.array([self.width, self.height], dtype=np.float64)
        return (
            np.asarray(points, np.float64) - np.array([self.left, self.top], np.float64)
        ) / size


def place(width: int, height: int, canvas_width: int, canvas_height: int) -> Placement:
    """Return the placement of an image that is scaled to fit a canvas, with its aspect ratio kept, and centred.

    Computed in float32 with truncation, as in the reference: 1200x1200 on 784 becomes 783, not 784. A side that would become 0
    (aspect ratios above the canvas size, where the reference crashes) keeps one pixel.
    """
    scale = min(
        np.float32(canvas_width) / np.float32(width),
        np.float32(canvas_height) / np.float32(height),
    )
    scaled_width = max(1, int(np.float32(width) * scale))
    scaled_height = max(1, int(np.float32(height) * scale))
    return Placement(
        width=scaled_width,
        height=scaled_height,
        left=(canvas_width - scaled_width) // 2,
        top=(canvas_height - scaled_height) // 2,
        canvas_width=canvas_width,
        canvas_height=canvas_height,
    )


Gain = tuple[float, float, float]

UNIT: Gain = (1 / 255, 1 / 255, 1 / 255)
"""Gains from 0-255 to 0-1."""


def resize(image: Pixels, width: int, height: int, gain: Gain = UNIT) -> Floats:
    """Resize an image bilinearly with antialiasing (triangle filter, half-pixel centres), in float32.

    The filter's weights are those of torch's `interpolate(mode="bilinear", antialias=True)`, computed in float32: results with
    positions in double precision (Pillow) differ by up to 2e-4 on large images. An 8-bit resize changes the logits noticeably.

    Args:
        image: (H, W, 3), values 0-255.
        gain: Factors of the channels, applied during the resampling at no cost.

    Returns:
        (height, width, 3) float32, in 0-1 with the default gain; rounding may exceed that by 1e-7.
    """
    rows, columns = image.shape[:2]
    out = image.reshape(rows, columns * 3)
    if rows != height:
        out = _resample_rows(out, height)
    if columns != width:
        return _resample_columns(out, width, gain).reshape(height, width, 3)
    same = out.astype(np.float32, copy=False).reshape(height, width, 3)
    return same * np.array(gain, np.float32)


def _resample_rows(image: Pixels, size: int) -> Floats:
    """Resample the first axis of [N, M] to `size`."""
    out = np.empty((size, image.shape[1]), np.float32)
    for start, first, weights in _band(len(image), size):
        # Converted to float32 block by block: the block is still in the CPU cache for the product.
        rows = image[first : first + weights.shape[1]].astype(np.float32, copy=False)
        np.matmul(weights, rows, out=out[start : start + len(weights)])
    return out


def _resample_columns(image: Pixels, size: int, gain: Gain) -> Floats:
    """Resample the columns of [N, M * 3], three interleaved channels, to [N, size * 3], and apply the gains."""
    image = image.astype(np.float32, copy=False)
    out = np.empty((len(image), size * 3), np.float32)
    for start, first, weights in _band_of_channels(image.shape[1] // 3, size, gain):
        columns = image[:, first : first + len(weights)]
        np.matmul(columns, weights, out=out[:, start : start + weights.shape[1]])
    return out


WIDEST = 24
"""Input rows of a block. The weights form a narrow band, which is split into dense blocks for BLAS: wider blocks multiply more
zeros, narrower ones need more calls."""


@functools.lru_cache(maxsize=64)
def _band(size_in: int, size_out: int) -> list[tuple[int, int, Floats]]:
    """Return the weights of a triangle filter as dense blocks: (first output row, first input row, [rows out, rows in])."""
    one, half = np.float32(1), np.float32(0.5)
    scale = np.float32(size_in) / np.float32(size_out)
    support = max(scale, one)
    center = scale * (np.arange(size_out, dtype=np.float32) + half)
    first = np.maximum((center - support + half).astype(np.int64), 0)
    last = np.minimum((center + support + half).astype(np.int64), size_in)
    block = max(4, int((WIDEST - 2 * support) / scale))
    blocks = []
    for start in range(0, size_out, block):
        stop = min(start + block, size_out)
        column = np.arange(first[start], last[stop - 1])
        offset = (column[None, :] - center[start:stop, None] + half).astype(np.float32)
        weights = np.clip(one - np.abs(offset * (one / support)), 0, None).astype(np.float32)
        inside = (column >= first[start:stop, None]) & (column < last[start:stop, None])
        weights *= inside
        weights /= weights.sum(1, keepdims=True)
        blocks.append((start, int(column[0]), weights))
    return blocks


@functools.lru_cache(maxsize=64)
def _band_of_channels(size_in: int, size_out: int, gain: Gain) -> list[tuple[int, int, Floats]]:
    """Return `_band` for three interleaved channels: (first output column, first input column, [columns in, columns out]).

    A block with zeros between the channels is still faster than rearranging the image.
    """
    three = np.diag(np.array(gain, np.float32))
    return [
        (3 * start, 3 * first, np.kron(weights.T, three))
        for start, first, weights in _band(size_in, size_out)
    ]


def letterbox(
    image: Pixels,
    canvas_width: int,
    canvas_height: int,
    gain: Gain = UNIT,
) -> tuple[Floats, Placement]:
    """Scale an image to fit a canvas, centre it, and pad with black.

    Args:
        image: (H, W, 3) RGB, values 0-255.
        gain: As in `resize`.

    Returns:
        The canvas, (canvas_height, canvas_width, 3) float32, and the placement of the image on it.
    """
    height, width = image.shape[:2]
    where = place(width, height, canvas_width, canvas_height)
    scaled = resize(image, where.width, where.height, gain)
    if scaled.shape[:2] == (canvas_height, canvas_width):
        return scaled, where
    canvas = np.zeros((canvas_height, canvas_width, 3), np.float32)
    canvas[where.top : where.top + where.height, where.left : where.left + where.width] = scaled
    return canvas, where
