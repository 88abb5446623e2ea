"""Hard negatives: wrong points that the confidence loss contrasts with right ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from molmo_point.synthetic.scenes.questions import Question
from molmo_point.train.sample import ImageSample

Floats = NDArray[np.float64]

P_WHEN_PRESENT = 0.5
"""Probability of a negative for a question about something present; every question about something absent has one."""

P_OTHER_THING = 0.5
"""Probability that it lies on another thing, instead of beside what was asked for."""

MIN_MISS = 0.5
"""Offset of a near miss: at least this many percent of the image beyond the box's edge ..."""

MAX_MISS_HALVES = 3.0
"""... and at most this many half-sides of the box more."""

FAR_CORNER = (100.0, 100.0)
"""The point that is written last."""


def hard_negatives(
    question: Question, image: ImageSample, rng: np.random.Generator
) -> Floats | None:
    """Draw the points [n, 2] of a wrong answer, in percent; only the first one written is used. None: no negative here."""
    if not question.targets:
        return 100 * rng.random((1 + int(rng.integers(2)), 2))
    if rng.random() >= P_WHEN_PRESENT:
        return None
    others = sorted(set(range(len(image.points))) - set(question.targets))
    if others and rng.random() < P_OTHER_THING:
        point = image.points[others[int(rng.integers(len(others)))]]
    else:
        point = _beside(image.boxes[int(rng.choice(question.targets))], rng)
    boxes = image.boxes[list(question.targets)]
    if bool(((point >= boxes[:, :2]) & (point <= boxes[:, 2:])).all(1).any()):
        return None
    return np.array([point, *[FAR_CORNER] * (len(question.targets) > 1)], np.float64)


def _beside(box: np.ndarray[Any, Any], rng: np.random.Generator) -> Floats:
    """Return a point outside a box: beyond its edge along one axis, anywhere near along the other."""
    centre, reach = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
    off = rng.uniform(-1.5, 1.5, 2) * reach
    axis = int(rng.integers(2))
    beyond = reach[axis] + MIN_MISS + rng.random() * MAX_MISS_HALVES * reach[axis]
    off[axis] = beyond if rng.random() < 0.5 else -beyond
    return np.asarray(np.clip(centre + off, 0, 100), np.float64)
