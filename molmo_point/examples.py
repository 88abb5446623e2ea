"""Questions with known answers: the input of an evaluation.

All coordinates are `norm`: 0-1 of the image, origin top left, x right, y down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from molmo_point.errors import UsageError
from molmo_point.image_like import ImageLike

MODES = ("point", "count")


class Region(Protocol):
    """The region of one object."""

    def contains(self, x: float, y: float) -> bool:
        """Return whether a point is on the object."""

    @property
    def center(self) -> tuple[float, float]:
        """Best position to point at, (x, y)."""


@dataclass(frozen=True)
class Box:
    """A rectangle including its edges; left <= right, top <= bottom."""

    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self) -> None:
        ordered = 0 <= self.left <= self.right <= 1 and 0 <= self.top <= self.bottom <= 1
        if not ordered:
            raise UsageError(
                f"expected a box with 0 <= left <= right <= 1 and 0 <= top <= bottom <= 1, got {self}"
            )

    def contains(self, x: float, y: float) -> bool:
        return self.left <= x <= self.right and self.top <= y <= self.bottom

    @property
    def center(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2


class Mask:
    """A region of any shape.

    Args:
        inside: (H, W) bool, True on the object; row 0 is the top.
        center: Best position to point at, (x, y); None for the centroid.
    """

    def __init__(
        self, inside: np.ndarray[Any, Any], center: tuple[float, float] | None = None
    ) -> None:
        if inside.ndim != 2 or inside.dtype != np.bool_ or 0 in inside.shape:
            raise UsageError(
                f"expected a mask (H, W) of bool, got shape {inside.shape} of {inside.dtype}"
            )
        self.inside = inside
        self._center = center

    def contains(self, x: float, y: float) -> bool:
        height, width = self.inside.shape
        # The far edge belongs to the last pixel.
        column, row = min(int(x * width), width - 1), min(int(y * height), height - 1)
        return bool(self.inside[row, column])

    @property
    def center(self) -> tuple[float, float]:
        if self._center is not None:
            return self._center
        rows, columns = np.nonzero(self.inside)
        height, width = self.inside.shape
        return float((columns.mean() + 0.5) / width), float((rows.mean() + 0.5) / height)


@dataclass(frozen=True, eq=False)
class Example:
    """A question with its answer.

    Attributes:
        image: Anything that `load_image` reads. Consecutive examples with the identical object share one opened view.
        query: The query.
        regions: Regions of the matching objects; empty = nothing matches.
        mode: "point" or "count".
        group: Its group in the report, e.g. "synonym".
        source: Where it came from, e.g. "labels.jsonl:12"; empty for a drawn one.
        count: Number of matching objects where `regions` has not one for each: none at all, or one of all together. None =
            the number of regions.
    """

    image: ImageLike
    query: str
    regions: Sequence[Region]
    mode: Literal["point", "count"] = "point"
    group: str = ""
    source: str = ""
    count: int | None = None

    @property
    def things(self) -> int:
        """Number of matching objects."""
        return len(self.regions) if self.count is None else self.count

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UsageError(
                f"expected the mode of a question to be {' or '.join(MODES)}, got {self.mode!r}"
            )
