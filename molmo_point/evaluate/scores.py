"""Matching of points to things, and proportions with confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from molmo_point.errors import UsageError
from molmo_point.examples import Region
from molmo_point.points import Point
from molmo_point.record import Record

Z95 = 1.959963984540054
"""Standard normal quantile of a 95 % interval."""


class Proportion(Record):
    """A proportion with its 95 % Wilson interval.

    Attributes:
        right: Number of right ones.
        total: Number of all.
        low, high: Interval, 0-1; (0, 1) where total is 0.
    """

    right: int
    total: int
    low: float
    high: float

    @property
    def value(self) -> float | None:
        """right / total; None where total is 0."""
        return self.right / self.total if self.total else None

    def __str__(self) -> str:
        if not self.total:
            return "-"
        return (
            f"{self.right}/{self.total} = {self.right / self.total:.1%} "
            f"[{self.low:.1%}, {self.high:.1%}]"
        )


def proportion(right: int, total: int, *, z: float = Z95) -> Proportion:
    """Return a proportion with its Wilson score interval (Wilson 1927), which also holds near 0 and 1."""
    if not 0 <= right <= total:
        raise UsageError(f"expected 0 <= right <= total, got {right} of {total}")
    if total == 0:
        return Proportion(right=0, total=0, low=0.0, high=1.0)
    value = right / total
    scale = 1 + z * z / total
    middle = (value + z * z / (2 * total)) / scale
    half = z * math.sqrt(value * (1 - value) / total + z * z / (4 * total * total)) / scale
    # Rounding must not move a bound past the proportion itself.
    low = 0.0 if right == 0 else max(0.0, middle - half)
    high = 1.0 if right == total else min(1.0, middle + half)
    return Proportion(right=right, total=total, low=low, high=high)


def match(points: Sequence[Point], regions: Sequence[Region]) -> int:
    """Return the size of a maximum bipartite matching between points and the regions that contain them.

    A second point on the same thing is therefore wrong; a point where two things overlap counts for either.
    """
    inside = [
        [index for index, region in enumerate(regions) if region.contains(point.x, point.y)]
        for point in points
    ]
    owner: dict[int, int] = {}

    def place(point: int, seen: set[int]) -> bool:
        for region in inside[point]:
            if region not in seen:
                seen.add(region)
                if region not in owner or place(owner[region], seen):
                    owner[region] = point
                    return True
        return False

    return sum(place(point, set()) for point in range(len(points)))


def offset_to(point: Point, regions: Sequence[Region]) -> tuple[float, float] | None:
    """Return the way from a point to the center of the nearest of the regions that it lies on, `norm`; None where it
    is on none.
    """
    centers = [region.center for region in regions if region.contains(point.x, point.y)]
    offsets = [(x - point.x, y - point.y) for x, y in centers]
    return min(offsets, key=lambda pair: math.hypot(*pair), default=None)


@dataclass(frozen=True)
class Counts:
    """Numbers of hits, points and things."""

    hits: int = 0
    points: int = 0
    things: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.hits + other.hits, self.points + other.points, self.things + other.things
        )

    @property
    def f1(self) -> float | None:
        """2 hits / (points + things); None where there were neither points nor things."""
        both = self.points + self.things
        return 2 * self.hits / both if both else None


def f1_interval(
    counts: Sequence[Counts], *, draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the pooled F1, resampling whole questions; (0, 1) without questions."""
    if not counts:
        return 0.0, 1.0
    table = np.array([(t.hits, t.points + t.things) for t in counts], dtype=np.float64)
    picks = np.random.default_rng(seed).integers(0, len(table), (draws, len(table)))
    sums = table[picks].sum(1)
    values = np.divide(2 * sums[:, 0], sums[:, 1], out=np.zeros(draws), where=sums[:, 1] > 0)
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
