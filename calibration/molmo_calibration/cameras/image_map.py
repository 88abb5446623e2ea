"""Crop, resize, letterbox, flip and quarter turns: what they do to points and to a camera.

A map is affine between continuous pixels (`px`, corners on whole numbers) of a source and a target
image. In `px`, resizing is a plain multiplication, and every map here has an exact inverse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from molmo_calibration.arrays import (
    ArrayLike,
    FloatArray,
    as_finite,
    as_points,
    as_size,
    frozen,
    is_invertible,
)
from molmo_calibration.cameras.pixels import (
    matrix_px_from_uv,
    matrix_uv_from_px,
    norm_from_px,
    px_from_norm,
    px_from_uv,
    uv_from_px,
)
from molmo_calibration.errors import InvalidArgumentError


@dataclass(frozen=True, eq=False)
class ImageMap:
    """Where the pixels of one image are in another.

    Args:
        matrix: (3, 3) affine, px of the source to px of the target.
        source_size: (width, height) in pixels.
        target_size: (width, height) in pixels.
    """

    matrix: FloatArray
    source_size: tuple[int, int]
    target_size: tuple[int, int]

    def __post_init__(self) -> None:
        matrix = as_finite(self.matrix, "matrix", (3, 3))
        if (matrix[2] != [0, 0, 1]).any() or not is_invertible(matrix):
            raise InvalidArgumentError(
                f"an image map must be affine and invertible, got {matrix.tolist()}"
            )
        object.__setattr__(self, "matrix", frozen(matrix))
        object.__setattr__(self, "source_size", as_size(self.source_size, "source_size"))
        object.__setattr__(self, "target_size", as_size(self.target_size, "target_size"))

    def px(self, px: ArrayLike) -> FloatArray:
        """Continuous pixels (..., 2) of the source to those of the target."""
        points = as_points(px, "px", 2)
        return np.asarray(points @ self.matrix[:2, :2].T + self.matrix[:2, 2])

    def uv(self, uv: ArrayLike) -> FloatArray:
        """Pixel-centre coordinates (..., 2) of the source to those of the target."""
        return uv_from_px(self.px(px_from_uv(uv)))

    def norm(self, norm: ArrayLike) -> FloatArray:
        """Normalized (..., 2) of the source to normalized of the target."""
        return norm_from_px(self.px(px_from_norm(norm, self.source_size)), self.target_size)

    def covariance(self, covariance: ArrayLike) -> FloatArray:
        """A pixel covariance (2, 2) of the source, in pixels² of the target."""
        linear = self.matrix[:2, :2]
        return np.asarray(linear @ as_finite(covariance, "covariance", (2, 2)) @ linear.T)

    def inverse(self) -> ImageMap:
        """The map from the target back to the source."""
        return ImageMap(np.linalg.inv(self.matrix), self.target_size, self.source_size)

    def then(self, after: ImageMap) -> ImageMap:
        """This map followed by another one of the image it makes.

        Raises:
            InvalidArgumentError: `after` starts from an image of another size.
        """
        if after.source_size != self.target_size:
            raise InvalidArgumentError(
                f"the second map must start from an image of {self.target_size}, "
                f"got one that starts from {after.source_size}"
            )
        return ImageMap(after.matrix @ self.matrix, self.source_size, after.target_size)

    @property
    def uv_matrix(self) -> FloatArray:
        """(3, 3) the same map between pixel-centre coordinates."""
        return matrix_uv_from_px(self.matrix)


def identity(size: Any) -> ImageMap:
    """The map that changes nothing."""
    return ImageMap(np.eye(3), as_size(size, "size"), as_size(size, "size"))


def crop(size: Any, x: int, y: int, width: int, height: int) -> ImageMap:
    """Cut a window out of an image of `size` (width, height).

    Args:
        size: source size.
        x: columns cut off at the left; negative adds a border.
        y: rows cut off at the top; negative adds a border.
        width: of the window.
        height: of the window.
    """
    matrix = np.array([[1.0, 0.0, -x], [0.0, 1.0, -y], [0.0, 0.0, 1.0]])
    return ImageMap(matrix, as_size(size, "size"), as_size((width, height), "window"))


def resize(size: Any, target: Any, ros_convention: bool = False) -> ImageMap:
    """Scale an image from `size` to `target`, both (width, height).

    Args:
        size: source size.
        target: target size.
        ros_convention: mimic `image_proc`'s resize, which multiplies cx and cy by the scale and
            so moves the image by half a pixel's share (image_pipeline resize.cpp); off is the
            exact change that cv2.resize, Pillow and Torch make.
    """
    source, goal = as_size(size, "size"), as_size(target, "target")
    scale = np.diag([goal[0] / source[0], goal[1] / source[1], 1.0])
    return ImageMap(matrix_px_from_uv(scale) if ros_convention else scale, source, goal)


def letterbox(size: Any, target: Any) -> ImageMap:
    """Scale to fit inside `target` with the same shape, and centre it with borders.

    The scaled image has whole pixels and the borders whole pixels too, as everybody's
    letterbox code does it; odd pixels go to the right and the bottom.
    """
    source, goal = as_size(size, "size"), as_size(target, "target")
    ratio = min(goal[0] / source[0], goal[1] / source[1])
    inner = tuple(max(1, min(g, round(s * ratio))) for s, g in zip(source, goal, strict=True))
    left, top = (goal[0] - inner[0]) // 2, (goal[1] - inner[1]) // 2
    return resize(source, inner).then(crop(inner, -left, -top, *goal))


def flip(size: Any, horizontal: bool = True) -> ImageMap:
    """Mirror left-right, or top-bottom with `horizontal=False`."""
    width, height = as_size(size, "size")
    matrix = np.eye(3)
    if horizontal:
        matrix[0] = [-1.0, 0.0, width]
    else:
        matrix[1] = [0.0, -1.0, height]
    return ImageMap(matrix, (width, height), (width, height))


def rotate(size: Any, degrees_clockwise: int) -> ImageMap:
    """Turn an image by 0, 90, 180 or 270 degrees clockwise.

    Raises:
        InvalidArgumentError: another angle.
    """
    width, height = as_size(size, "size")
    turns: dict[int, list[list[float]]] = {
        0: [[1, 0, 0], [0, 1, 0]],
        90: [[0, -1, height], [1, 0, 0]],
        180: [[-1, 0, width], [0, -1, height]],
        270: [[0, 1, 0], [-1, 0, width]],
    }
    if degrees_clockwise not in turns:
        raise InvalidArgumentError(
            f"degrees_clockwise must be 0, 90, 180 or 270, got {degrees_clockwise!r}"
        )
    target = (height, width) if degrees_clockwise in (90, 270) else (width, height)
    matrix = np.array([*turns[degrees_clockwise], [0, 0, 1]], dtype=np.float64)
    return ImageMap(matrix, (width, height), target)
