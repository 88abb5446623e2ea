"""The points of overlapping tiles as points of the whole image: a thing that two tiles saw is counted once.

Two points of different tiles are taken for one thing where that explains them better than two things do: the density of their
difference under the sum of their covariances is compared with the density of things around them. Among all pairs of a tile and
those before it, the assignment with the largest sum of log likelihood ratios is chosen (linear sum assignment), so no radius is
fixed and no point has two partners.

A tile's edge cuts things. Up to half a thing from an inner edge a point is the centre of what is visible of it, and its
covariance grows by the offset that this may have; the neighbour sees that thing whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from molmo_point.counting.grid import OVERLAP, Size, Tile
from molmo_point.counting.spacing import median_spacing
from molmo_point.install import import_failure
from molmo_point.points import Point, Pointing

Floats = NDArray[np.float64]

UNKNOWN_DEVIATION = 0.01
"""Standard deviation of a point without covariance, as a share of its tile's side."""

SLACK = 0.04
"""Added to a point's standard deviation, as a share of its tile's side: two looks at one thing differ by more than either
covariance says, since covariances are calibrated on whole images. Measured with `nano` (docs/counting.md)."""


LEAST = np.diag([1e-6, 1e-6])
"""Pixels squared, added to covariances before they are inverted: one may be singular."""


@dataclass(frozen=True)
class SeenPoint:
    """A point in pixels of the whole image.

    Attributes:
        point: As the tile's answer holds it.
        position: (x, y) in continuous pixels [2].
        covariance: In pixels squared [2, 2].
        slack: Added to it where it is compared with points of other tiles [2, 2].
        density: Things per square pixel in its tile.
    """

    point: Point
    position: Floats
    covariance: Floats
    slack: Floats
    density: float


@dataclass(frozen=True)
class Merged:
    """The points of all tiles.

    Attributes:
        points: In norm units of the whole image, in the order of the tiles.
        duplicates: Number of points that were taken for one with a point of another tile.
    """

    points: tuple[Point, ...]
    duplicates: int


def merge(answers: Iterable[tuple[Tile, Pointing]], size: Size) -> Merged:
    """Return the points of the tiles' answers in the whole image, each thing once.

    Args:
        answers: Each tile with its answer, whose points are in norm units of the tile.
        size: (width, height) of the whole image in pixels.

    Raises:
        MissingExtra: scipy is not installed.
    """
    kept: list[SeenPoint] = []
    duplicates = 0
    for tile, answer in answers:
        seen = _in_image(tile, answer, size)
        pairs = same_things(kept, seen)
        for first, second in pairs:
            kept[first] = _fused(kept[first], seen[second])
        taken = {second for _, second in pairs}
        kept += [one for number, one in enumerate(seen) if number not in taken]
        duplicates += len(pairs)
    points = tuple(_in_norm(one, size, index) for index, one in enumerate(kept))
    return Merged(points, duplicates)


def same_things(first: Sequence[SeenPoint], second: Sequence[SeenPoint]) -> list[tuple[int, int]]:
    """Return the pairs (index in `first`, index in `second`) that are one thing: the most likely assignment."""
    if not first or not second:
        return []
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError as error:
        raise import_failure(error, "scipy", "count", "Counting in tiles") from error
    gain = np.maximum(_log_ratios(first, second), 0.0)
    rows, columns = linear_sum_assignment(gain, maximize=True)
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if gain[r, c] > 0]


def _log_ratios(first: Sequence[SeenPoint], second: Sequence[SeenPoint]) -> Floats:
    """Log likelihood ratio of "one thing" against "two things" for each pair [N, M]."""
    difference = np.array([one.position for one in first])[:, None] - [o.position for o in second]
    spreads = [np.array([one.covariance + one.slack for one in side]) for side in (first, second)]
    covariance = spreads[0][:, None] + spreads[1]
    xx, xy, yy = covariance[..., 0, 0], covariance[..., 0, 1], covariance[..., 1, 1]
    determinant = xx * yy - xy * xy
    x, y = difference[..., 0], difference[..., 1]
    distance = (yy * x * x - 2 * xy * x * y + xx * y * y) / determinant
    together = -0.5 * distance - np.log(2 * math.pi * np.sqrt(determinant))
    density = np.array([one.density for one in first])[:, None] + [o.density for o in second]
    ratios: Floats = together - np.log(density / 2)
    return ratios


def _in_image(tile: Tile, answer: Pointing, size: Size) -> list[SeenPoint]:
    """Return the points of one tile in pixels of the whole image."""
    density = max(1, answer.count) / (tile.width * tile.height)
    side = np.array([tile.width, tile.height], float)
    spacing = (median_spacing(answer) or 1.0) * side.max()
    # A thing larger than the overlap is whole in no tile; nothing is assumed to be.
    half = 0.5 * np.minimum(spacing, OVERLAP * side)
    slack = np.diag((SLACK * side) ** 2)
    seen = []
    for point in answer.points:
        position = np.array([tile.left, tile.top]) + side * [point.x, point.y]
        inside = _distance_to_inner_edge(position, tile, size)
        covariance = np.diag((UNKNOWN_DEVIATION * side) ** 2)
        if point.covariance is not None:
            xx, xy, yy = point.covariance
            covariance = np.array([[xx, xy], [xy, yy]]) * np.outer(side, side)
        # Two standard deviations of what an edge may hide.
        covariance += np.diag((np.maximum(half - inside, 0.0) / 2) ** 2)
        seen.append(SeenPoint(point, position, covariance, slack, density))
    return seen


def _distance_to_inner_edge(position: Floats, tile: Tile, size: Size) -> Floats:
    """Return the distance [2] along x and y from the nearer edge inside the image, in pixels; infinity where there is none."""
    distances = [
        (position[0] - tile.left if tile.left > 0 else np.inf),
        (tile.right - position[0] if tile.right < size[0] else np.inf),
        (position[1] - tile.top if tile.top > 0 else np.inf),
        (tile.bottom - position[1] if tile.bottom < size[1] else np.inf),
    ]
    return np.array([min(distances[:2]), min(distances[2:])])


def _fused(first: SeenPoint, second: SeenPoint) -> SeenPoint:
    """One thing seen twice: the mean weighted by precision, its covariance, and the higher score."""
    precisions = [np.linalg.inv(one.covariance + LEAST) for one in (first, second)]
    covariance = np.linalg.inv(precisions[0] + precisions[1])
    position = covariance @ (precisions[0] @ first.position + precisions[1] @ second.position)
    scores = [one.point.score for one in (first, second) if one.point.score is not None]
    point = first.point.model_copy(update={"score": max(scores, default=None)})
    density = max(first.density, second.density)
    return SeenPoint(point, position, covariance, first.slack, density)


def _in_norm(seen: SeenPoint, size: Size, index: int) -> Point:
    side = np.array(size, float)
    x, y = np.clip(seen.position / side, 0.0, 1.0)
    covariance = None
    if seen.point.covariance is not None:
        scaled = seen.covariance / np.outer(side, side)
        covariance = (float(scaled[0, 0]), float(scaled[0, 1]), float(scaled[1, 1]))
    return Point(
        x=float(x),
        y=float(y),
        label=seen.point.label,
        score=seen.point.score,
        covariance=covariance,
        index=index,
    )
