"""Convert arguments to float64 arrays and check them, once, where they enter the package.

Parameters (matrices, covariances, planes) have to be finite. Points may hold NaN, which means "do
not know" everywhere in this package and comes out as NaN; an infinite point is an error: it comes from a
division by zero.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from molmo_calibration.errors import InvalidArgumentError

FloatArray: TypeAlias = "npt.NDArray[np.floating[Any]]"
BoolArray = npt.NDArray[np.bool_]
ArrayLike: TypeAlias = "npt.ArrayLike | FloatArray"

_SYMMETRY_TOLERANCE = 1e-6


def _to_float(value: ArrayLike, name: str) -> FloatArray:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(
            f"{name} must be numbers, got {_short(value)}; pass a list or array of floats"
        ) from error


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def frozen(array: FloatArray) -> FloatArray:
    """A private, read-only float64 copy, so that a frozen dataclass cannot change."""
    copy = np.array(array, dtype=np.float64)
    copy.setflags(write=False)
    return copy


def as_finite(value: ArrayLike, name: str, shape: tuple[int, ...]) -> FloatArray:
    """Check a parameter of fixed shape.

    Args:
        value: numbers.
        name: how the caller calls it, for the message.
        shape: expected shape; -1 stands for any length.

    Returns:
        float64 array of that shape, every entry finite.

    Raises:
        InvalidArgumentError: wrong shape, or NaN or infinity inside.
    """
    array = _to_float(value, name)
    fits = len(array.shape) == len(shape) and all(
        want in (-1, have) for want, have in zip(shape, array.shape, strict=True)
    )
    if not fits:
        wanted = "(" + ", ".join("n" if s == -1 else str(s) for s in shape) + ")"
        raise InvalidArgumentError(f"{name} must have shape {wanted}, got {array.shape}")
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InvalidArgumentError(
            f"{name} must be finite, got {array[where]} at index {where}; "
            "leave the argument out if the value is not known"
        )
    return array


def as_points(value: ArrayLike, name: str, dimension: int) -> FloatArray:
    """Check points of shape (..., dimension); NaN passes through, infinity does not.

    Raises:
        InvalidArgumentError: last axis of another length, or an infinite coordinate.
    """
    array = _to_float(value, name)
    if array.ndim == 0 or array.shape[-1] != dimension:
        raise InvalidArgumentError(f"{name} must have shape (..., {dimension}), got {array.shape}")
    # One sum is cheaper than a look at every element, and it is finite for nearly every caller.
    if not np.isfinite(array.sum()) and np.isinf(array).any():
        raise InvalidArgumentError(
            f"{name} holds an infinite coordinate; use NaN for a point that is not known"
        )
    return array


def as_positive(value: float, name: str, unit: str = "") -> float:
    """Check one finite number above zero.

    Raises:
        InvalidArgumentError: zero, negative, NaN or infinite.
    """
    array = _to_float(value, name)
    if array.shape != () or not np.isfinite(array) or array <= 0:
        raise InvalidArgumentError(
            f"{name} must be one finite number above 0{' ' + unit if unit else ''}, "
            f"got {_short(value)}"
        )
    return float(array)


def as_size(value: Any, name: str) -> tuple[int, int]:
    """Check an image size (width, height) in whole pixels, both at least 1.

    Raises:
        InvalidArgumentError: anything else.
    """
    array = _to_float(value, name)
    if array.shape != (2,) or not np.isfinite(array).all() or (array < 1).any():
        raise InvalidArgumentError(f"{name} must be (width, height) >= 1, got {_short(value)}")
    if (array != np.round(array)).any():
        raise InvalidArgumentError(f"{name} must be whole pixels, got {_short(value)}")
    return int(array[0]), int(array[1])


def symmetric(matrix: FloatArray) -> FloatArray:
    """The symmetric half of (..., n, n): J S J' is symmetric only up to rounding."""
    return np.asarray((matrix + np.swapaxes(matrix, -1, -2)) / 2.0)


def is_invertible(matrix: FloatArray) -> bool:
    """Whether a square matrix is finite and of full rank; the entries may be uninitialised memory."""
    return bool(np.isfinite(matrix).all() and np.linalg.matrix_rank(matrix) == len(matrix))


def as_covariance(value: ArrayLike, name: str, size: int) -> FloatArray:
    """Check a covariance matrix (size, size): symmetric, no negative variance in any direction.

    Raises:
        InvalidArgumentError: wrong shape, not finite, not symmetric or not positive semi-definite.
    """
    array = as_finite(value, name, (size, size))
    scale = float(np.abs(array).max())
    if not np.allclose(array, array.T, rtol=0.0, atol=_SYMMETRY_TOLERANCE * max(scale, 1e-300)):
        raise InvalidArgumentError(f"{name} must be symmetric; got {_short(array.tolist())}")
    smallest = float(np.linalg.eigvalsh(symmetric(array))[0])
    if smallest < -_SYMMETRY_TOLERANCE * scale:
        raise InvalidArgumentError(
            f"{name} must be positive semi-definite, but its smallest eigenvalue is "
            f"{smallest:.3g}; variances go on the diagonal, and |xy| <= sqrt(xx * yy)"
        )
    return symmetric(array)
