"""Wrong answers, so that the network learns to tell them from right ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from molmo_point.synthetic.scenes.questions import Question
from molmo_point.train.sample import ImageSample

Floats = np.ndarray[Any, np.dtype[np.float64]]

PRESENT = 0.5
"""Chance of a wrong answer to a question for what is there; every question for what is not there has one."""

OTHER = 0.5
"""Chance that it is on something else, instead of beside what was asked for."""

MISSED = (0.5, 3.0)
"""How far beside: in percent of the picture, and at most so many times the thing's half side further."""

FAR_CORNER = (100.0, 100.0)
"""Comes last in the order in which points are written."""


def hard_negatives(
    question: Question, picture: ImageSample, rng: np.random.Generator
) -> Floats | None:
    """Draw the points of a wrong answer [n, 2] in percent; only the first one written matters. None: no negative here."""
    if not question.targets:
        return 100 * rng.random((1 + int(rng.integers(2)), 2))
    if rng.random() >= PRESENT:
        return None
    others = sorted(set(range(len(picture.points))) - set(question.targets))
    if others and rng.random() < OTHER:
        point = picture.points[others[int(rng.integers(len(others)))]]
    else:
        point = _beside(picture.boxes[int(rng.choice(question.targets))], rng)
    boxes = picture.boxes[list(question.targets)]
    if bool(((point >= boxes[:, :2]) & (point <= boxes[:, 2:])).all(1).any()):
        return None
    return np.array([point, *[FAR_CORNER] * (len(question.targets) > 1)], np.float64)


def _beside(box: np.ndarray[Any, Any], rng: np.random.Generator) -> Floats:
    """A place outside a box: along one axis beyond its edge, along the other anywhere near."""
    centre, reach = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
    least, most = MISSED
    off = rng.uniform(-1.5, 1.5, 2) * reach
    axis = int(rng.integers(2))
    beyond = reach[axis] + least + rng.random() * most * reach[axis]
    off[axis] = beyond if rng.random() < 0.5 else -beyond
    return np.asarray(np.clip(centre + off, 0, 100), np.float64)
