"""Mistakes in hand-eye poses that can be named: mixed units, inverted poses, the other setup, a wrong square.

The mathematics has an answer for any poses. So the poses are read in other ways as well, by the
closed form; where another way fits much better, or where distances are not those of an arm and a
board, the likely mistake is named.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from molmo_calibration.arrays import FloatArray
from molmo_calibration.calibrate.hand_eye_fit import (
    Chain,
    board_place,
    closed_form,
    pose_sizes,
    scaled_closed_form,
)
from molmo_calibration.geometry.rotations import matrix_from_quaternion, quaternion_from_matrix

__all__ = ["Doubt", "doubts"]

_METRES = {
    "metres": 1.0,
    "centimetres": 0.01,
    "millimetres": 0.001,
    "inches": 0.0254,
    "feet": 0.3048,
}

# A ratio of units is recognized within this factor.
_UNIT_TOLERANCE = 1.15

# Boards in hand-eye calibration are about this far from the camera, and never beyond the second.
_USUAL_M = 0.6
_FARTHEST_M = 6.0
_NEAREST_M = 0.02

# Another reading of the poses has to fit this many times better to be named.
_BETTER = 3.0

# How sure it must be that another size of the squares fits better: a squared sigma.
_SCALE_SURE = 30.0
_LEAST_SCALE = 0.01

# A camera on a gripper farther out than this, and farther than the board, is doubtful; and any
# answer beyond an arm's reach.
_GRIPPER_M = 0.3
_REACH_M = 2.0

# Below this, the poses are exact and the size of the board is not in question.
_EXACT_M = 1e-5

# Below this size of error the poses are consistent, and other readings are not tried.
_CONSISTENT_M = 0.005


@dataclass(frozen=True)
class Doubt:
    """A likely mistake.

    Args:
        word: the best verdict that is possible with it: `good` for a mere note, `usable` or `bad`.
        sentence: what it is and what to do.
    """

    word: str
    sentence: str


def doubts(
    arms: FloatArray, boards: FloatArray, setup: str, x: FloatArray, z: FloatArray
) -> tuple[Doubt, ...]:
    """What is likely to be wrong with the poses; empty for poses that make sense.

    Args:
        arms: (n, 4, 4) base_from_gripper.
        boards: (n, 4, 4) camera_from_board.
        setup: eye_in_hand or eye_to_hand.
        x: (4, 4) the answer.
        z: (4, 4) where the board is fixed.
    """
    chain = Chain.of(arms, boards, setup)
    found = [*_mixed_units(chain)] or [*_same_unit(boards)]
    if not found:
        found = [*_other_reading(arms, boards, setup, x, z)] or [*_far_answer(setup, x, z)]
    return (*found, *_repeated(arms, boards))


def _mixed_units(chain: Chain) -> Iterator[Doubt]:
    """Arm and board in different units, or a board of another size than was said."""
    scale, x = scaled_closed_form(chain)
    if not scale > 0:
        return
    boards = np.array(chain.boards)
    boards[:, :3, 3] *= scale
    loose = _shift_sizes(chain, closed_form(chain))
    tight = _shift_sizes(Chain(chain.left, boards, chain.right), x)
    named = _ratio_of_units(scale)
    if named is not None and np.median(loose) > _BETTER * np.median(tight):
        arm, board = named
        if _distance(chain.boards) < _NEAREST_M:
            looks = (
                f"the board's translations are {scale:.4g} times too small (is --square right?)"
            )
        else:
            looks = (
                f"the arm's poses look like {arm} and the board's like {board} (they fit if the "
                f"board's translations are multiplied by {scale:.4g})"
            )
        yield Doubt("bad", f"{looks}; all translations must be in metres")
        return
    freedom = 3 * len(boards) - 7
    gain = freedom * (float((loose**2).sum()) / max(float((tight**2).sum()), 1e-20) - 1.0)
    if gain > _SCALE_SURE and abs(scale - 1.0) > _LEAST_SCALE and loose.max() > _EXACT_M:
        yield Doubt(
            "usable",
            f"the poses fit better if the board is {scale:.3f} times as large: measure the side of "
            "a square on the print (--square), and check the camera's focal length",
        )


def _ratio_of_units(scale: float) -> tuple[str, str] | None:
    """The units of arm and board whose ratio is about `scale`: arm numbers per board number."""
    off = {
        (arm, board): abs(float(np.log(scale * _METRES[arm] / _METRES[board])))
        for arm, board in permutations(_METRES, 2)
    }
    best = min(off, key=lambda pair: off[pair])
    return best if off[best] < np.log(_UNIT_TOLERANCE) else None


def _distance(boards: FloatArray) -> float:
    """Median distance of the board from the camera."""
    return float(np.median(np.linalg.norm(boards[:, :3, 3], axis=1)))


def _same_unit(boards: FloatArray) -> Iterator[Doubt]:
    """Arm and board in one unit that is not metres."""
    distance = _distance(boards)
    if distance > _FARTHEST_M:
        off = {n: abs(np.log(distance * m / _USUAL_M)) for n, m in _METRES.items() if m < 1}
        yield Doubt(
            "bad",
            f"the board is {distance:.4g} m from the camera (median of all poses): the "
            f"translations look like {min(off, key=lambda name: off[name])}; all must be in metres",
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
        # Two readings can be one equation; a camera or a board far from its gripper is unlikely.
        alike = {words: far for words, (far, size) in sizes.items() if size < 2.0 * least}
        likely = [words for words, far in alike.items() if far == min(alike.values())]
        times = as_given / max(least, 1e-9)
        yield Doubt("bad", f"the poses fit {times:.0f} times better if {', or if '.join(likely)}")


def _readings(
    arms: FloatArray, boards: FloatArray, setup: str
) -> Iterator[tuple[str, FloatArray, FloatArray, str]]:
    """What may be meant instead: words, arm poses, board poses, setup."""
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
    yield "each picture belongs to the arm's pose before it", arms[:-1], boards[1:], setup
    yield "each picture belongs to the arm's pose after it", arms[1:], boards[:-1], setup


def _distances(setup: str, x: FloatArray, z: FloatArray) -> tuple[float, float]:
    """How far what the gripper holds is from it, and what stands still from the base."""
    answer, board = (float(np.linalg.norm(m[:3, 3])) for m in (x, z))
    return (answer, board) if setup == "eye_in_hand" else (board, answer)


def _far_answer(setup: str, x: FloatArray, z: FloatArray) -> Iterator[Doubt]:
    """An answer that is farther out than cameras on grippers, or boards on grippers, are."""
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


def _repeated(arms: FloatArray, boards: FloatArray) -> Iterator[Doubt]:
    """Poses that were handed in twice say nothing new, but make the answer look surer."""
    rows = np.concatenate([arms, boards], axis=1).reshape(len(arms), -1)
    copies = len(rows) - len(np.unique(rows.round(9), axis=0))
    if copies:
        yield Doubt(
            "usable",
            f"{copies} of {len(rows)} poses are exact copies of others: they say nothing new, and "
            "the answer is less sure than it looks; leave them out",
        )


def _reordered(poses: FloatArray) -> FloatArray:
    """The poses if the first of the four numbers of each quaternion was w."""
    result = np.array(poses)
    for pose in result:
        w, x, y, z = quaternion_from_matrix(pose[:3, :3])
        pose[:3, :3] = matrix_from_quaternion([x, y, z, w])
    return result


def _shift_sizes(chain: Chain, x: FloatArray) -> FloatArray:
    """(n,) distances of the board from its middle place."""
    errors = chain.errors(x, board_place(chain, x))
    return np.asarray(np.linalg.norm(errors[:, :3], axis=1))
