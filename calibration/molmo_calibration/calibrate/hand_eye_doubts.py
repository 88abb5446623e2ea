"""Mistakes in hand-eye poses that can be named: wrong units, inverted poses, the other setup, repeated poses.

The equations have a solution for any poses. So other interpretations of the poses are solved as well, in
closed form; where one fits much better, or where distances are not those of an arm and a board, the
likely mistake is named.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from molmo_calibration.arrays import FloatArray
from molmo_calibration.calibrate.doubt import Doubt
from molmo_calibration.calibrate.hand_eye_fit import (
    Chain,
    Fit,
    board_place,
    closed_form,
    contradictory,
    pose_sizes,
)
from molmo_calibration.calibrate.hand_eye_units import board_size, mixed_units, same_unit
from molmo_calibration.geometry.rotations import matrix_from_quaternion, quaternion_from_matrix

# Another interpretation of the poses has to fit this many times better to be named.
_BETTER = 3.0

# A camera on a gripper farther out than this, and farther than the board, is doubtful; and any
# answer beyond an arm's reach.
_GRIPPER_M = 0.3
_REACH_M = 2.0

# Below this size of error the poses are consistent, and other interpretations are not tried.
_CONSISTENT_M = 0.005

# An arm that moves by less than this between two poses stood still.
_STILL_M = 0.001
_STILL_RAD = np.deg2rad(0.1)


def doubts(arms: FloatArray, boards: FloatArray, setup: str, fit: Fit) -> tuple[Doubt, ...]:
    """Likely mistakes in the poses; empty for poses that make sense.

    Args:
        arms: (n, 4, 4) base_from_gripper.
        boards: (n, 4, 4) camera_from_board.
        setup: eye_in_hand or eye_to_hand.
        fit: the answer.
    """
    chain = Chain.of(arms, boards, setup)
    found = [*mixed_units(chain)] or [*same_unit(boards)]
    found = found or [*_other_reading(arms, boards, setup, fit.x, fit.z)]
    found = found or [*_contradictory(fit)]
    found = found or [*board_size(chain, fit), *_far_answer(setup, fit.x, fit.z)]
    return (*found, *_repeated(arms))


def _contradictory(fit: Fit) -> Iterator[Doubt]:
    """Poses of which only a few fit any one answer."""
    if contradictory(fit.squares):
        yield Doubt(
            "bad",
            "the poses contradict each other: no answer fits more than a few of them; is the board "
            "upside down in some images, or are images paired with poses of others?",
        )


def _other_reading(
    arms: FloatArray, boards: FloatArray, setup: str, x: FloatArray, z: FloatArray
) -> Iterator[Doubt]:
    """Inverted poses, the other setup, quaternions in another order, or poses that lag."""
    as_given = float(np.median(pose_sizes(Chain.of(arms, boards, setup), x, z)))
    if as_given < _CONSISTENT_M:
        return
    sizes: dict[str, tuple[bool, float]] = {}
    for words, some_arms, some_boards, some_setup in _readings(arms, boards, setup):
        chain = Chain.of(some_arms, some_boards, some_setup)
        guess = closed_form(chain)
        place = board_place(chain, guess)
        held, placed = _distances(some_setup, guess, place)
        size = float(np.median(pose_sizes(chain, guess, place)))
        sizes[words] = (held > max(_GRIPPER_M, placed), size)
    least = min(size for _, size in sizes.values())
    if least * _BETTER < as_given:
        # Two interpretations can be one equation; a camera or a board far from its gripper is unlikely.
        alike = {words: far for words, (far, size) in sizes.items() if size < 2.0 * least}
        likely = [words for words, far in alike.items() if far == min(alike.values())]
        times = as_given / max(least, 1e-9)
        yield Doubt("bad", f"the poses fit {times:.0f} times better if {', or if '.join(likely)}")


def _readings(
    arms: FloatArray, boards: FloatArray, setup: str
) -> Iterator[tuple[str, FloatArray, FloatArray, str]]:
    """Yield other interpretations: description, arm poses, board poses, setup."""
    other = "eye_to_hand" if setup == "eye_in_hand" else "eye_in_hand"
    arm_wxyz, board_wxyz = _reordered(arms), _reordered(boards)
    yield f"the setup is {other}", arms, boards, other
    yield (
        "base_from_gripper is inverted (it holds gripper_from_base)",
        np.linalg.inv(arms),
        boards,
        setup,
    )
    yield (
        "camera_from_board is inverted (it holds board_from_camera)",
        arms,
        np.linalg.inv(boards),
        setup,
    )
    yield "the arm's quaternions are in the order w, x, y, z", arm_wxyz, boards, setup
    yield "the board's quaternions are in the order w, x, y, z", arms, board_wxyz, setup
    yield "all quaternions are in the order w, x, y, z", arm_wxyz, board_wxyz, setup
    yield "each image belongs to the arm's pose before it", arms[:-1], boards[1:], setup
    yield "each image belongs to the arm's pose after it", arms[1:], boards[:-1], setup


def _distances(setup: str, x: FloatArray, z: FloatArray) -> tuple[float, float]:
    """Distances in metres: of what the gripper holds from the gripper, and of what is fixed from the base."""
    answer, board = (float(np.linalg.norm(m[:3, 3])) for m in (x, z))
    return (answer, board) if setup == "eye_in_hand" else (board, answer)


def _far_answer(setup: str, x: FloatArray, z: FloatArray) -> Iterator[Doubt]:
    """An answer farther away than a camera or a board on a gripper can be."""
    held, placed = _distances(setup, x, z)
    answer = float(np.linalg.norm(x[:3, 3]))
    what = "camera" if setup == "eye_in_hand" else "board"
    if held > max(_GRIPPER_M, placed):
        yield Doubt(
            "good",
            f"the {what} is {held:.2f} m from the gripper it is on: if that is not so, the poses "
            "of arm and board are both inverted; base_from_gripper and camera_from_board are "
            "wanted",
        )
    elif answer > _REACH_M:
        yield Doubt(
            "good", f"the camera is {answer:.2f} m away, farther than an arm reaches: check that"
        )


def _repeated(arms: FloatArray) -> Iterator[Doubt]:
    """Repeated poses: they add no information, but make the covariance too small."""
    shifts = np.linalg.norm(arms[:, None, :3, 3] - arms[None, :, :3, 3], axis=2)
    cosines = (np.einsum("iab,jab->ij", arms[:, :3, :3], arms[:, :3, :3]) - 1.0) / 2.0
    alike = (shifts < _STILL_M) & (np.arccos(np.clip(cosines, -1.0, 1.0)) < _STILL_RAD)
    copies = int(np.tril(alike, -1).any(axis=1).sum())
    if copies:
        yield Doubt(
            "usable",
            f"{copies} of {len(arms)} poses are copies of others (the arm moved by less than {_STILL_M * 1e3:.0f} mm and "
            f"{np.rad2deg(_STILL_RAD):.1f} degrees): they say nothing new, and the answer is less sure than it looks; "
            "leave them out",
        )


def _reordered(poses: FloatArray) -> FloatArray:
    """The poses if the first of the four numbers of each quaternion was w."""
    result = np.array(poses)
    for pose in result:
        w, x, y, z = quaternion_from_matrix(pose[:3, :3])
        pose[:3, :3] = matrix_from_quaternion([x, y, z, w])
    return result
