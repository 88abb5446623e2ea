"""Fit a camera of one lens model to detections with OpenCV, a wide fisheye with `fisheye_fit`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from molmo_calibration.calibrate.detection import Detection
from molmo_calibration.calibrate.fisheye_fit import fit_fisheye
from molmo_calibration.cameras.camera import Camera
from molmo_calibration.errors import DegenerateError
from molmo_calibration.geometry.rotations import matrix_from_rotation_vector
from molmo_calibration.geometry.transforms import Transform
from molmo_calibration.imports import opencv

# A fisheye that fits to this needs no other start.
_FITS_PX = 1.0

# Advice where a model does not fit: another model or other images.
ANOTHER_WAY = {
    "plumb_bob": (
        "take images with the board in all corners of the image; for a wide lens take "
        "rational_polynomial or equidistant (--model)"
    ),
    "rational_polynomial": (
        "its eight coefficients need corners all over the image, up to the rim: take more such "
        "images, or a model with fewer: plumb_bob for an ordinary lens, equidistant for a "
        "fisheye (--model)"
    ),
    "equidistant": (
        "take images with the board nearer to the middle as well and larger in the image; for "
        "a lens of less than about 120 degrees take plumb_bob or rational_polynomial (--model)"
    ),
}


def fit_camera(
    detections: Sequence[Detection], model: str, frame_id: str
) -> tuple[Camera, list[Transform]]:
    """The camera of a model that fits best, and camera_from_board of each image.

    Raises:
        DegenerateError: no camera of this model fits.
    """
    cv2 = opencv("calibrating a camera")
    size = detections[0].image_size
    boards = [np.ascontiguousarray(d.board_points, dtype=np.float32) for d in detections]
    pixels = [np.ascontiguousarray(d.pixels, dtype=np.float32) for d in detections]
    try:
        if model == "equidistant":
            found = _fisheye(cv2, boards, pixels, size)
            if found is None:
                return fit_fisheye(detections, frame_id)
            matrix, lens, turns, shifts = found
        else:
            flags = cv2.CALIB_RATIONAL_MODEL if model == "rational_polynomial" else 0
            _, matrix, lens, turns, shifts = cv2.calibrateCamera(
                boards, pixels, size, None, None, flags=flags
            )
    except cv2.error as error:
        raise DegenerateError(
            f"OpenCV found no {model} camera for these images ({str(error).strip()[:200]}); "
            + ANOTHER_WAY[model]
        ) from error
    count = {"plumb_bob": 5, "rational_polynomial": 8, "equidistant": 4}[model]
    matrix = np.asarray(matrix, dtype=np.float64)
    matrix[0, 1] = 0.0
    lens = np.asarray(lens, dtype=np.float64).ravel()[:count]
    camera = Camera(*size, matrix, lens, model, frame_id=frame_id)
    poses = [
        Transform.from_parts(
            matrix_from_rotation_vector(np.ravel(turn)), np.ravel(shift), frame_id, "board"
        )
        for turn, shift in zip(turns, shifts, strict=True)
    ]
    return camera, poses


def _fisheye(cv2: Any, boards: list[Any], pixels: list[Any], size: tuple[int, int]) -> Any:
    """The best of several starts, None if none fits; OpenCV's own fails for lenses around 180 degrees and wider.

    It starts from a focal length for 180 degrees and four free coefficients, whose first steps may
    throw corners out of the image's reach. Two coefficients first, then all from there, do not.
    """
    plain = _fisheye_flag(cv2, "CALIB_RECOMPUTE_EXTRINSIC") | _fisheye_flag(cv2, "CALIB_FIX_SKEW")
    high = _fisheye_flag(cv2, "CALIB_FIX_K3") | _fisheye_flag(cv2, "CALIB_FIX_K4")
    low = high | _fisheye_flag(cv2, "CALIB_FIX_K2") | _fisheye_flag(cv2, "CALIB_FIX_K1")
    shaped = [b.astype(np.float64)[None] for b in boards]
    seen = [p.astype(np.float64)[None] for p in pixels]
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 200, 1e-9)
    best = None
    for stages in ((high, 0), (low, high, 0), (0,)):
        matrix = lens = None
        try:
            for fixed in stages:
                flags = plain | fixed
                if matrix is not None:
                    flags |= _fisheye_flag(cv2, "CALIB_USE_INTRINSIC_GUESS")
                found = cv2.fisheye.calibrate(
                    shaped, seen, size, matrix, lens, flags=flags, criteria=criteria
                )
                matrix, lens = found[1], found[2]
        except cv2.error:
            continue
        if best is None or found[0] < best[0]:
            best = found
        # Corners are found to half a pixel; a start that ends there is not a wrong one.
        if best[0] < _FITS_PX:
            break
    return best[1:5] if best is not None and best[0] < _FITS_PX else None


def _fisheye_flag(cv2: Any, name: str) -> int:
    """OpenCV 5 moved the flags of its fisheye namespace to the top."""
    home = cv2.fisheye if hasattr(cv2.fisheye, name) else cv2
    return int(getattr(home, name))
