"""Where labels go: near their points, off each other and off the markers. Pure geometry, in pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Box(NamedTuple):
    """A rectangle [left, right) x [top, bottom) in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Whether the two share any area."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )

    def within(self, other: Box) -> bool:
        """Whether this box lies inside the other."""
        return (
            self.left >= other.left
            and self.top >= other.top
            and self.right <= other.right
            and self.bottom <= other.bottom
        )

    def grown(self, margin: float) -> Box:
        """Return the box with a margin around it."""
        return Box(
            self.left - margin, self.top - margin, self.right + margin, self.bottom + margin
        )

    def nearest(self, x: float, y: float) -> tuple[float, float]:
        """Return the place of the box that is nearest to (x, y)."""
        return min(max(x, self.left), self.right), min(max(y, self.top), self.bottom)


_RINGS = (0.0, 1.2, 2.6, 4.4, 6.6)
"""How far from its marker a label may go, in heights of itself."""

_DIRECTIONS = (0, 180, 270, 90, 315, 45, 225, 135, 345, 15, 195, 165)
"""Degrees, clockwise from the right: the sides first, the corners after."""


def place_labels(
    places: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    radius: float,
    canvas: Box,
    taken: Sequence[Box] = (),
    *,
    near: bool = False,
) -> list[Box | None]:
    """Find a place for each label.

    Args:
        places: Centres of the markers.
        sizes: (width, height) of the labels, one for each marker.
        radius: Of the markers; labels cover none of them.
        canvas: Labels stay inside.
        taken: Other places that must stay free.
        near: Only right beside the marker, where no line is needed to see whose label it is.

    Returns:
        For each label its box, or None where every place within reach is taken. No two boxes meet, none meets a marker or
        what was taken.
    """
    markers = [Box(x - radius, y - radius, x + radius, y + radius) for x, y in places]
    occupied = [*taken, *markers]
    boxes: list[Box | None] = []
    for place, size in zip(places, sizes, strict=True):
        free = (
            box
            for box in _candidates(place, size, radius, _RINGS[:1] if near else _RINGS)
            if box.within(canvas) and not any(box.meets(other) for other in occupied)
        )
        box = next(free, None)
        boxes.append(box)
        if box is not None:
            occupied.append(box)
    return boxes


def quiet_corner(
    size: tuple[float, float], places: Sequence[tuple[float, float]], margin: float, canvas: Box
) -> Box:
    """Return the box of that size in the corner of the canvas that has the fewest places near it; top left is preferred."""
    width, height = size
    lefts = (canvas.left + margin, canvas.right - margin - width)
    tops = (canvas.top + margin, canvas.bottom - margin - height)
    corners = [Box(left, top, left + width, top + height) for top in tops for left in lefts]

    def crowd(box: Box) -> int:
        near = box.grown(height)
        return sum(near.meets(Box(x, y, x + 1, y + 1)) for x, y in places)

    return min(corners, key=crowd)


def marker_radius(
    places: Sequence[tuple[float, float]], wanted: float, least: float = 0.5
) -> float:
    """Return the radius at which most markers leave each other room: the wanted one, in a crowd down to `least` of it."""
    if len(places) < 2:
        return wanted
    gaps = sorted(
        min(math.dist(one, other) for m, other in enumerate(places) if m != n)
        for n, one in enumerate(places)
    )
    return max(least * wanted, min(wanted, 0.45 * gaps[len(gaps) // 4]))


def _candidates(
    place: tuple[float, float],
    size: tuple[float, float],
    radius: float,
    rings: Sequence[float],
) -> Iterator[Box]:
    (x, y), (width, height) = place, size
    gap = 0.35 * radius
    for ring in rings:
        reach = radius + gap + ring * height
        for degrees in _DIRECTIONS:
            across, down = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
            # The edge that faces the marker lies at `reach`; straight up and down the label is centred.
            centre_x = x + across * reach + _sign(across) * width / 2
            centre_y = y + down * reach + _sign(down) * height / 2
            yield Box(
                centre_x - width / 2,
                centre_y - height / 2,
                centre_x + width / 2,
                centre_y + height / 2,
            )


def _sign(value: float) -> float:
    return 0.0 if abs(value) < 1e-9 else math.copysign(1.0, value)
