"""Cameras from and to a Kalibr camchain: what `kalibr_calibrate_cameras` writes."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from molmo_calibration.arrays import FloatArray
from molmo_calibration.cameras.camera import Camera
from molmo_calibration.errors import CameraFileError, InvalidArgumentError
from molmo_calibration.files.file_fields import entry, matrix_entry, whole_entry

_LENSES = {"radtan": "plumb_bob", "equidistant": "equidistant", "none": "none"}


def camera_names(data: Any) -> tuple[str, ...]:
    """The cameras of a camchain, cam0, cam1, ...; empty for anything else."""
    found = [str(key) for key in data if re.fullmatch(r"cam\d+", str(key))]
    return tuple(sorted(found, key=lambda name: int(name[3:])))


def camera_from_kalibr(data: Any, name: str, source: str) -> Camera:
    """One camera of a camchain; the inverse of `camera_to_kalibr`.

    Args:
        data: the whole chain.
        name: which camera of it, e.g. "cam0".
        source: name of the file, for messages.

    Raises:
        CameraFileError: a key is missing, or the lens is one we do not have.
    """
    camera = entry(data, name, source)
    source = f"{source}, {name}"
    kind = entry(camera, "camera_model", source)
    lens = str(entry(camera, "distortion_model", source))
    if kind != "pinhole" or lens not in _LENSES:
        raise CameraFileError(
            f"{source}: a Kalibr camera must be pinhole with radtan, equidistant or none, got "
            f"{kind} with {lens}; calibrate again with one of these"
        )
    fx, fy, cx, cy = matrix_entry(camera, "intrinsics", source, (1, 4)).ravel()
    size = matrix_entry(camera, "resolution", source, (1, 2)).ravel().tolist()
    named = {"width": size[0], "height": size[1]}
    coefficients: FloatArray = np.empty(0)
    if lens != "none":
        coefficients = matrix_entry(camera, "distortion_coeffs", source, (1, 4)).ravel()
    if lens == "radtan":
        # Kalibr's radtan is k1 k2 p1 p2; plumb_bob has a fifth.
        coefficients = np.append(coefficients, 0.0)
    return Camera(
        width=whole_entry(named, "width", f"{source}, resolution"),
        height=whole_entry(named, "height", f"{source}, resolution"),
        matrix=np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]),
        distortion=coefficients,
        model=_LENSES[lens],
    )


def camera_to_kalibr(camera: Camera, name: str = "cam0") -> dict[str, Any]:
    """A camchain of one camera; the inverse of `camera_from_kalibr`.

    It describes the delivered image: region of interest and binning are worked in. A camchain
    has no place for R, P, the frame and the covariance of the intrinsics; they are left out.

    Raises:
        InvalidArgumentError: Kalibr has no such lens: more than k1, k2, p1, p2.
    """
    lens = camera.distortion
    if camera.model == "rational_polynomial" or (len(lens) == 5 and lens[4] != 0):
        raise InvalidArgumentError(
            "a Kalibr camera has k1, k2, p1, p2 or an equidistant fisheye, got "
            f"{camera.model} with {lens.tolist()}; save it as .yaml or .json"
        )
    names = {ours: theirs for theirs, ours in _LENSES.items()}
    matrix = camera.image_matrix
    return {
        name: {
            "camera_model": "pinhole",
            "intrinsics": [*np.diag(matrix)[:2].tolist(), *matrix[:2, 2].tolist()],
            "distortion_model": names[camera.model],
            "distortion_coeffs": lens[:4].tolist(),
            "resolution": list(camera.image_size),
        }
    }
