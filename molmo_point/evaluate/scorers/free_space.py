"""Points in masks and polygons: Point-Bench (three scorers), Where2Place (two), RefSpatial-Bench (two), RoboSpatial-Home.

Masks are indexed as each owner's code does it: `int` cuts, `round` takes the nearest pixel (halves to even), and a
pixel outside of
the mask is a miss.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molmo_point.evaluate.scorers.scorer import Scorer, Values, answered, mask_of, wrong_format
from molmo_point.examples import Example
from molmo_point.points import Pointing

Levels = NDArray[Any]
"""(H, W): 0-1, or bool."""

COUNTING = "counting"
"""The category of Point-Bench whose number of points matters."""

ASSUMED = (640, 480)
"""(width, height) that RoboPoint's code takes every image of Where2Place to have."""


def _at(
    mask: Levels,
    points: Sequence[tuple[float, float]],
    size: tuple[int, int],
    pixel: Callable[[float], int],
) -> list[float]:
    """Return the mask's value at each point; 0 outside of it.

    Args:
        points: (x, y) `norm`.
        size: (width, height) in pixels that they are scaled by.
        pixel: `int` or `round`.
    """
    values = []
    for x, y in points:
        column, row = pixel(x * size[0]), pixel(y * size[1])
        inside = 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1]
        values.append(float(mask[row, column]) if inside else 0.0)
    return values


def _pixels(mask: Levels) -> tuple[int, int]:
    return mask.shape[1], mask.shape[0]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _pointarena(example: Example, pointing: Pointing | None) -> Values | None:
    mask = mask_of(example.regions[0])
    if mask is None:
        return None
    points = answered(pointing)
    counting = example.group == COUNTING
    checked = points if counting else points[:1]
    values = _at(mask.array(), checked, _image_size(pointing, mask.size), int)
    right = bool(values) and all(values) and (not counting or len(points) == example.count)
    return {"correct": float(right), "wrong_format": wrong_format(pointing)}


def _image_size(pointing: Pointing | None, otherwise: tuple[int, int]) -> tuple[int, int]:
    """Return the image's (width, height): three masks of Point-Bench have another size than their image."""
    return otherwise if pointing is None else pointing.image_size


def _ai2(example: Example, pointing: Pointing | None) -> Values | None:
    mask = mask_of(example.regions[0])
    if mask is None:
        return None
    values = _at(mask.array(), answered(pointing), _image_size(pointing, mask.size), int)
    return {
        "correct": float(bool(values) and all(values)),
        "wrong_format": wrong_format(pointing),
    }


def _fraction(
    levels: Callable[[Any], Levels], pixel: Callable[[float], int], fixed: bool = False
) -> Any:
    """Return a judge: the mean of a mask at the points."""

    def judge(example: Example, pointing: Pointing | None) -> Values | None:
        mask = mask_of(example.regions[0])
        if mask is None:
            return None
        values = levels(mask)
        size = ASSUMED if fixed else _pixels(values)
        points = answered(pointing)
        return {
            "fraction": _mean(_at(values, points, size, pixel)),
            "wrong_format": wrong_format(pointing),
        }

    return judge


def _gray(mask: Any) -> Levels:
    return mask.levels() / 255.0


def _rounded(mask: Any) -> Levels:
    return np.round(mask.levels() / 255.0)


def _inside(mask: Any) -> Levels:
    return mask.array()


_XML = re.compile(r'x\d+="(-?\d+\.?\d*)"\s+y\d+="(-?\d+\.?\d*)"')


def _roborefer_xml(example: Example, pointing: Pointing | None) -> Values | None:
    mask = mask_of(example.regions[0])
    if mask is None:
        return None
    text = "" if pointing is None else pointing.text
    points = [(float(x) / 100, float(y) / 100) for x, y in _XML.findall(text)]
    return {
        "fraction": _mean(_at(mask.array(), points, mask.size, int)),
        "wrong_format": float(not points),
    }


def _robospatial(example: Example, pointing: Pointing | None) -> Values | None:
    first = answered(pointing)[:1]
    right = bool(first) and example.regions[0].contains(*first[0])
    return {"correct": float(right), "wrong_format": wrong_format(pointing)}


POINTARENA = Scorer(
    "point-bench-pointarena",
    "pointarena/pointarena molmo_evaluator.py (dcd82f2)",
    "The first point lies in the mask; of category counting all points do, and are as many as the true count. The "
    "site's average is "
    "that of the five categories.",
    frozenset({"point-bench"}),
    "correct",
    "categories",
    _pointarena,
)
AI2_POINT_BENCH = Scorer(
    "point-bench-ai2",
    "allenai/molmo2 olmo/eval/evaluators.py PointBenchEval (f3cb108)",
    "All points lie in the mask, and there is at least one; the count is not compared. The average is that of the five "
    "categories.",
    frozenset({"point-bench"}),
    "correct",
    "categories",
    _ai2,
)
LMMS_POINT_BENCH = Scorer(
    "point-bench-lmms-eval",
    "lmms-eval 0.7.3 tasks/pointbench/utils.py (pointbench_acc)",
    "The share of the points that lie in the mask; the mean over all items.",
    frozenset({"point-bench"}),
    "fraction",
    "items",
    _fraction(_inside, round),
)
ROBOPOINT = Scorer(
    "where2place-robopoint",
    "wentaoyuan/RoboPoint robopoint/eval/summarize_vqa.py (adbee8d)",
    "The mean gray value of the mask at the points, 0-1; every image is taken to have 640 x 480 pixels.",
    frozenset({"where2place"}),
    "fraction",
    "items",
    _fraction(_gray, int, fixed=True),
)
LMMS_WHERE2PLACE = Scorer(
    "where2place-lmms-eval",
    "lmms-eval 0.7.3 tasks/where2place/utils.py",
    "The share of the points that lie in the mask, rounded to 0 and 1, in the mask's own size.",
    frozenset({"where2place"}),
    "fraction",
    "items",
    _fraction(_rounded, int),
)
ROBOREFER = Scorer(
    "refspatial-roborefer",
    "Zhoues/RoboRefer Evaluation/summarize_acc.py compute_accuracy (d97a995)",
    "The share of the points that lie in the mask; answers are read by this program.",
    frozenset({"refspatial"}),
    "fraction",
    "items",
    _fraction(_inside, int),
)
ROBOREFER_XML = Scorer(
    "refspatial-roborefer-xml",
    "Zhoues/RoboRefer Evaluation/summarize_acc.py xml2pts (d97a995)",
    "As refspatial-roborefer, with its reader of Molmo's answers, which finds x1, x2 ... and not the x of a single "
    "point: such an "
    "answer is 0.",
    frozenset({"refspatial"}),
    "fraction",
    "items",
    _roborefer_xml,
)
ROBOSPATIAL = Scorer(
    "robospatial",
    "chanhee-luke/RoboSpatial-Eval evaluation.py (19f04a5)",
    "The first point lies in the polygon.",
    frozenset({"robospatial"}),
    "correct",
    "items",
    _robospatial,
)
