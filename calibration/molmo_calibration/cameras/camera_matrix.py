"""Checks of a camera's matrix K and of the region of interest that a driver delivers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molmo_calibration.arrays import FloatArray
from molmo_calibration.errors import InvalidArgumentError, NotCalibratedError


@dataclass(frozen=True)
class Roi:
    """The part of the sensor that is sent, in raw full-resolution pixels (REP 104)."""

    x_offset: int
    y_offset: int
    width: int
    height: int


LEAST_FOCAL = 0.05
"""Of the longer side of the image. A fisheye of 220 degrees whose whole circle is seen has 0.26; less than 0.05 is no lens."""


def check_matrix(matrix: FloatArray, width: int, height: int) -> FloatArray:
    if matrix[0, 0] == 0:
        raise NotCalibratedError(
            "K[0] is 0, which says that this camera is not calibrated; calibrate it "
            "(molmo-calibrate intrinsics FOLDER) or give the driver its calibration file"
        )
    rest = matrix - np.diag(np.diag(matrix))
    rest[:2, 2] = 0.0
    if matrix[1, 1] == 0 or matrix[2, 2] != 1 or rest.any():
        raise InvalidArgumentError(
            "K must be [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] with fx, fy not 0, "
            f"got {matrix.tolist()}"
        )
    if min(abs(matrix[0, 0]), abs(matrix[1, 1])) < LEAST_FOCAL * max(width, height):
        raise InvalidArgumentError(
            f"K must be in pixels of the {width} x {height} image, got the focal lengths {matrix[0, 0]:g} and "
            f"{matrix[1, 1]:g}; if they are fractions of the image's size, multiply fx and cx by {width}, fy and cy by "
            f"{height}; if they are millimetres, divide by the size of a pixel"
        )
    return matrix


def check_roi(roi: Roi | None, width: int, height: int) -> None:
    if roi is None:
        return
    inside = roi.x_offset + roi.width <= width and roi.y_offset + roi.height <= height
    if min(roi.x_offset, roi.y_offset) < 0 or min(roi.width, roi.height) < 1 or not inside:
        raise InvalidArgumentError(
            f"roi must lie inside the {width} x {height} image, got {roi}; its numbers are "
            "full-resolution pixels, before binning"
        )
