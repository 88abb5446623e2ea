"""Units of hand-eye poses: arm and board in different units, one unit that is not metres, a board of another size."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

import numpy as np

from molmo_calibration.arrays import FloatArray
from molmo_calibration.calibrate.doubt import Doubt
from molmo_calibration.calibrate.hand_eye_fit import (
    Chain,
    Fit,
    board_place,
    closed_form,
    fit_chain,
    scaled_closed_form,
)
from molmo_calibration.calibrate.hand_eye_scale import board_scale

_METRES = {
    "metres": 1.0,
    "centimetres": 0.01,
    "millimetres": 0.001,
    "inches": 0.0254,
    "feet": 0.3048,
}

# A ratio of units is recognized within this factor.
_UNIT_TOLERANCE = 1.15

# Poses in other units have to fit this many times better to be named.
_BETTER = 3.0

# Boards in hand-eye calibration are about this far from the camera, never beyond the second, never nearer than the third.
_USUAL_M = 0.6
_FARTHEST_M = 6.0
_NEAREST_M = 0.02

# The size of the board is judged if its standard error is below this share.
_DETERMINED = 0.05

# Another size is named if it is this many standard errors and this share away.
_SCALE_SIGMAS = 5.5
_LEAST_SCALE = 0.01

# Below this, the poses are exact and the size of the board is not in question.
_EXACT_M = 1e-5


def mixed_units(chain: Chain) -> Iterator[Doubt]:
    """Arm and board in different units."""
    scale, x = scaled_closed_form(chain)
    named = _ratio_of_units(scale) if scale > 0 else None
    if named is None:
        return
    boards = np.array(chain.boards)
    boards[:, :3, 3] *= scale
    rescaled = Chain(chain.left, boards, chain.right)
    loose = float(np.median(_shift_sizes(chain, closed_form(chain))))
    if loose < _BETTER * float(np.median(_shift_sizes(rescaled, x))):
        return
    # An arm that merely turns fits boards of any size, the best those of no size.
    if board_scale(rescaled, fit_chain(rescaled)).sigma > _DETERMINED:
        return
    arm, board = named
    if _distance(chain.boards) < _NEAREST_M:
        looks = f"the board's translations are {scale:.4g} times too small (is --square right?)"
    else:
        looks = (
            f"the arm's poses look like {arm} and the board's like {board} (they fit if the "
            f"board's translations are multiplied by {scale:.4g})"
        )
    yield Doubt("bad", f"{looks}; all translations must be in metres")


def same_unit(boards: FloatArray) -> Iterator[Doubt]:
    """Arm and board in one unit that is not metres, or boards at a distance that no camera sees them at."""
    distance = _distance(boards)
    if distance < _NEAREST_M:
        yield Doubt(
            "bad",
            f"the board is {distance * 1e3:.3g} mm from the camera (median of all poses), nearer than a camera sees it: "
            "the translations of camera_from_board are not set, or not in metres",
        )
    if distance > _FARTHEST_M:
        off = {n: abs(np.log(distance * m / _USUAL_M)) for n, m in _METRES.items() if m < 1}
        yield Doubt(
            "bad",
            f"the board is {distance:.4g} m from the camera (median of all poses): the "
            f"translations look like {min(off, key=lambda name: off[name])}; all must be in metres",
        )


def board_size(chain: Chain, fit: Fit) -> Iterator[Doubt]:
    """A board of another size than stated, or poses that do not determine its size."""
    if float(np.abs(fit.errors[:, :3]).max()) < _EXACT_M:
        return
    scale = board_scale(chain, fit)
    if scale.sigma > _DETERMINED:
        yield Doubt(
            "good",
            "the arm translates too little between poses to check the size of the board (--square) "
            "and its unit: a wrong size makes the answer wrong by the same factor and does not "
            "show; move the gripper by 0.1 m and more between poses",
        )
    elif scale.sigmas_from_one > _SCALE_SIGMAS and abs(scale.factor - 1.0) > _LEAST_SCALE:
        yield Doubt(
            "usable",
            f"the poses fit better if the board is {scale.factor:.3f} times as large: measure the "
            "side of a square on the print (--square), and check the camera's focal length",
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


def _shift_sizes(chain: Chain, x: FloatArray) -> FloatArray:
    """(n,) distances of the board from its middle place."""
    errors = chain.errors(x, board_place(chain, x))
    return np.asarray(np.linalg.norm(errors[:, :3], axis=1))
