"""Labelled items as examples with regions, for scoring."""

from __future__ import annotations

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


def labelled_examples(items: Sequence[LabelledItem]) -> Iterator[Example]:
    """Yield the questions that are answered with points, in order; successive ones of an image share its object."""
    image: Path | bytes | None = None
    for item in items:
        if item.mode == "text":
            continue
        if item.image != image:
            image = item.image
        regions: list[Region] = [Box(*box) for box in item.boxes]
        if not regions:
            regions = [Disc(x, y) for x, y in item.points]
        yield Example(image, item.query, regions, item.mode, item.category)
