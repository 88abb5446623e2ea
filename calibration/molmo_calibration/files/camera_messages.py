"""Cameras from and to ROS `CameraInfo`, as a message or as a mapping with the same names.

Messages are used by their field names alone, so rclpy, ROS 1 and rosbags messages all work, and
nothing of ROS has to be installed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from molmo_calibration.arrays import FloatArray, is_invertible
from molmo_calibration.cameras.camera import Camera
from molmo_calibration.cameras.camera_matrix import Roi
from molmo_calibration.cameras.lens import model_name
from molmo_calibration.errors import CameraFileError, NotCalibratedError


def camera_from_message(message: Any, rectified: bool = False) -> Camera:
    """A camera from anything with the fields of `sensor_msgs/CameraInfo`.

    Args:
        message: with lower-case (ROS 2) or upper-case (ROS 1) k, d, r, p.
        rectified: whether the image is rectified: then P alone describes it, and K, D, R and
            lens models that are not known here do not matter. The camera is that of the rectified
            image, as of `Camera.rectified`.

    Raises:
        CameraFileError: a field is missing or of the wrong length.
        NotCalibratedError: K[0] is 0; of a rectified image, P[0].
        InvalidArgumentError: a distortion model we do not have.
    """
    projection = _square(_field(message, "p"), "p", (3, 4))
    frame = _Frame.of(message)
    if rectified:
        return _rectified(projection, frame)
    coefficients = [float(x) for x in _field(message, "d")]
    model = model_name(_field(message, "distortion_model"), coefficients)
    rotation = _square(_field(message, "r"), "r", (3, 3))
    return Camera(
        width=frame.width,
        height=frame.height,
        matrix=_square(_field(message, "k"), "k", (3, 3)),
        distortion=np.array(coefficients if model != "none" else []),
        model=model,
        # Zeros are what an unset message holds; REP 104 lets monocular cameras leave R and P out.
        rectification=rotation if rotation.any() else np.eye(3),
        # Without rectification P is not used, and many drivers leave it unset or half set.
        projection=projection if _usable(projection) else None,
        roi=frame.roi,
        binning=frame.binning,
        frame_id=frame.frame_id,
    )


@dataclass(frozen=True)
class _Frame:
    """What a message says about the image, whatever its lens."""

    width: int
    height: int
    roi: Roi | None
    binning: tuple[int, int]
    frame_id: str

    @classmethod
    def of(cls, message: Any) -> _Frame:
        header = getattr(message, "header", None)
        return cls(
            int(_field(message, "width")),
            int(_field(message, "height")),
            _roi(getattr(message, "roi", None)),
            (_binning(message, "binning_x"), _binning(message, "binning_y")),
            str(getattr(header, "frame_id", "") or ""),
        )


def _rectified(projection: FloatArray, frame: _Frame) -> Camera:
    if not projection[0, 0]:
        raise NotCalibratedError(
            "P[0] is 0, and a rectified image is described by P alone; set rectified to false if the image is not "
            "rectified"
        )
    return Camera(
        width=frame.width,
        height=frame.height,
        matrix=projection[:, :3],
        projection=projection,
        roi=frame.roi,
        binning=frame.binning,
        frame_id=frame.frame_id,
    )


def fill_message(camera: Camera, message: Any) -> Any:
    """Write a camera into a `CameraInfo` message; the inverse of `camera_from_message`.

    Args:
        camera: the camera.
        message: an empty message; its header's stamp is left alone, for it is the image's.

    Returns:
        The same message.
    """
    assert camera.projection is not None
    upper = hasattr(message, "K")
    values = {
        "k": camera.matrix,
        "d": camera.distortion,
        "r": camera.rectification,
        "p": camera.projection,
    }
    for name, value in values.items():
        setattr(message, name.upper() if upper else name, [float(x) for x in value.ravel()])
    message.width, message.height = camera.width, camera.height
    message.distortion_model = "plumb_bob" if camera.model == "none" else camera.model
    if camera.model == "none":
        setattr(message, "D" if upper else "d", [0.0] * 5)
    message.binning_x, message.binning_y = camera.binning
    if camera.roi is not None:
        for name in ("x_offset", "y_offset", "width", "height"):
            setattr(message.roi, name, getattr(camera.roi, name))
    if hasattr(message, "header"):
        message.header.frame_id = camera.frame_id
    return message


def _field(message: Any, name: str) -> Any:
    for candidate in (name, name.upper()):
        if hasattr(message, candidate):
            return getattr(message, candidate)
    raise CameraFileError(f"a camera_info must have {name!r}, which is not there")


def _usable(projection: FloatArray) -> bool:
    """Whether P has focal lengths; a half set one would not do as the camera of an image."""
    return bool(np.isfinite(projection).all()) and is_invertible(projection[:, :3])


def _binning(message: Any, name: str) -> int:
    # 0 is CameraInfo's way to say 1.
    return max(int(getattr(message, name, 1)), 1)


def _roi(value: Any) -> Roi | None:
    """None for the all-zero region, which CameraInfo uses for the whole image."""
    if value is None or int(value.width) == 0 or int(value.height) == 0:
        return None
    return Roi(int(value.x_offset), int(value.y_offset), int(value.width), int(value.height))


def _square(values: Any, name: str, shape: tuple[int, int]) -> FloatArray:
    array = np.asarray(values, dtype=np.float64).ravel()
    if array.size != shape[0] * shape[1]:
        raise CameraFileError(
            f"{name!r} must hold {shape[0] * shape[1]} numbers, got {array.size}"
        )
    return array.reshape(shape)
