"""Points that the model writes twice.

In crowds a model loses track of what it has pointed at and comes back to it. How near is too near was measured on synthetic
crowds (`python -m benchmarks.repeats`, docs/models.md): a point is a repeat of an earlier one if both coordinates differ by at
most NEAR_PERCENT, or, for calibrated covariances, if it lies within NEAR_DEVIATIONS standard deviations.
"""

from __future__ import annotations

import math

from molmo_point.points import Point

NEAR_PERCENT = 0.3
"""Of the picture's side: three units of the last digit that the model writes."""

NEAR_DEVIATIONS = 0.5
"""Mahalanobis distance under the mean of both covariances."""


class Repeats:
    """Tells new points from repeats, in the order in which they are written.

    Args:
        calibrated: Whether covariances keep what they promise; raw ones are too wide to tell neighbours apart.

    Attributes:
        groups: For each point so far the number of the distinct point it is, counted from 0.
    """

    def __init__(self, *, calibrated: bool) -> None:
        self._calibrated = calibrated
        self._distinct: list[Point] = []
        self.groups: list[int] = []

    def is_new(self, point: Point) -> bool:
        """Take the next point; return whether it is none of the earlier ones."""
        known = (group for group, other in enumerate(self._distinct) if self.same(point, other))
        group = next(known, len(self._distinct))
        self.groups.append(group)
        if group < len(self._distinct):
            return False
        self._distinct.append(point)
        return True

    @property
    def count(self) -> int:
        """Number of distinct points."""
        return len(self._distinct)

    @property
    def firsts(self) -> list[int]:
        """For each distinct point the number of its first writing."""
        return [self.groups.index(group) for group in range(self.count)]

    def distinct(self, points: list[Point]) -> tuple[Point, ...]:
        """Return the distinct ones of all points: place and label as first written, the best score of all writings."""
        kept = []
        for group, first in enumerate(self.firsts):
            scores = [
                point.score
                for point, own in zip(points, self.groups, strict=True)
                if own == group and point.score is not None
            ]
            best = max(scores, default=None)
            kept.append(points[first].model_copy(update={"index": group, "score": best}))
        return tuple(kept)

    def same(self, point: Point, other: Point) -> bool:
        """Whether both are at one place."""
        x, y = point.x - other.x, point.y - other.y
        # Half a unit of the last digit against rounding.
        if 100 * max(abs(x), abs(y)) <= NEAR_PERCENT + 0.05:
            return True
        if not self._calibrated or point.covariance is None or other.covariance is None:
            return False
        xx, yy = (point.covariance[axis] + other.covariance[axis] for axis in (0, 2))
        return xx > 0 < yy and math.sqrt(2 * (x * x / xx + y * y / yy)) <= NEAR_DEVIATIONS
