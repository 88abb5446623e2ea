"""Rotations in numpy: quaternions, rotation vectors and their exponential.

Quaternions are (x, y, z, w), ROS's and SciPy's order; nothing here takes (w, x, y, z). Rotation
matrices turn columns: p_a = a_from_b @ p_b. Rotation vectors are axis times angle in radians.
"""

from __future__ import annotations

import numpy as np

from molmo_calibration.arrays import ArrayLike, FloatArray, as_finite
from molmo_calibration.errors import InvalidArgumentError

_ORTHONORMAL_TOLERANCE = 1e-5
_SMALL = 1e-8


def check_rotation(value: ArrayLike, name: str) -> FloatArray:
    """A proper rotation matrix, cleaned of rounding.

    Args:
        value: (3, 3), orthonormal to 1e-5, as files with six digits have it.
        name: for the message.

    Returns:
        (3, 3) float64, the nearest exact rotation.

    Raises:
        InvalidArgumentError: not orthonormal, or a mirror (determinant -1).
    """
    matrix = as_finite(value, name, (3, 3))
    error = float(np.abs(matrix @ matrix.T - np.eye(3)).max())
    if error > _ORTHONORMAL_TOLERANCE:
        raise InvalidArgumentError(
            f"{name} must be a rotation matrix, but {name} times its transpose differs from the "
            f"identity by {error:.3g}; is it transposed into a larger matrix, or scaled?"
        )
    if np.linalg.det(matrix) < 0:
        raise InvalidArgumentError(
            f"{name} must be a rotation, but its determinant is -1: a mirror image; "
            "check for a flipped axis, a mirrored image or a pose that was not inverted"
        )
    if error < 1e-12:
        return matrix
    left, _, right = np.linalg.svd(matrix)
    return np.asarray(left @ right)


def cross_matrix(vectors: FloatArray) -> FloatArray:
    """[v]x of (..., 3), with [v]x @ w = v x w, (..., 3, 3)."""
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    zero = np.zeros_like(x)
    rows = [[zero, -z, y], [z, zero, -x], [-y, x, zero]]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def matrix_from_rotation_vector(vector: ArrayLike) -> FloatArray:
    """Rodrigues' formula, (3,) radians to (3, 3); inverse of `rotation_vector_from_matrix`."""
    v = as_finite(vector, "rotation vector", (3,))
    angle = float(np.linalg.norm(v))
    k = cross_matrix(v)
    if angle < _SMALL:
        return np.asarray(np.eye(3) + k + 0.5 * k @ k)
    first, second = np.sin(angle) / angle, (1.0 - np.cos(angle)) / angle**2
    return np.asarray(np.eye(3) + first * k + second * k @ k)


def rotation_vector_from_matrix(matrix: ArrayLike) -> FloatArray:
    """Rotation vector (3,) of at most pi radians; inverse of `matrix_from_rotation_vector`."""
    x, y, z, w = quaternion_from_matrix(matrix)
    vector = np.array([x, y, z])
    sine = float(np.linalg.norm(vector))
    if sine < _SMALL:
        return np.asarray(2.0 * vector / w)
    return np.asarray(2.0 * np.arctan2(sine, w) / sine * vector)


def rotation_vectors(matrices: FloatArray) -> FloatArray:
    """Rotation vectors (n, 3) of (n, 3, 3) at once; near half a turn they lose digits."""
    skew = matrices - np.swapaxes(matrices, 1, 2)
    doubled = np.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], axis=-1)
    sine = np.linalg.norm(doubled, axis=1) / 2
    cosine = (np.trace(matrices, axis1=1, axis2=2) - 1) / 2
    angle = np.arctan2(sine, cosine)
    scale = np.where(sine > _SMALL, angle / np.maximum(sine, _SMALL), 1.0)
    return np.asarray(doubled / 2 * scale[:, None])


def matrix_from_quaternion(quaternion: ArrayLike) -> FloatArray:
    """Quaternion (x, y, z, w) to (3, 3); inverse of `quaternion_from_matrix`.

    Raises:
        InvalidArgumentError: length further from 1 than 1e-3; an all-zero quaternion is what an
            unset ROS message holds.
    """
    q = as_finite(quaternion, "quaternion (x, y, z, w)", (4,))
    length = float(np.linalg.norm(q))
    if abs(length - 1.0) > 1e-3:
        raise InvalidArgumentError(
            f"quaternion (x, y, z, w) must have length 1, got {q.tolist()} of length {length:.4g}"
        )
    x, y, z, w = q / length
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def quaternion_from_matrix(matrix: ArrayLike) -> FloatArray:
    """(3, 3) rotation to quaternion (x, y, z, w) with w >= 0.

    Uses the largest of the four components as pivot (Shepperd 1978), so no angle is special.
    """
    m = check_rotation(matrix, "rotation matrix")
    squares = np.array(
        [
            1 + m[0, 0] - m[1, 1] - m[2, 2],
            1 - m[0, 0] + m[1, 1] - m[2, 2],
            1 - m[0, 0] - m[1, 1] + m[2, 2],
            1 + m[0, 0] + m[1, 1] + m[2, 2],
        ]
    )
    pairs = np.array(
        [
            [squares[0], m[1, 0] + m[0, 1], m[0, 2] + m[2, 0], m[2, 1] - m[1, 2]],
            [m[1, 0] + m[0, 1], squares[1], m[2, 1] + m[1, 2], m[0, 2] - m[2, 0]],
            [m[0, 2] + m[2, 0], m[2, 1] + m[1, 2], squares[2], m[1, 0] - m[0, 1]],
            [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], squares[3]],
        ]
    )
    q = pairs[int(np.argmax(squares))]
    q = q / np.linalg.norm(q)
    return np.asarray(-q if q[3] < 0 else q)


def slerp(start: FloatArray, end: FloatArray, fraction: float) -> FloatArray:
    """Rotation (3, 3) a `fraction` of the shorter way from `start` to `end`."""
    between = rotation_vector_from_matrix(start.T @ end)
    return np.asarray(start @ matrix_from_rotation_vector(fraction * between))
