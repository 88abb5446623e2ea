"""Numbers from answers: points matched to things, rates with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from molmo_point.errors import UsageError
from molmo_point.examples import Region
from molmo_point.points import Point

Z95 = 1.959963984540054
"""Standard normal quantile of a 95 % interval."""


class Rate(BaseModel):
    """A share with its 95 % Wilson interval.

    Attributes:
        right: How many were right.
        total: Of how many.
        low, high: Interval, 0-1; (0, 1) when there were none to judge.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    right: int
    total: int
    low: float
    high: float

    @property
    def share(self) -> float | None:
        """The share itself, None where nothing was judged."""
        return self.right / self.total if self.total else None

    def __str__(self) -> str:
        if not self.total:
            return "-"
        return (
            f"{self.right}/{self.total} = {self.right / self.total:.1%} "
            f"[{self.low:.1%}, {self.high:.1%}]"
        )


def rate(right: int, total: int, *, z: float = Z95) -> Rate:
    """Return a share with its Wilson score interval (Wilson 1927), which stays honest near 0 and 1."""
    if not 0 <= right <= total:
        raise UsageError(f"expected 0 <= right <= total, got {right} of {total}")
    if total == 0:
        return Rate(right=0, total=0, low=0.0, high=1.0)
    share = right / total
    scale = 1 + z * z / total
    middle = (share + z * z / (2 * total)) / scale
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / scale
    # At the ends the formula is exact; rounding must not move the bound past the share.
    low = 0.0 if right == 0 else max(0.0, middle - half)
    high = 1.0 if right == total else min(1.0, middle + half)
    return Rate(right=right, total=total, low=low, high=high)


def match(points: Sequence[Point], regions: Sequence[Region]) -> int:
    """Return how many points can each be given a thing of its own that it lies on (a largest matching).

    A second point on the same thing is wrong, and a point where two things overlap serves whichever needs it.
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


@dataclass(frozen=True)
class Tally:
    """Points and things, added up."""

    hits: int = 0
    points: int = 0
    things: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.hits + other.hits, self.points + other.points, self.things + other.things
        )

    @property
    def f1(self) -> float | None:
        """2 hits / (points + things); None where there was nothing to find and nothing was said."""
        both = self.points + self.things
        return 2 * self.hits / both if both else None


def f1_interval(
    tallies: Sequence[Tally], *, draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the pooled F1, drawing whole questions; (0, 1) for none."""
    if not tallies:
        return 0.0, 1.0
    table = np.array([(t.hits, t.points + t.things) for t in tallies], dtype=np.float64)
    picks = np.random.default_rng(seed).integers(0, len(table), (draws, len(table)))
    sums = table[picks].sum(1)
    values = np.divide(2 * sums[:, 0], sums[:, 1], out=np.zeros(draws), where=sums[:, 1] > 0)
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
