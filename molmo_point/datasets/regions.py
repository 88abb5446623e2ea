"""Regions of labelled objects, and labelled items as examples with regions, for scoring."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from molmo_point.datasets.labelled import LabelledItem
from molmo_point.examples import Box, Example, Region

NEAR = 0.05
"""A point counts as right within this distance of a labelled one, as a share of the image's sides, where no box is known."""


@dataclass(frozen=True)
class Disc:
    """The surroundings of a labelled point.

    Attributes:
        x, y: Its centre, `norm`.
        radius: As a share of width and height.
    """

    x: float
    y: float
    radius: float = NEAR

    def contains(self, x: float, y: float) -> bool:
        return (x - self.x) ** 2 + (y - self.y) ** 2 <= self.radius**2

    @property
    def center(self) -> tuple[float, float]:
        return self.x, self.y


@dataclass(frozen=True)
class Polygons:
    """An object outlined by one or more polygons.

    Attributes:
        rings: For each polygon its corners (x, y), `norm`. A point is inside where it is inside of one of them (even-odd rule).
    """

    rings: tuple[tuple[tuple[float, float], ...], ...]

    def contains(self, x: float, y: float) -> bool:
        return any(_inside(ring, x, y) for ring in self.rings)

    @property
    def center(self) -> tuple[float, float]:
        """A point on the object: the mean of its largest polygon's corners where that is inside, else one found on a line."""
        ring = max(self.rings, key=_area)
        middle = (sum(x for x, _ in ring) / len(ring), sum(y for _, y in ring) / len(ring))
        if _inside(ring, *middle):
            return middle
        heights = sorted(y for _, y in ring)
        for low, high in itertools.pairwise(heights):
            crossings = sorted(_crossings(ring, (low + high) / 2))
            if high > low and len(crossings) > 1:
                return (crossings[0] + crossings[1]) / 2, (low + high) / 2
        return ring[0]


def _edges(ring: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float, float, float]]:
    for (x0, y0), (x1, y1) in zip(ring, (*ring[1:], ring[0]), strict=True):
        yield x0, y0, x1, y1


def _crossings(ring: Sequence[tuple[float, float]], y: float) -> list[float]:
    """Return where a horizontal line crosses a polygon's edges, x `norm`."""
    return [
        x0 + (x1 - x0) * (y - y0) / (y1 - y0)
        for x0, y0, x1, y1 in _edges(ring)
        if (y0 > y) != (y1 > y)
    ]


def _inside(ring: Sequence[tuple[float, float]], x: float, y: float) -> bool:
    return sum(x < crossing for crossing in _crossings(ring, y)) % 2 == 1


def _area(ring: Sequence[tuple[float, float]]) -> float:
    return abs(sum(x0 * y1 - x1 * y0 for x0, y0, x1, y1 in _edges(ring)))


def labelled_examples(items: Sequence[LabelledItem]) -> Iterator[Example]:
    """Yield the questions that are answered with points, in order; successive ones of an image share its object."""
    image: Path | bytes | None = None
    for item in items:
        if item.mode == "text":
            continue
        if item.image != image:
            image = item.image
        regions: list[Region] = [*item.regions] or [Box(*box) for box in item.boxes]
        if not regions:
            regions = [Disc(x, y) for x, y in item.points]
        yield Example(
            image, item.query, regions, item.mode, item.category, item.source, item.count
        )
