"""How far answers move when a model is changed: low-bit weights, another type, another device, another engine.

Average accuracy hides drift: a quantised model can score the same and yet answer most pictures differently. So point sets are
compared one by one, on the same pictures.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from molmo_point.errors import UsageError
from molmo_point.pointer import ImageLike, Pointer
from molmo_point.points import Point


@dataclass(frozen=True)
class Drift:
    """Two models' answers to the same questions.

    Attributes:
        questions: How many were asked.
        same_points: Answers with exactly the same points.
        same_count: Answers with the same number of points.
        median_percent, p99_percent, largest_percent: Distance between corresponding points, in percent of the picture's
            diagonal, over answers with the same number of points; NaN where there are none.
        seconds: (of the first, of the second), summed over all questions.
    """

    questions: int
    same_points: int
    same_count: int
    median_percent: float
    p99_percent: float
    largest_percent: float
    seconds: tuple[float, float]


def measure_drift(
    first: Pointer, second: Pointer, questions: Iterable[tuple[ImageLike, str]]
) -> Drift:
    """Ask both the same, question by question.

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
        raise UsageError("there are no questions to compare answers on")
    spread = np.array(distances or [math.nan])
    return Drift(
        questions=count,
        same_points=same,
        same_count=equal,
        median_percent=float(np.median(spread)),
        p99_percent=float(np.quantile(spread, 0.99)),
        largest_percent=float(spread.max()),
        seconds=(seconds[0], seconds[1]),
    )


def places(points: Sequence[Point]) -> list[tuple[float, float]]:
    """Return the bare coordinates."""
    return [(point.x, point.y) for point in points]


def distance_percent(one: Point, other: Point, image_size: tuple[int, int]) -> float:
    """Return the distance in percent of the picture's diagonal."""
    across, down = (one.x - other.x) * image_size[0], (one.y - other.y) * image_size[1]
    return 100 * math.hypot(across, down) / math.hypot(*image_size)
