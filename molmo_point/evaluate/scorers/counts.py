"""Counts: exact, off by one, absolute error; read from the answer's words, or as its number of points."""

from __future__ import annotations

import re

from molmo_point.evaluate.scorers.ai2_text import read_count
from molmo_point.evaluate.scorers.scorer import Scorer, Values, answered, wrong_format
from molmo_point.examples import Example
from molmo_point.points import Pointing, Status

COUNTED = frozenset({"pixmo-count", "countbenchqa", "tallyqa", "coco", "json-lines"})

_DIGITS = re.compile(r"\d+")


def _compared(count: int | None, truth: int) -> Values:
    """Return the values of a count; where none could be read, it is wrong, and has no absolute error."""
    if count is None:
        return {"exact": 0.0, "off_by_one": 0.0, "read": 0.0}
    error = abs(count - truth)
    return {
        "exact": float(error == 0),
        "off_by_one": float(error <= 1),
        "read": 1.0,
        "absolute_error": float(error),
    }


def _asks(example: Example) -> bool:
    return example.mode == "count"


def _stated(example: Example, pointing: Pointing | None) -> Values | None:
    if not _asks(example):
        return None
    count = None if pointing is None else read_count(pointing.text)
    return _compared(count, example.things)


def _points(example: Example, pointing: Pointing | None) -> Values | None:
    if not _asks(example):
        return None
    failed = wrong_format(pointing) or (pointing is not None and pointing.status is Status.PENDING)
    return _compared(None if failed else len(answered(pointing)), example.things)


def _first_digits(example: Example, pointing: Pointing | None) -> Values | None:
    if not _asks(example):
        return None
    found = None if pointing is None else _DIGITS.search(pointing.text)
    return _compared(int(found[0]) if found else None, example.things)


AI2_COUNT = Scorer(
    "ai2-count",
    "allenai/molmo olmo/eval/evaluators.py PointCountEval (793fa38)",
    "The count is the last word of the answer, a number or a number word up to twenty, else the last 'a total of N'; "
    "exact, and at "
    "most one off. 'There are none.' cannot be read (a fault of that code that is kept).",
    COUNTED,
    "exact",
    "items",
    _stated,
)
AI2_COUNT_MOLMO2 = Scorer(
    "ai2-count-molmo2",
    "allenai/molmo2 olmo/eval/evaluators.py PointCountEval (f3cb108)",
    "The count is the number of points; exact, and at most one off.",
    COUNTED,
    "exact",
    "items",
    _points,
)
LMMS_COUNT = Scorer(
    "lmms-eval-count",
    "lmms-eval 0.7.3 tasks/pixmo_count/utils.py",
    "The count is the first run of digits of the answer. That task asks for a single number; of an answer in points it reads a "
    "piece of the first coordinate.",
    frozenset({"pixmo-count"}),
    "exact",
    "items",
    _first_digits,
)
