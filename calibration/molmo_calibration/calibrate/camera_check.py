"""Plausibility of a camera file, and its reprojection error on images of a board."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from molmo_calibration.arrays import FloatArray
from molmo_calibration.calibrate.detection import Detection, check_sizes
from molmo_calibration.calibrate.intrinsics import calibrate_intrinsics
from molmo_calibration.calibrate.pose import board_pose, squared_errors
from molmo_calibration.cameras.camera import Camera
from molmo_calibration.cameras.plausible import off_centre
from molmo_calibration.errors import DegenerateError, InvalidArgumentError

# A camera of the images' own has at least eight parameters more to fit them with.
_ENOUGH_IMAGES = 8
_MUCH_BETTER = 1.4
_NOISE_PX = 0.03
_FAR_SIGMAS = 5.0


def check_camera(camera: Camera) -> tuple[str, ...]:
    """Sentences about implausible values of a camera; empty if there are none."""
    findings = []
    width, height = camera.image_size
    fx, fy, _ = np.diag(camera.image_matrix)
    if not 0.9 < abs(fx / fy) < 1.1:
        findings.append(
            f"fx and fy differ by more than a tenth ({fx:.1f}, {fy:.1f}): pixels of ordinary "
            "sensors are square"
        )
    if centre := off_centre(camera):
        findings.append(centre)
    if not np.isfinite(camera.ray(_rim(width, height))).all():
        findings.append(
            "parts of the rim of the image have no ray: the distortion folds over inside the "
            "image, so it was fitted without corners there"
        )
    return tuple(findings)


def check_images(camera: Camera, detections: Sequence[Detection]) -> float:
    """Rms error in pixels on images of a board, each with only its pose fitted.

    Returns:
        Pixels; infinite if the lens has no ray for a corner that was found.

    Raises:
        InvalidArgumentError: no images, or of another size than the camera's.
    """
    if not detections:
        raise InvalidArgumentError("the board was found in none of the images")
    size = check_sizes(detections)
    if size != camera.image_size:
        raise InvalidArgumentError(
            f"the images are {size[0]} x {size[1]}, the camera file is for "
            f"{camera.image_size[0]} x {camera.image_size[1]}; resize the camera with the images"
        )
    squares = [squared_errors(camera, d, board_pose(camera, d)) for d in detections]
    return float(np.sqrt(np.concatenate(squares).mean()))


def better_camera(camera: Camera, detections: Sequence[Detection]) -> str:
    """A sentence if a camera calibrated from these images alone fits much better; else "".

    With the poses of the board free, another camera's images still fit to half a pixel; a camera
    of their own tells it. Needs eight images.
    """
    if len(detections) < _ENOUGH_IMAGES:
        return ""
    model = "plumb_bob" if camera.model == "none" else camera.model
    try:
        own = calibrate_intrinsics(detections, model, folds=0)
    except DegenerateError:
        return ""
    rms = check_images(camera, detections)
    mine, theirs = (
        np.array([*np.diag(c.image_matrix)[:2], *c.image_matrix[:2, 2]])
        for c in (own.camera, camera)
    )
    apart = np.abs(mine - theirs) / np.maximum(own.sigmas[:4], 1e-9)
    if rms < _MUCH_BETTER * own.rms_px + _NOISE_PX or apart.max() < _FAR_SIGMAS:
        return ""
    return (
        f"a camera calibrated from these images alone fits them to {own.rms_px:.2f} px (fx "
        f"{mine[0]:.1f} instead of {theirs[0]:.1f}, centre {mine[2]:.1f}, {mine[3]:.1f} instead of "
        f"{theirs[2]:.1f}, {theirs[3]:.1f}): they are probably of another camera, or focus or zoom "
        "has changed"
    )


def _rim(width: int, height: int) -> FloatArray:
    x, y = np.linspace(0, width - 1, 20), np.linspace(0, height - 1, 20)
    top, bottom = np.column_stack([x, 0 * x]), np.column_stack([x, 0 * x + height - 1])
    left, right = np.column_stack([0 * y, y]), np.column_stack([0 * y + width - 1, y])
    return np.concatenate([top, bottom, left, right])
