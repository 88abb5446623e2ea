"""How close the points of an answer lie: what tells the size of things where nothing else does."""

from __future__ import annotations

import numpy as np

from molmo_point.points import Pointing


def median_spacing(pointing: Pointing) -> float | None:
    """Return the median distance of a point to its nearest other one, as a share of the image's longer side; None below 2."""
    if pointing.count < 2:
        return None
    places = np.array(pointing.pixels()) / max(pointing.image_size)
    distances = np.linalg.norm(places[:, None] - places, axis=-1)
    np.fill_diagonal(distances, np.inf)
    return float(np.median(distances.min(axis=1)))
