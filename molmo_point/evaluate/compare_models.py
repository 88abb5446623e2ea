"""Compare the answers of two versions of a model: low-bit weights, another dtype, another device, another engine.

A quantised model can have the same average accuracy and yet answer most images differently, so answers are compared one by one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from molmo_point.errors import UsageError
from molmo_point.image_like import ImageLike
from molmo_point.pointer import Pointer
from molmo_point.points import Point


@dataclass(frozen=True)
class ModelComparison:
    """Two models' answers to the same questions.

    Attributes:
        questions: Number of questions.
        same_points: Answers with exactly the same points.
        same_count: Answers with the same number of points.
        median_percent, p99_percent, largest_percent: Distance between corresponding points, in percent of the image's
            diagonal, over answers with the same number of points; NaN where there are none.
        seconds: Total time of the first and of the second.
    """

    questions: int
    same_points: int
    same_count: int
    median_percent: float
    p99_percent: float
    largest_percent: float
    seconds: tuple[float, float]


def compare_models(
    first: Pointer, second: Pointer, questions: Iterable[tuple[ImageLike, str]]
) -> ModelComparison:
    """Ask both pointers every question.

    Raises:
        UsageError: There are no questions.
    """
    same = equal = count = 0
    distances: list[float] = []
    seconds = [0.0, 0.0]
    for image, query in questions:
        answers = [pointer.point(image, query) for pointer in (first, second)]
        for side, answer in enumerate(answers):
            seconds[side] += answer.timing.total_s
        one, other = (answer.points for answer in answers)
        count += 1
        same += places(one) == places(other) and answers[0].status == answers[1].status
        if len(one) == len(other):
            equal += 1
            size = answers[0].image_size
            distances += [distance_percent(a, b, size) for a, b in zip(one, other, strict=True)]
    if not count:
        raise UsageError("expected at least one question to compare answers on, got none")
    spread = np.array(distances or [math.nan])
    return ModelComparison(
        questions=count,
        same_points=same,
        same_count=equal,
        median_percent=float(np.median(spread)),
        p99_percent=float(np.quantile(spread, 0.99)),
        largest_percent=float(spread.max()),
        seconds=(seconds[0], seconds[1]),
    )


def places(points: Sequence[Point]) -> list[tuple[float, float]]:
    """Return the coordinates of points."""
    return [(point.x, point.y) for point in points]


def distance_percent(one: Point, other: Point, image_size: tuple[int, int]) -> float:
    """Return the distance in percent of the image's diagonal."""
    across, down = (one.x - other.x) * image_size[0], (one.y - other.y) * image_size[1]
    return 100 * math.hypot(across, down) / math.hypot(*image_size)
