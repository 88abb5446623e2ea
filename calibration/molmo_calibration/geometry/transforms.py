"""Rigid transforms `a_from_b`: p_a = a_from_b @ p_b, with their frames and their uncertainty.

Read a product from the right and the frames cancel: base_from_camera = base_from_gripper @
gripper_from_camera. Metres and radians.

Uncertainty is a (6, 6) covariance in ROS's order (x, y, z, rotation about x, y, z), of errors
written in frame a and about its fixed axes: p_a = exp(rotation error) R p_b + t + shift error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molmo_calibration.arrays import (
    ArrayLike,
    FloatArray,
    as_covariance,
    as_finite,
    as_points,
    frozen,
    symmetric,
)
from molmo_calibration.errors import FrameError, InvalidArgumentError
from molmo_calibration.geometry.rotations import (
    check_rotation,
    cross_matrix,
    matrix_from_quaternion,
    quaternion_from_matrix,
    rotation_vector_from_matrix,
)


@dataclass(frozen=True, eq=False)
class Transform:
    """A rigid motion between two frames.

    Args:
        matrix: (4, 4) a_from_b.
        to_frame: name of a, or "" if it has none.
        from_frame: name of b, or "" if it has none.
        covariance: (6, 6), see the module; None if it is not known, which counts as exact where
            something has to be computed.

    Raises:
        InvalidArgumentError: not a rigid motion, or not a covariance.
    """

    matrix: FloatArray
    to_frame: str = ""
    from_frame: str = ""
    covariance: FloatArray | None = None

    def __post_init__(self) -> None:
        matrix = np.array(as_finite(self.matrix, "matrix", (4, 4)))
        if np.abs(matrix[3] - [0, 0, 0, 1]).max() > 1e-9:
            raise InvalidArgumentError(
                f"the last row of a transform must be 0 0 0 1, got {matrix[3].tolist()}"
            )
        matrix[:3, :3] = check_rotation(matrix[:3, :3], "rotation of the transform")
        object.__setattr__(self, "matrix", frozen(matrix))
        if self.covariance is not None:
            checked = as_covariance(self.covariance, "transform covariance", 6)
            object.__setattr__(self, "covariance", frozen(checked))

    @classmethod
    def from_parts(
        cls,
        rotation: ArrayLike,
        translation: ArrayLike,
        to_frame: str = "",
        from_frame: str = "",
        covariance: FloatArray | None = None,
    ) -> Transform:
        """From a rotation matrix (3, 3) and a translation (3,) in metres."""
        matrix = np.eye(4)
        matrix[:3, :3] = check_rotation(rotation, "rotation")
        matrix[:3, 3] = as_finite(translation, "translation", (3,))
        return cls(matrix, to_frame, from_frame, covariance)

    @classmethod
    def from_quaternion(
        cls,
        quaternion: ArrayLike,
        translation: ArrayLike,
        to_frame: str = "",
        from_frame: str = "",
        covariance: FloatArray | None = None,
    ) -> Transform:
        """From a quaternion in the order (x, y, z, w) and a translation (3,) in metres."""
        rotation = matrix_from_quaternion(quaternion)
        return cls.from_parts(rotation, translation, to_frame, from_frame, covariance)

    @classmethod
    def identity(cls, to_frame: str = "", from_frame: str = "") -> Transform:
        """The transform that moves nothing."""
        return cls(np.eye(4), to_frame, from_frame)

    @property
    def rotation(self) -> FloatArray:
        """(3, 3) rotation part."""
        return np.asarray(self.matrix[:3, :3])

    @property
    def translation(self) -> FloatArray:
        """(3,) metres: where the origin of b is in a."""
        return np.asarray(self.matrix[:3, 3])

    @property
    def quaternion(self) -> FloatArray:
        """(4,) in the order (x, y, z, w), w >= 0."""
        return quaternion_from_matrix(self.rotation)

    def apply(self, points: ArrayLike) -> FloatArray:
        """Points (..., 3) of frame b, in frame a; NaN stays NaN."""
        array = as_points(points, "points", 3)
        return np.asarray(array @ self.rotation.T + self.translation)

    def rotate_vectors(self, vectors: ArrayLike) -> FloatArray:
        """Directions (..., 3) of frame b, in frame a."""
        return np.asarray(as_points(vectors, "vectors", 3) @ self.rotation.T)

    def apply_covariance(self, points: ArrayLike, covariance: ArrayLike) -> FloatArray:
        """Covariance of transformed points, the transform's own uncertainty included.

        Args:
            points: (..., 3) metres in frame b.
            covariance: (..., 3, 3) of these points in frame b, metres².

        Returns:
            (..., 3, 3) in frame a; NaN stays NaN.
        """
        inner = np.asarray(covariance, dtype=np.float64)
        moved = self.rotation @ inner @ self.rotation.T
        if self.covariance is not None:
            jacobian = self.point_jacobian(points)
            moved = moved + jacobian @ self.covariance @ np.swapaxes(jacobian, -1, -2)
        return symmetric(np.asarray(moved))

    def point_jacobian(self, points: ArrayLike) -> FloatArray:
        """d(p_a) / d(shift, rotation error), (..., 3, 6) for points (..., 3) of frame b."""
        turned = self.rotate_vectors(points)
        shift = np.broadcast_to(np.eye(3), (*turned.shape[:-1], 3, 3))
        return np.concatenate([shift, -cross_matrix(turned)], axis=-1)

    def inverse(self) -> Transform:
        """b_from_a, with the uncertainty carried over."""
        rotation = self.rotation.T
        matrix = np.eye(4)
        matrix[:3, :3] = rotation
        matrix[:3, 3] = -rotation @ self.translation
        covariance = None
        if self.covariance is not None:
            # p_b = R'(exp(-w)(p_a - t - s)): the error seen in b's axes, about b's origin.
            jacobian = np.zeros((6, 6))
            jacobian[:3, :3] = -rotation
            jacobian[:3, 3:] = -rotation @ cross_matrix(self.translation)
            jacobian[3:, 3:] = -rotation
            covariance = symmetric(jacobian @ self.covariance @ jacobian.T)
        return Transform(matrix, self.from_frame, self.to_frame, covariance)

    def __matmul__(self, other: Transform) -> Transform:
        """a_from_c = a_from_b @ b_from_c; uncertainties add as if independent.

        Raises:
            FrameError: both inner frames have names, and the names differ.
        """
        if not isinstance(other, Transform):
            return NotImplemented
        if self.from_frame and other.to_frame and self.from_frame != other.to_frame:
            raise FrameError(
                f"cannot chain {self!r} with {other!r}: the inner frames must be the same, "
                f"got {self.from_frame!r} and {other.to_frame!r}; is one of them inverted?"
            )
        covariance = None
        if self.covariance is not None or other.covariance is not None:
            covariance = self._chained_covariance(other)
        matrix = self.matrix @ other.matrix
        return Transform(matrix, self.to_frame, other.from_frame, covariance)

    def _chained_covariance(self, other: Transform) -> FloatArray:
        total = np.zeros((6, 6))
        if self.covariance is not None:
            # A rotation error about a's axes swings the inner translation around.
            swing = np.eye(6)
            swing[:3, 3:] = -cross_matrix(self.rotate_vectors(other.translation))
            total += swing @ self.covariance @ swing.T
        if other.covariance is not None:
            turn = np.kron(np.eye(2), self.rotation)
            total += turn @ other.covariance @ turn.T
        return symmetric(total)

    def difference(self, other: Transform) -> tuple[float, float]:
        """How far two transforms are apart: (metres, radians), both >= 0."""
        metres = float(np.linalg.norm(self.translation - other.translation))
        turn = rotation_vector_from_matrix(self.rotation.T @ other.rotation)
        return metres, float(np.linalg.norm(turn))

    def __repr__(self) -> str:
        """The frames, the translation and the quaternion on one line."""
        x, y, z = self.translation
        quaternion = ", ".join(f"{q:.5f}" for q in self.quaternion)
        return (
            f"<{self.to_frame or '?'}_from_{self.from_frame or '?'}: "
            f"({x:.5f}, {y:.5f}, {z:.5f}) m, xyzw ({quaternion})>"
        )


def link_from_optical(link_frame: str = "", optical_frame: str = "") -> Transform:
    """REP 103's turn from an optical frame (z forward) to a link frame (x forward, z up).

    The quaternion (x, y, z, w) is (-0.5, 0.5, -0.5, 0.5).
    """
    return Transform.from_quaternion(
        [-0.5, 0.5, -0.5, 0.5], [0.0, 0.0, 0.0], link_frame, optical_frame
    )
