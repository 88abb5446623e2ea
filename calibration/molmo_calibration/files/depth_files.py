"""Depth images from files, their unit, and planes from the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from molmo_calibration.depth.depth_image import DepthImage, depth_from_array
from molmo_calibration.errors import CameraFileError, InvalidArgumentError
from molmo_calibration.imports import opencv
from molmo_calibration.lifting.plane import Plane

# The middle reading of a depth camera in a room or on a street lies between these.
_NEAREST_M = 0.04
_FARTHEST_M = 100.0


def load_depth(path: str | Path, metres_per_unit: float | None = None) -> DepthImage:
    """A depth image: .npy, or any image OpenCV reads with 16-bit millimetres or float metres.

    Args:
        path: of the file.
        metres_per_unit: what one step is, where it is something else: 0.0002 for TUM's 1/5000 m,
            0.0001 for tenths of a millimetre, 0.001 for float millimetres.

    Raises:
        CameraFileError: unreadable, or an ordinary 8-bit or colour image.
    """
    path = Path(path)
    if path.suffix == ".npy":
        try:
            return depth_from_array(np.load(path, allow_pickle=False), metres_per_unit)
        except (OSError, ValueError) as error:
            raise CameraFileError(f"cannot read {path}: {error}") from error
    cv2 = opencv("reading a depth image")
    array = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if array is None:
        raise CameraFileError(f"{path} cannot be read as an image")
    try:
        return depth_from_array(array, metres_per_unit)
    except InvalidArgumentError as error:
        raise CameraFileError(f"{path}: {error}") from error


def unit_hint(depth: DepthImage) -> str:
    """What the unit of a depth image is likely to be, if it does not look like metres; else "".

    Depth cameras see from a hand's breadth to a street's: the middle reading tells units that are
    wrong by a hundred and more, not those wrong by five.
    """
    known = depth.metres[np.isfinite(depth.metres)]
    middle = float(np.median(known)) if known.size else 1.0
    if middle > _FARTHEST_M:
        return (
            f"the middle reading of the depth image is {middle:.4g} m: is it in millimetres? "
            "--depth-scale says what one step is in metres (0.001 for millimetres)"
        )
    if middle < _NEAREST_M:
        return (
            f"the middle reading of the depth image is {middle:.4g} m: is one step more than that? "
            "--depth-scale says what one step is in metres (1 if it is in metres already)"
        )
    return ""


def parse_plane(text: str) -> Plane:
    """A plane from "nx,ny,nz,d" with n · p = d in the optical frame, metres.

    Raises:
        InvalidArgumentError: not four numbers.
    """
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 4:
        raise InvalidArgumentError(
            f"a plane must be nx,ny,nz,d with n.p = d in metres, e.g. 0,0,1,0.8; got {text!r}"
        )
    return Plane(np.array(numbers[:3]), numbers[3])
