"""How Ai2's code of the first Molmo reads points and counts from text, and its pointing metric, faults included (allenai/molmo,
olmo/eval/evaluators.py); tests hold it to golden data of that code.

It documents where `molmo_point.markup`, the parser of the product, differs: the reference reads points pass by pass instead of in
text order, reads `Click(...)` twice, matches prose such as 'step2=640,480', and cannot read the count of 'There are none.'
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from molmo_point.install import import_failure

Pixels = list[tuple[float, float]]
"""(x, y) in continuous pixels of the image."""

_CLICK = re.compile(r"Click\(([0-9]+\.[0-9]), ?([0-9]+\.[0-9])\)")
_BRACKETS = re.compile(r"\(([0-9]+\.[0-9]),? ?([0-9]+\.[0-9])\)")
_ATTRIBUTES = re.compile(r'x\d*="\s*([0-9]+(?:\.[0-9]+)?)"\s+y\d*="\s*([0-9]+(?:\.[0-9]+)?)"')
_THOUSANDTHS = re.compile(r"(?:\d+|p)\s*=\s*([0-9]{3})\s*,\s*([0-9]{3})")


def extract_points(text: str, width: float, height: float) -> Pixels:
    """Collect everything that looks like a point, in four passes over the whole text.

    Args:
        text: A model's answer.
        width, height: Size of the image in pixels.

    Returns:
        Points of `Click(x, y)`, then of `(x, y)`, then of `x="" y=""`, then of `p=ddd,ddd`. Points beyond 100 percent are left
        out one by one.
    """
    percents = [
        (float(x), float(y))
        for pattern in (_CLICK, _BRACKETS, _ATTRIBUTES)
        for x, y in pattern.findall(text)
    ]
    percents += [(int(x) / 10.0, int(y) / 10.0) for x, y in _THOUSANDTHS.findall(text)]
    return [(x / 100.0 * width, y / 100.0 * height) for x, y in percents if max(x, y) <= 100.0]


_DECIMALS = re.compile(r"([0-9]+\.[0-9]+),\s*([0-9]+\.[0-9]+)")


def points_from_point_count(text: str, width: float, height: float) -> Pixels:
    """Collect 'a.b, c.d' pairs as the reference's counting visualisation does: it forgets to divide the percent by 100."""
    pairs = [(float(x), float(y)) for x, y in _DECIMALS.findall(text)]
    return [(x * width, y * height) for x, y in pairs if max(x, y) <= 100.0]


_VALUE = r"\s*[0-9]+(?:\.[0-9]+)?"
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_VALID_SHAPES = tuple(
    re.compile(shape, re.DOTALL)
    for shape in (
        rf"\({_NUMBER}, ?{_NUMBER}\)(?:\n\({_NUMBER}, ?{_NUMBER}\))*",
        rf'<point x="{_VALUE}"\s+y="{_VALUE}"\s+alt=".*">.*</point>',
        rf'<points(?: x\d+="{_VALUE}"\s+y\d+="{_VALUE}")+\s+alt=".*">.*</points>',
        r'<point p=[0-9]{3},[0-9]{3}\s+alt=".*">.*</point>',
        r'<points(?: \d+=[0-9]{3},[0-9]{3})+\s+alt=".*">.*</points>',
    )
)


def is_valid_format(text: str) -> bool:
    """Whether an answer is one of the five shapes that the pointing metric takes: nothing but points, no prose around them."""
    return any(shape.fullmatch(text.strip()) for shape in _VALID_SHAPES)


_NUMBER_WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip
_TOTAL = re.compile(r".*a total of ([0-9]+)")


def read_count(text: str) -> int | None:
    """Return the count that an answer states, or None where the reference cannot read one.

    The last word as a number or as a number word up to twenty, else the last 'a total of N' of the first line. 'There are
    none.' is unreadable: the reference looks for the word between two backspace characters.
    """
    words = text.strip().lower().rstrip(".").split()
    if not words:
        return None
    try:
        return int(words[-1])
    except ValueError:
        pass
    if words[-1] in _NUMBER_WORDS:
        return _NUMBER_WORDS.index(words[-1])
    total = _TOTAL.match(text.strip().lower())
    return int(total[1]) if total else None


@dataclass(frozen=True)
class CountScore:
    """One counted image: `correct` when equal, `close` when at most one off, `valid` when a count was read."""

    correct: bool
    close: bool
    valid: bool


def score_count(text: str, truth: int) -> CountScore:
    """Score an answer against the true count."""
    count = read_count(text)
    if count is None:
        return CountScore(False, False, False)
    return CountScore(count == truth, abs(count - truth) <= 1, True)


@dataclass(frozen=True)
class PointingScore:
    """Precision, recall and F1 of one image, each 0-1."""

    precision: float
    recall: float
    f1: float


def score_pointing(
    text: str,
    truth: Sequence[tuple[float, float]],
    masks: Sequence[np.ndarray[Any, Any]],
    width: int,
    height: int,
) -> PointingScore:
    """Score an answer as the reference's pointing metric does.

    Predicted points are assigned to true points by the smallest total distance; one counts as right when its nearest pixel
    (halves to even) lies in the mask of the true point it was assigned to.

    Args:
        text: A model's answer.
        truth: True points (x, y) in pixels.
        masks: For each true point an (height, width) bool array: where it may be hit.
        width, height: Size of the image in pixels.
    """
    predicted = extract_points(text, width, height)
    if not truth or not predicted or not is_valid_format(text):
        return pointing_score(0, len(predicted) if not truth else 0, len(truth))
    costs = [[math.dist(point, target) for target in truth] for point in predicted]
    hits = sum(
        hits_mask(predicted[row], masks[column])
        for row, column in zip(*assignment(costs), strict=True)
    )
    return pointing_score(hits, len(predicted), len(truth))


def pointing_score(hits: int, points: int, truth: int) -> PointingScore:
    """Return the score of one image.

    Args:
        hits: Number of points that are right; points: Of all; truth: Of labelled points, where none are, no point is right.
    """
    if not truth:
        score = 0.0 if points else 1.0
        return PointingScore(score, score, score)
    if not hits:
        return PointingScore(0.0, 0.0, 0.0)
    precision, recall = hits / points, hits / truth
    return PointingScore(
        precision, recall, 2.0 * precision * recall / (precision + recall + 1e-10)
    )


def hits_mask(point: tuple[float, float], mask: np.ndarray[Any, Any]) -> bool:
    """Return whether the nearest pixel (halves to even) of a point (x, y) in pixels is set in a mask (H, W)."""
    column, row = round(point[0]), round(point[1])
    inside = 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1]
    return bool(inside and mask[row, column])


def assignment(costs: Sequence[Sequence[float]]) -> tuple[Sequence[int], Sequence[int]]:
    """Return rows and columns of the assignment with the smallest sum.

    Raises:
        MissingExtra: scipy is not installed.
    """
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError as error:
        raise import_failure(error, "scipy", "count", "Scoring points by assignment") from error
    rows, columns = linear_sum_assignment(costs)
    return rows.tolist(), columns.tolist()
