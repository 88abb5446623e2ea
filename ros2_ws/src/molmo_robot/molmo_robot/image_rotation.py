"""Cameras mounted sideways: turn the picture upright for the model, and its points back to the picture as published."""

from __future__ import annotations

import numpy as np
from molmo_calibration import ImageMap, rotate

from molmo_point.images import Array
from molmo_point.points import Point, Pointing


def turned(image: Array, degrees: int) -> Array:
    """Turn (H, W, 3) clockwise by 0, 90, 180 or 270 degrees; a copy unless the angle is 0."""
    return image if degrees == 0 else np.ascontiguousarray(np.rot90(image, -degrees // 90))


def turned_back(pointing: Pointing, degrees: int, image_size: tuple[int, int]) -> Pointing:
    """Express the points of an upright picture in the picture as published; undoes what `turned` did to the pixels.

    Args:
        pointing: About the picture after `turned`.
        degrees: As given to `turned`.
        image_size: (width, height) of the picture as published.
    """
    if degrees == 0:
        return pointing
    back = rotate(image_size, degrees).inverse()
    points = tuple(turned_point(point, back) for point in pointing.points)
    return pointing.replace(points=points, image_size=image_size)


def turned_point(point: Point, back: ImageMap) -> Point:
    """Express one point of the upright picture in the picture as published; `back` maps the one to the other."""
    x, y = back.norm((point.x, point.y))
    changes: dict[str, object] = {
        # Exact up to the last bit; the last bit must not push a point off the picture.
        "x": min(max(float(x), 0.0), 1.0),
        "y": min(max(float(y), 0.0), 1.0),
    }
    if point.covariance is not None:
        xx, xy, yy = point.covariance
        # In norm a quarter turn swaps the axes; the lengths of the sides drop out.
        linear = np.sign(np.round(back.matrix[:2, :2]))
        turned_covariance = linear @ np.array([[xx, xy], [xy, yy]]) @ linear.T
        (xx, xy), (_, yy) = turned_covariance.tolist()
        changes["covariance"] = (xx, xy, yy)
    return point.model_copy(update=changes)
