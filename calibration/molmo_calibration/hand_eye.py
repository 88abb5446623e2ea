"""Where the camera sits on the robot: hand-eye calibration, on the gripper or beside the robot.

Two setups, named by where the camera is:

    eye_in_hand   camera on the gripper, board fixed in the base; finds gripper_from_camera
    eye_to_hand   camera fixed in the base, board on the gripper; finds base_from_camera

Both solve A X B = Z for all poses, with B = camera_from_board, X the answer and Z where the board
is fixed. A is base_from_gripper for eye_in_hand and its inverse for eye_to_hand. Start: Park and
Martin's closed form (IEEE Trans. Robotics 1994); then X and Z together by least squares. OpenCV
5.0.0 has no hand-eye solver, so this is ours; `opencv_answer` compares where OpenCV has one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from molmo_calibration.arrays import FloatArray, symmetric
from molmo_calibration.errors import (
    DegenerateError,
    InvalidArgumentError,
    MissingExtraError,
    TooFewViewsError,
)
from molmo_calibration.rotations import matrix_from_rotation_vector, rotation_vector_from_matrix
from molmo_calibration.transforms import Transform

__all__ = ["HandEyeResult", "HandEyeSample", "calibrate_hand_eye", "opencv_answer"]

SETUPS = ("eye_in_hand", "eye_to_hand")
MIN_POSES = 5

# One metre of lever arm: how residuals in radians are weighed against metres in the refinement.
# Arms err by about 2 mrad and 1 mm, and boards are seen from half a metre to a metre.
_LEVER_M = 0.5

# Errors beyond this count linearly, so that one wrong pose does not carry the answer away.
_NOISE_M = 0.01

# Without one pose the answer is next to the answer with it: few rounds get there.
_JACKKNIFE_ROUNDS = 4

# Below this angle between turning axes, the translation along the common axis is anybody's guess.
_LEAST_DIVERSITY_RAD = np.deg2rad(8.0)

_OUTLIER_SIGMAS = 5.0


@dataclass(frozen=True, eq=False)
class HandEyeSample:
    """One pose of the arm and what the camera saw.

    Args:
        base_from_gripper: from the robot's kinematics.
        camera_from_board: from the picture, see `pose.board_pose`.
    """

    base_from_gripper: Transform
    camera_from_board: Transform


@dataclass(frozen=True, eq=False)
class HandEyeResult:
    """A hand-eye calibration and how good it is.

    Args:
        setup: `eye_in_hand` or `eye_to_hand`.
        transform: gripper_from_camera, or base_from_camera; its covariance is that of leaving
            one pose out (jackknife).
        fixed_from_board: where the board is: base_from_board, or gripper_from_board.
        residuals_m: (n,) distance of the board in each pose from where it is, metres.
        residuals_rad: (n,) the same for its orientation.
        spread_m: one sigma of the answer's translation (length), from the jackknife.
        spread_rad: one sigma of its rotation.
        board_scatter_m: rms of `residuals_m`: the scatter of the board in the fixed frame.
        diversity_rad: largest turn of the arm about a second axis.
        outliers: indices of poses that do not fit the others.
    """

    setup: str
    transform: Transform
    fixed_from_board: Transform
    residuals_m: FloatArray
    residuals_rad: FloatArray
    spread_m: float
    spread_rad: float
    board_scatter_m: float
    diversity_rad: float
    outliers: tuple[int, ...]

    @property
    def sentence(self) -> str:
        """Which frame maps to which, in words."""
        target = "gripper" if self.setup == "eye_in_hand" else "base"
        return (
            f"{target}_from_camera maps coordinates in the camera's optical frame to the "
            f"{target} frame: p_{target} = {target}_from_camera @ p_camera. As a ROS transform "
            f"its parent is the {target} and its child is the camera's optical frame."
        )


def calibrate_hand_eye(
    samples: Sequence[HandEyeSample], setup: str = "eye_in_hand"
) -> HandEyeResult:
    """Find where the camera is.

    Args:
        samples: at least 5, better 15, with the gripper turned about different axes.
        setup: `eye_in_hand` or `eye_to_hand`.

    Raises:
        InvalidArgumentError: another setup.
        TooFewViewsError: fewer than 5 samples.
        DegenerateError: all poses alike, or turned about one axis only.
    """
    if setup not in SETUPS:
        raise InvalidArgumentError(f"setup must be eye_in_hand or eye_to_hand, got {setup!r}")
    if len(samples) < MIN_POSES:
        raise TooFewViewsError(
            f"hand-eye calibration needs at least {MIN_POSES} poses, better 15, got {len(samples)}"
        )
    arms, boards = _matrices(samples, setup)
    diversity = _diversity(arms)
    if diversity < _LEAST_DIVERSITY_RAD:
        raise DegenerateError(
            "the arm has turned about one axis only (or not at all): the largest turn about a "
            f"second axis is {np.rad2deg(diversity):.1f} degrees, at least "
            f"{np.rad2deg(_LEAST_DIVERSITY_RAD):.0f} are needed, 30 are good"
        )
    x, z = _refine(arms, boards, _closed_form(arms, boards))
    metres, radians = _residuals(arms, boards, x, z)
    covariance = _jackknife(arms, boards, x, z)
    target = "gripper" if setup == "eye_in_hand" else "base"
    fixed = "base" if setup == "eye_in_hand" else "gripper"
    return HandEyeResult(
        setup=setup,
        transform=Transform(x, target, "camera", covariance),
        fixed_from_board=Transform(z, fixed, "board"),
        residuals_m=metres,
        residuals_rad=radians,
        spread_m=float(np.sqrt(np.trace(covariance[:3, :3]))),
        spread_rad=float(np.sqrt(np.trace(covariance[3:, 3:]))),
        board_scatter_m=float(np.sqrt(np.mean(metres**2))),
        diversity_rad=diversity,
        outliers=_outliers(metres, radians),
    )


def opencv_answer(
    samples: Sequence[HandEyeSample], setup: str = "eye_in_hand"
) -> Transform | None:
    """OpenCV's answer by Park's method, to compare; None if this OpenCV has no solver (5.0.0)."""
    try:
        import cv2
    except ImportError:
        return None
    if not hasattr(cv2, "calibrateHandEye"):
        return None
    arms, boards = _matrices(samples, setup)
    # By keyword: by position the method lands in an output argument (opencv#27625).
    turn, shift = cv2.calibrateHandEye(
        list(arms[:, :3, :3]),
        list(arms[:, :3, 3]),
        list(boards[:, :3, :3]),
        list(boards[:, :3, 3]),
        method=cv2.CALIB_HAND_EYE_PARK,
    )
    target = "gripper" if setup == "eye_in_hand" else "base"
    return Transform.from_parts(turn, np.ravel(shift), target, "camera")


def _matrices(samples: Sequence[HandEyeSample], setup: str) -> tuple[FloatArray, FloatArray]:
    inverted = setup == "eye_to_hand"
    arms = [
        (s.base_from_gripper.inverse() if inverted else s.base_from_gripper).matrix
        for s in samples
    ]
    return np.array(arms), np.array([s.camera_from_board.matrix for s in samples])


def _relative(arms: FloatArray, boards: FloatArray) -> tuple[FloatArray, FloatArray]:
    """All pairs: C = A_j^-1 A_i and D = B_j B_i^-1, for which C X = X D."""
    i, j = np.triu_indices(len(arms), 1)
    return np.linalg.inv(arms[j]) @ arms[i], boards[j] @ np.linalg.inv(boards[i])


def _diversity(arms: FloatArray) -> float:
    """The largest turn that is not about the main turning axis, in radians."""
    i, j = np.triu_indices(len(arms), 1)
    turns = np.array(
        [
            rotation_vector_from_matrix(arms[b, :3, :3].T @ arms[a, :3, :3])
            for a, b in zip(i, j, strict=True)
        ]
    )
    _, axes = np.linalg.eigh(turns.T @ turns)
    across = turns - np.outer(turns @ axes[:, 2], axes[:, 2])
    return float(np.linalg.norm(across, axis=1).max())


def _closed_form(arms: FloatArray, boards: FloatArray) -> FloatArray:
    """Park and Martin: rotation from pairs of rotation vectors, then a linear translation."""
    left, right = _relative(arms, boards)
    alphas = np.array([rotation_vector_from_matrix(m[:3, :3]) for m in left])
    betas = np.array([rotation_vector_from_matrix(m[:3, :3]) for m in right])
    # Rotation vectors jump near half a turn; such pairs say little and are left out.
    usable = np.linalg.norm(alphas, axis=1) < np.deg2rad(170)
    u, _, vt = np.linalg.svd(alphas[usable].T @ betas[usable])
    rotation = u @ np.diag([1.0, 1.0, float(np.sign(np.linalg.det(u @ vt)))]) @ vt
    design = (left[:, :3, :3] - np.eye(3)).reshape(-1, 3)
    target = (
        np.einsum("ij,njk->nik", rotation, right[:, :3, 3:])[..., 0] - left[:, :3, 3]
    ).ravel()
    x = np.eye(4)
    x[:3, :3] = rotation
    x[:3, 3] = np.linalg.lstsq(design, target, rcond=None)[0]
    return x


def _refine(
    arms: FloatArray, boards: FloatArray, start: FloatArray, rounds: int | None = None
) -> tuple[FloatArray, FloatArray]:
    """X and Z together, minimizing how far the board is from where it is, in all poses."""
    try:
        from scipy.optimize import least_squares
    except ImportError as error:
        raise MissingExtraError("SciPy", "hand-eye calibration") from error
    where = arms @ start @ boards
    z = np.array(where[0])
    z[:3, 3] = np.median(where[:, :3, 3], axis=0)

    def errors(step: FloatArray) -> FloatArray:
        new_x, new_z = _moved(start, step[:6]), _moved(z, step[6:])
        return _board_errors(arms, boards, new_x, new_z).ravel()

    solved: Any = least_squares(
        errors, np.zeros(12), method="trf", loss="soft_l1", f_scale=_NOISE_M, max_nfev=rounds
    )
    return _moved(start, solved.x[:6]), _moved(z, solved.x[6:])


def _moved(matrix: FloatArray, step: FloatArray) -> FloatArray:
    """A pose with a small shift and turn about its own origin, in the outer frame."""
    result = np.array(matrix)
    result[:3, :3] = matrix_from_rotation_vector(step[3:]) @ matrix[:3, :3]
    result[:3, 3] += step[:3]
    return result


def _board_errors(
    arms: FloatArray, boards: FloatArray, x: FloatArray, z: FloatArray
) -> FloatArray:
    """(n, 6) where each pose puts the board, less where it is: metres, and radians times a lever.

    The skew part of Rz' R stands for the rotation vector: equal to it for small angles, and
    without branches.
    """
    where = arms @ x @ boards
    shift = (where[:, :3, 3] - z[:3, 3]) @ z[:3, :3]
    between = np.swapaxes(z[None, :3, :3], 1, 2) @ where[:, :3, :3]
    skew = between - np.swapaxes(between, 1, 2)
    turn = np.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], axis=-1) / 2
    return np.concatenate([shift, _LEVER_M * turn], axis=1)


def _residuals(
    arms: FloatArray, boards: FloatArray, x: FloatArray, z: FloatArray
) -> tuple[FloatArray, FloatArray]:
    errors = _board_errors(arms, boards, x, z)
    metres = np.linalg.norm(errors[:, :3], axis=1)
    return metres, np.arcsin(np.clip(np.linalg.norm(errors[:, 3:], axis=1) / _LEVER_M, 0, 1))


def _jackknife(arms: FloatArray, boards: FloatArray, x: FloatArray, z: FloatArray) -> FloatArray:
    """Covariance (6, 6) of the answer from leaving out one pose at a time (Quenouille, Tukey)."""
    count = len(arms)
    changes = np.empty((count, 6))
    for index in range(count):
        kept = np.arange(count) != index
        other, _ = _refine(arms[kept], boards[kept], x, _JACKKNIFE_ROUNDS)
        changes[index, :3] = other[:3, 3] - x[:3, 3]
        changes[index, 3:] = rotation_vector_from_matrix(other[:3, :3] @ x[:3, :3].T)
    changes -= changes.mean(axis=0)
    return symmetric((count - 1) / count * changes.T @ changes)


def _outliers(metres: FloatArray, radians: FloatArray) -> tuple[int, ...]:
    size = np.hypot(metres, _LEVER_M * radians)
    typical = float(np.median(size))
    return tuple(int(i) for i in np.flatnonzero(size > _OUTLIER_SIGMAS * max(typical, 1e-9)))
