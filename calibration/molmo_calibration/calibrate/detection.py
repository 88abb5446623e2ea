"""Corners of a board found in an image: the value that calibration starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from molmo_calibration.arrays import FloatArray, as_points
from molmo_calibration.errors import BoardNotFoundError, InvalidArgumentError


@dataclass(frozen=True, eq=False)
class Detection:
    """A board seen in an image.

    Args:
        board_points: (n, 3) metres in the board's frame.
        pixels: (n, 2) uv of the same corners.
        image_size: (width, height) of the image.
        name: file or other name of the image.

    Raises:
        InvalidArgumentError: wrong shapes, or too few corners.
        BoardNotFoundError: the corners are mirrored.
    """

    board_points: FloatArray
    pixels: FloatArray
    image_size: tuple[int, int]
    name: str = ""

    def __post_init__(self) -> None:
        points = as_points(self.board_points, "board_points", 3)
        pixels = as_points(self.pixels, "pixels", 2)
        if points.ndim != 2 or len(points) != len(pixels) or len(points) < 4:
            raise InvalidArgumentError(
                "a detection needs at least 4 corners, as many board points as pixels, got "
                f"{points.shape} and {pixels.shape}"
            )
        if not (np.isfinite(points).all() and np.isfinite(pixels).all()):
            raise InvalidArgumentError(f"the corners of {self.name or 'a board'} must not be NaN")
        if handedness(points, pixels) < 0:
            raise BoardNotFoundError(
                f"the board in {self.name or 'the image'} is mirrored: going along its rows and "
                "down its columns turns the wrong way. Is the image flipped (a selfie camera, a "
                "mirror), or are board points and pixels in different orders?"
            )
        object.__setattr__(self, "board_points", points)
        object.__setattr__(self, "pixels", pixels)


def handedness(points: FloatArray, pixels: FloatArray) -> float:
    """Determinant of the best affine map from the board to the image: below 0 is a mirror."""
    design = np.column_stack([points[:, :2], np.ones(len(points))])
    linear = np.linalg.lstsq(design, pixels, rcond=None)[0][:2]
    return float(np.linalg.det(linear))


def check_sizes(detections: Sequence[Detection]) -> tuple[int, int]:
    """The one image size of all detections.

    Raises:
        InvalidArgumentError: images of different sizes.
    """
    sizes = {detection.image_size for detection in detections}
    if len(sizes) != 1:
        raise InvalidArgumentError(
            f"all images must have one size, got {sorted(sizes)}; one calibration is for one "
            "resolution"
        )
    return sizes.pop()
