"""Where the camera sits on the robot: hand-eye calibration, on the gripper or beside the robot.

Two setups, named by where the camera is:

    eye_in_hand   camera on the gripper, board fixed in the base; finds gripper_from_camera
    eye_to_hand   camera fixed in the base, board on the gripper; finds base_from_camera

Both solve A X B = Z for all poses, with B = camera_from_board, X the answer and Z where the board
is fixed. A is base_from_gripper for eye_in_hand and its inverse for eye_to_hand. Start: Park and
Martin's closed form (IEEE Trans. Robotics 1994); then X and Z together by least squares, weighted
by the noise that the poses show (`hand_eye_fit`). OpenCV 5.0.0 has no hand-eye solver, so this is
ours; `opencv_answer` compares where OpenCV has one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from molmo_calibration.arrays import FloatArray
from molmo_calibration.calibrate.doubt import Doubt
from molmo_calibration.calibrate.hand_eye_doubts import doubts
from molmo_calibration.calibrate.hand_eye_fit import OUTLIER_LIMIT, Chain, fit_chain
from molmo_calibration.errors import DegenerateError, InvalidArgumentError, TooFewViewsError
from molmo_calibration.geometry.rotations import rotation_vectors
from molmo_calibration.geometry.transforms import Transform

SETUPS = ("eye_in_hand", "eye_to_hand")
MIN_POSES = 5

# Below this angle between rotation axes, the poses do not determine the translation along the common axis.
_LEAST_DIVERSITY_RAD = np.deg2rad(8.0)


@dataclass(frozen=True, eq=False)
class HandEyeSample:
    """One pose of the arm and what the camera saw.

    Args:
        base_from_gripper: from the robot's kinematics.
        camera_from_board: from the image, see `pose.board_pose`.
    """

    base_from_gripper: Transform
    camera_from_board: Transform


@dataclass(frozen=True, eq=False)
class HandEyeResult:
    """A hand-eye calibration and how good it is.

    Args:
        setup: `eye_in_hand` or `eye_to_hand`.
        transform: gripper_from_camera, or base_from_camera; its covariance counts the
            noise that the poses show and how few they are.
        fixed_from_board: where the board is: base_from_board, or gripper_from_board.
        residuals_m: (n,) distance of the board in each pose from where it is, metres.
        residuals_rad: (n,) the same for its orientation.
        spread_m: one sigma of the answer's translation (length), from its covariance.
        spread_rad: one sigma of its rotation.
        board_scatter_m: rms of `residuals_m`: the scatter of the board in the fixed frame.
        diversity_rad: largest turn of the arm about a second axis.
        outliers: indices of poses that do not fit the others.
        doubts: likely mistakes in the poses, such as mixed units.
        change_m: how far the answer moves at most if one pose is left out, metres.
        change_rad: how far it turns at most.
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
    doubts: tuple[Doubt, ...] = ()
    change_m: float = 0.0
    change_rad: float = 0.0

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
    arms, boards = _matrices(samples)
    chain = Chain.of(arms, boards, setup)
    diversity = _diversity(chain.moving)
    if diversity < _LEAST_DIVERSITY_RAD:
        raise DegenerateError(
            "the arm has turned about one axis only (or not at all): the largest turn about a "
            f"second axis is {np.rad2deg(diversity):.1f} degrees, at least "
            f"{np.rad2deg(_LEAST_DIVERSITY_RAD):.0f} are needed, 30 are good"
        )
    fit = fit_chain(chain)
    metres, radians = np.linalg.norm(fit.errors.reshape(-1, 2, 3), axis=2).T
    target = "gripper" if setup == "eye_in_hand" else "base"
    fixed = "base" if setup == "eye_in_hand" else "gripper"
    return HandEyeResult(
        setup=setup,
        transform=Transform(fit.x, target, "camera", fit.covariance),
        fixed_from_board=Transform(fit.z, fixed, "board"),
        residuals_m=metres,
        residuals_rad=radians,
        spread_m=float(np.sqrt(np.trace(fit.covariance[:3, :3]))),
        spread_rad=float(np.sqrt(np.trace(fit.covariance[3:, 3:]))),
        board_scatter_m=float(np.sqrt(np.mean(metres**2))),
        diversity_rad=diversity,
        outliers=tuple(int(i) for i in np.flatnonzero(fit.squares > OUTLIER_LIMIT)),
        change_m=float(np.linalg.norm(fit.changes[:, :3], axis=1).max()),
        change_rad=float(np.linalg.norm(fit.changes[:, 3:], axis=1).max()),
        doubts=doubts(arms, boards, setup, fit),
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
    chain = Chain.of(*_matrices(samples), setup)
    moving, boards = chain.moving, chain.boards
    # By keyword: by position the method lands in an output argument (opencv#27625).
    turn, shift = cv2.calibrateHandEye(
        list(moving[:, :3, :3]),
        list(moving[:, :3, 3]),
        list(boards[:, :3, :3]),
        list(boards[:, :3, 3]),
        method=cv2.CALIB_HAND_EYE_PARK,
    )
    target = "gripper" if setup == "eye_in_hand" else "base"
    return Transform.from_parts(turn, np.ravel(shift), target, "camera")


def _matrices(samples: Sequence[HandEyeSample]) -> tuple[FloatArray, FloatArray]:
    arms = np.array([sample.base_from_gripper.matrix for sample in samples])
    return arms, np.array([sample.camera_from_board.matrix for sample in samples])


def _diversity(arms: FloatArray) -> float:
    """The largest turn that is not about the main turning axis, in radians."""
    i, j = np.triu_indices(len(arms), 1)
    turns = rotation_vectors(np.swapaxes(arms[j, :3, :3], 1, 2) @ arms[i, :3, :3])
    _, axes = np.linalg.eigh(turns.T @ turns)
    across = turns - np.outer(turns @ axes[:, 2], axes[:, 2])
    return float(np.linalg.norm(across, axis=1).max())
