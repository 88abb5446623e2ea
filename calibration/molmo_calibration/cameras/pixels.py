"""Normalized coordinates, pixels and pixel centres: the one place where half a pixel is added.

Three spaces, all with x to the right and y down, all of one image of size (width, height):

    norm   0..1 over the image; what a pointing answer holds
    px     continuous pixels, pixel (i, j) covers [i, i+1) x [j, j+1):   px = norm * size
    uv     OpenCV's and ROS's pixels, whose centres are whole numbers:   uv = px - 0.5

Cameras, depth images and triangulation take `uv`. Image maps (crop, resize, ...) work in `px`,
where a resize is a plain multiplication.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from molmo_calibration.arrays import ArrayLike, FloatArray, as_covariance, as_points, as_size

_HALF = 0.5


def uv_from_px(px: ArrayLike) -> FloatArray:
    """Continuous pixels (..., 2) to pixel-centre coordinates; the inverse of `px_from_uv`."""
    return np.asarray(as_points(px, "px", 2) - _HALF)


def px_from_uv(uv: ArrayLike) -> FloatArray:
    """Pixel-centre coordinates (..., 2) to continuous pixels; the inverse of `uv_from_px`."""
    return np.asarray(as_points(uv, "uv", 2) + _HALF)


def px_from_norm(norm: ArrayLike, size: Any) -> FloatArray:
    """Normalized (..., 2) to continuous pixels of an image of `size` (width, height)."""
    return np.asarray(as_points(norm, "norm", 2) * np.array(as_size(size, "size"), float))


def norm_from_px(px: ArrayLike, size: Any) -> FloatArray:
    """Continuous pixels (..., 2) to normalized; the inverse of `px_from_norm`."""
    return np.asarray(as_points(px, "px", 2) / np.array(as_size(size, "size"), float))


def uv_from_norm(norm: ArrayLike, size: Any) -> FloatArray:
    """Normalized (..., 2) to the uv that cameras take; the inverse of `norm_from_uv`."""
    return uv_from_px(px_from_norm(norm, size))


def norm_from_uv(uv: ArrayLike, size: Any) -> FloatArray:
    """Pixel-centre coordinates (..., 2) to normalized; the inverse of `uv_from_norm`."""
    return norm_from_px(px_from_uv(uv), size)


def uv_covariance_from_norm(covariance: ArrayLike, size: Any) -> FloatArray:
    """The covariance of a pointing answer, in pixels.

    Args:
        covariance: (3,) as (xx, xy, yy), or (2, 2), in normalized units squared.
        size: (width, height) in pixels.

    Returns:
        (2, 2) in pixels squared, for uv and px alike.

    Raises:
        InvalidArgumentError: not a covariance.
    """
    array = np.asarray(covariance, dtype=np.float64)
    if array.shape == (3,):
        array = np.array([[array[0], array[1]], [array[1], array[2]]])
    scale = np.diag(np.array(as_size(size, "size"), float))
    return np.asarray(scale @ as_covariance(array, "covariance", 2) @ scale)


def scale_uv(uv: FloatArray, factor: FloatArray) -> FloatArray:
    """Pixels (..., 2) of an image at another resolution, `factor` times as large; not checked."""
    return np.asarray((uv + _HALF) * factor - _HALF)


def same_shape(one: ArrayLike, other: ArrayLike) -> bool:
    """Whether two sizes (width, height) can show one view at two resolutions.

    Scaling rounds each side to a whole pixel, which moves the product of one size's width and the
    other's height by half of their largest side, twice.
    """
    a, b = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    return bool(abs(a[0] * b[1] - a[1] * b[0]) <= max(a.max(), b.max()))


def matrix_uv_from_px(matrix: FloatArray) -> FloatArray:
    """A (3, 3) image map between px, expressed between uv; the inverse of `matrix_px_from_uv`."""
    return np.asarray(_shift(-_HALF) @ matrix @ _shift(_HALF))


def matrix_px_from_uv(matrix: FloatArray) -> FloatArray:
    """A (3, 3) image map between uv, expressed between px; the inverse of `matrix_uv_from_px`."""
    return np.asarray(_shift(_HALF) @ matrix @ _shift(-_HALF))


def _shift(amount: float) -> FloatArray:
    return np.array([[1.0, 0.0, amount], [0.0, 1.0, amount], [0.0, 0.0, 1.0]])
