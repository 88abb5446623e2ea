"""Cameras mounted sideways: rotate the image upright for the model, and its points back to the image as published."""

from __future__ import annotations

import numpy as np
from molmo_calibration import ImageMap, rotate

from molmo_point.images import Array
from molmo_point.points import Point, Pointing


def rotate_image(image: Array, degrees: int) -> Array:
    """Rotate (H, W, 3) clockwise by 0, 90, 180 or 270 degrees; a copy unless the angle is 0."""
    return image if degrees == 0 else np.ascontiguousarray(np.rot90(image, -degrees // 90))


def unrotate_points(pointing: Pointing, degrees: int, image_size: tuple[int, int]) -> Pointing:
    """Express the points of an upright image in the image as published; undoes what `rotate_image` did to the pixels.

    Args:
        pointing: About the image after `rotate_image`.
        degrees: As given to `rotate_image`.
        image_size: (width, height) of the image as published.
    """
    if degrees == 0:
        return pointing
    back = rotate(image_size, degrees).inverse()
    points = tuple(unrotate_point(point, back) for point in pointing.points)
    return pointing.replace(points=points, image_size=image_size)


def unrotate_point(point: Point, back: ImageMap) -> Point:
    """Express one point of the upright image in the image as published; `back` maps the one to the other."""
    x, y = back.norm((point.x, point.y))
    changes: dict[str, object] = {
        # Exact up to the last bit; the last bit must not push a point off the image.
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
