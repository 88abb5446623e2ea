"""Whether a camera file makes sense by itself, and whether it fits pictures of a board."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from molmo_calibration.arrays import FloatArray
from molmo_calibration.camera import Camera
from molmo_calibration.detection import Detection, check_sizes
from molmo_calibration.errors import InvalidArgumentError
from molmo_calibration.pose import board_pose, squared_errors

__all__ = ["check_camera", "check_pictures"]


def check_camera(camera: Camera) -> tuple[str, ...]:
    """What is odd about a camera, in sentences; empty if nothing is."""
    findings = []
    width, height = camera.image_size
    fx, fy, _ = np.diag(camera.image_matrix)
    cx, cy = camera.image_matrix[:2, 2]
    if not 0.9 < abs(fx / fy) < 1.1:
        findings.append(
            f"fx and fy differ by more than a tenth ({fx:.1f}, {fy:.1f}): pixels of ordinary "
            "sensors are square"
        )
    if not (0.25 * width < cx < 0.75 * width and 0.25 * height < cy < 0.75 * height):
        findings.append(
            f"the centre ({cx:.1f}, {cy:.1f}) is far from the middle of {width} x {height} pixels:"
            " was the file made for another resolution or a crop?"
        )
    if not np.isfinite(camera.ray(_rim(width, height))).all():
        findings.append(
            "parts of the rim of the picture have no ray: the distortion folds over inside the "
            "picture, so it was fitted without corners there"
        )
    return tuple(findings)


def check_pictures(camera: Camera, detections: Sequence[Detection]) -> float:
    """Rms error in pixels on pictures of a board, each with only its pose fitted.

    Returns:
        Pixels; infinite if the lens has no ray for a corner that was found.

    Raises:
        InvalidArgumentError: no pictures, or of another size than the camera's.
    """
    if not detections:
        raise InvalidArgumentError("the board was found in none of the pictures")
    size = check_sizes(detections)
    if size != camera.image_size:
        raise InvalidArgumentError(
            f"the pictures are {size[0]} x {size[1]}, the camera file is for "
            f"{camera.image_size[0]} x {camera.image_size[1]}; resize the camera with the pictures"
        )
    squares = [squared_errors(camera, d, board_pose(camera, d)) for d in detections]
    return float(np.sqrt(np.concatenate(squares).mean()))


def _rim(width: int, height: int) -> FloatArray:
    x, y = np.linspace(0, width - 1, 20), np.linspace(0, height - 1, 20)
    top, bottom = np.column_stack([x, 0 * x]), np.column_stack([x, 0 * x + height - 1])
    left, right = np.column_stack([0 * y, y]), np.column_stack([0 * y + width - 1, y])
    return np.concatenate([top, bottom, left, right])
