"""A map of probabilities as a layer of colour."""

from __future__ import annotations

import numpy as np
from PIL import Image

from molmo_point.point_map import PointMap

COLOUR = (255, 64, 0)
MOST_OPAQUE = 0.7
"""Opacity 0-1 of the likeliest place."""


def heat(point_map: PointMap, size: tuple[int, int]) -> Image.Image:
    """Return an RGBA layer of (width, height) pixels: the likelier a place, the more opaque.

    Opacity is the square root of the probability relative to the likeliest place, so that lesser modes can be seen.
    """
    relative = point_map.probabilities / max(float(point_map.probabilities.max()), 1e-12)
    levels = np.rint(255 * MOST_OPAQUE * np.sqrt(relative)).astype(np.uint8)
    alpha = Image.fromarray(levels).resize(size, Image.Resampling.BILINEAR)
    layer = Image.new("RGBA", size, COLOUR)
    layer.putalpha(alpha)
    return layer
