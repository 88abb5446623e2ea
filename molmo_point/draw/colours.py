"""Colours of labels: one for each, told apart by everybody, and not the colour of what the points lie on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from molmo_point.draw.shapes import Colour
from molmo_point.images import Array

PALETTE: tuple[Colour, ...] = (
    (213, 94, 0),
    (0, 114, 178),
    (240, 228, 66),
    (0, 158, 115),
    (86, 180, 233),
    (204, 121, 167),
    (230, 159, 0),
)
"""Okabe and Ito's colours: people with any kind of colour vision tell them apart. One for each label, in order of appearance."""

OTHERS: Colour = (200, 204, 212)
"""For labels beyond the palette in a legend."""

ENOUGH = 90.0
"""From this distance on (`_distance`; 765 between black and white) a colour stands out from what is behind it."""

_LOOKS = 16
"""Points of a label whose surroundings are looked at."""


def colours_of(labels: Sequence[str], around: Sequence[Colour]) -> dict[str, Colour]:
    """Return a colour for each label.

    The palette is gone through in order; a colour that is much like what surrounds the label's points waits for another label.

    Args:
        labels: Of the points.
        around: What surrounds each point, on average.
    """
    behind: dict[str, list[Colour]] = {}
    for label, colour in zip(labels, around, strict=True):
        behind.setdefault(label, []).append(colour)
    chosen: dict[str, Colour] = {}
    free = list(PALETTE)
    for label, backgrounds in behind.items():
        looks = backgrounds[:_LOOKS]
        contrast = {
            colour: float(np.median([_distance(colour, back) for back in looks]))
            for colour in free
        }
        fitting = [colour for colour in free if contrast[colour] >= ENOUGH]
        chosen[label] = fitting[0] if fitting else max(free, key=lambda colour: contrast[colour])
        free.remove(chosen[label])
        free = free or list(PALETTE)
    return chosen


def surroundings(
    pixels: Array, places: Sequence[tuple[float, float]], reach: float
) -> list[Colour]:
    """Return the mean colour of the square of half side `reach` around each place, cut at the image's edges."""
    height, width = pixels.shape[:2]
    means: list[Colour] = []
    for x, y in places:
        left, top = max(0, int(x - reach)), max(0, int(y - reach))
        right, bottom = min(width, int(x + reach) + 1), min(height, int(y + reach) + 1)
        patch = pixels[min(top, height - 1) : bottom, min(left, width - 1) : right]
        red, green, blue = (int(value) for value in patch.reshape(-1, 3).mean(axis=0))
        means.append((red, green, blue))
    return means


def _distance(one: Colour, other: Colour) -> float:
    """Return how different two colours look: the "redmean" approximation of a perceptual distance."""
    mean = (one[0] + other[0]) / 2
    red, green, blue = (a - b for a, b in zip(one, other, strict=True))
    weighted = (2 + mean / 256) * red**2 + 4 * green**2 + (2 + (255 - mean) / 256) * blue**2
    return float(weighted**0.5)
