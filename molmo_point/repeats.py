"""Repeated points of an answer.

In crowds a model points at some objects twice; imported data repeats entries, too. A point is a repeat of an earlier one if both
coordinates differ by at most NEAR_PERCENT, or, with calibrated covariances, if it lies within NEAR_DEVIATIONS standard
deviations. The thresholds were measured on synthetic crowds (`python -m benchmarks.repeats`, docs/models.md).
"""

from __future__ import annotations

import math

from molmo_point.points import Point

NEAR_PERCENT = 0.35
"""Of the image's side: three units of the last digit that the model writes, and half a unit against rounding."""

SAME_PERCENT = 1e-6
"""Of the image's side: equal up to rounding."""

NEAR_DEVIATIONS = 0.5
"""Mahalanobis distance under the mean of both covariances."""


class Repeats:
    """Separates new points from repeats, in the order of the answer.

    Args:
        calibrated: Whether covariances are calibrated; raw ones are too wide to separate neighbours.
        near_percent: Largest distance along x and along y between a point and its repeat, in percent of the image's side.
        labelled: Points with different labels are never repeats of each other.

    Attributes:
        groups: For each point so far, the index of its distinct point.
    """

    def __init__(
        self, *, calibrated: bool, near_percent: float = NEAR_PERCENT, labelled: bool = False
    ) -> None:
        self._calibrated = calibrated
        self._near_percent = near_percent
        self._labelled = labelled
        self._distinct: list[Point] = []
        self.groups: list[int] = []

    def is_new(self, point: Point) -> bool:
        """Add the next point; return whether it is not a repeat."""
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
        """Index of the first occurrence of each distinct point."""
        return [self.groups.index(group) for group in range(self.count)]

    def distinct(self, points: list[Point]) -> tuple[Point, ...]:
        """Return the distinct points: position and label of the first occurrence, the highest score of all occurrences."""
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

    @property
    def repeated(self) -> int:
        """Number of points that were repeats."""
        return len(self.groups) - self.count

    def same(self, point: Point, other: Point) -> bool:
        """Return whether one point is a repeat of the other; never in another image or frame, or of another object."""
        if (point.image_index, point.track) != (other.image_index, other.track):
            return False
        if self._labelled and point.label != other.label:
            return False
        x, y = point.x - other.x, point.y - other.y
        if 100 * max(abs(x), abs(y)) <= self._near_percent:
            return True
        if not self._calibrated or point.covariance is None or other.covariance is None:
            return False
        xx, yy = (point.covariance[axis] + other.covariance[axis] for axis in (0, 2))
        return xx > 0 < yy and math.sqrt(2 * (x * x / xx + y * y / yy)) <= NEAR_DEVIATIONS
