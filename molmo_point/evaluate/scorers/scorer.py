"""What a scorer is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from molmo_point.datasets.masks import StoredMask
from molmo_point.examples import Example, Region
from molmo_point.points import Pointing, Status

Average = Literal["items", "categories"]

Values = Mapping[str, float]
"""Values of one item by name, e.g. {"precision": 0.5, "recall": 1.0, "f1": 0.667}."""


@dataclass(frozen=True)
class Scorer:
    """How an owner scores a benchmark.

    Attributes:
        name: As reports have it.
        source: Whose definition it is: repository, file and commit.
        definition: In one sentence.
        layouts: Names of the layouts it is for.
        main: The value that is published.
        average: How the published number is made: the mean over all items, or over the means of the categories.
        judge: Returns the values of one item, None where the scorer says nothing about it. The answer is None after an error.
    """

    name: str
    source: str
    definition: str
    layouts: frozenset[str]
    main: str
    average: Average
    judge: Callable[[Example, Pointing | None], Values | None]


def answered(pointing: Pointing | None) -> list[tuple[float, float]]:
    """Return the points of an answer, (x, y) `norm`; none of one that is malformed or an error."""
    if pointing is None or pointing.status is Status.MALFORMED:
        return []
    return [(point.x, point.y) for point in pointing.points]


def wrong_format(pointing: Pointing | None) -> float:
    """Return 1 where an answer cannot be read as points or absence, or is an error; else 0."""
    return float(pointing is None or pointing.status is Status.MALFORMED)


def mask_of(region: Region) -> StoredMask | None:
    """Return a region that is a mask, else None."""
    return region if isinstance(region, StoredMask) else None
