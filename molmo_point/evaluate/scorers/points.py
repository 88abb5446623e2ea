"""Points against masks by assignment, as Ai2 scores PixMo-Points."""

from __future__ import annotations

import math
from collections.abc import Sequence

from molmo_point.evaluate.scorers.ai2_text import (
    PointingScore,
    assignment,
    extract_points,
    hits_mask,
    is_valid_format,
    pointing_score,
)
from molmo_point.evaluate.scorers.scorer import Scorer, Values, answered
from molmo_point.examples import Example, Region
from molmo_point.points import Pointing

LOCATED = frozenset({"pixmo-points", "coco", "yolo-pose", "label-studio", "json-lines", "table"})
"""Layouts that say where each object is."""


def _values(score: PointingScore) -> Values:
    return {"precision": score.precision, "recall": score.recall, "f1": score.f1}


def _strict(example: Example, pointing: Pointing | None) -> Values | None:
    if not _located(example):
        return None
    if pointing is None:
        return _values(PointingScore(0.0, 0.0, 0.0))
    if not pointing.text:
        return _lenient(example, pointing)
    points = extract_points(pointing.text, *pointing.image_size)
    if example.regions and not is_valid_format(pointing.text):
        points = []
    return _values(_assigned(points, example.regions, pointing.image_size))


def _lenient(example: Example, pointing: Pointing | None) -> Values | None:
    if not _located(example):
        return None
    if pointing is None:
        return _values(PointingScore(0.0, 0.0, 0.0))
    width, height = pointing.image_size
    points = [(x * width, y * height) for x, y in answered(pointing)]
    return _values(_assigned(points, example.regions, pointing.image_size))


def _located(example: Example) -> bool:
    return example.count is None or example.count == len(example.regions)


def _assigned(
    points: Sequence[tuple[float, float]], regions: Sequence[Region], size: tuple[int, int]
) -> PointingScore:
    """Score points (x, y) in pixels: each is assigned to one labelled point by the smallest total distance."""
    if not regions or not points:
        return pointing_score(0, len(points), len(regions))
    truth = [(x * size[0], y * size[1]) for x, y in (region.center for region in regions)]
    rows, columns = assignment([[math.dist(point, place) for place in truth] for point in points])
    hits = sum(_on(regions[c], points[r], size) for r, c in zip(rows, columns, strict=True))
    return pointing_score(hits, len(points), len(regions))


def _on(region: Region, point: tuple[float, float], size: tuple[int, int]) -> bool:
    array = getattr(region, "array", None)
    if array is not None:
        return hits_mask(point, array())
    return region.contains(point[0] / size[0], point[1] / size[1])


AI2_POINTS = Scorer(
    "ai2-points",
    "allenai/molmo olmo/eval/evaluators.py PointingEval (793fa38)",
    "Mean over items of precision, recall and F1: points are assigned to labelled points by the smallest total distance, and are "
    "right where the nearest pixel lies in the mask of theirs; an answer that is not one of five strict forms is 0; "
    "where nothing "
    "is there, no point is 1.",
    LOCATED,
    "f1",
    "items",
    _strict,
)
AI2_POINTS_MOLMO2 = Scorer(
    "ai2-points-molmo2",
    "allenai/molmo2 olmo/eval/evaluators.py PointingEval (f3cb108)",
    "As ai2-points, without the check of the form: the points that were read count.",
    LOCATED,
    "f1",
    "items",
    _lenient,
)
