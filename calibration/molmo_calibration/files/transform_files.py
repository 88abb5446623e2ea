"""Transforms from files: poses of an arm, and where a camera is.

    base_from_camera:
      translation: [x, y, z]              # metres
      quaternion_xyzw: [x, y, z, w]       # or, instead of both, matrix: 4 x 4
      covariance: [[...], ...]            # 6 x 6, may be left out

`molmo-calibrate hand-eye --output` writes such a file, with more around it. A `TransformStamped` or a
`TFMessage` of one transform, as `ros2 topic echo --once /tf_static` prints it, is read as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from molmo_calibration.errors import CalibrationError, CameraFileError
from molmo_calibration.files.camera_files import load_mapping
from molmo_calibration.files.file_fields import entry, matrix_entry, number_entry
from molmo_calibration.geometry.transforms import Transform

_BETWEEN = "_from_"


def load_transform(path: str | Path) -> Transform:
    """The one transform a file holds, with its frames and, if it has one, its covariance.

    Args:
        path: YAML or JSON, see the module.

    Raises:
        CameraFileError: no transform in it, more than one, or a part of it cannot be read.
    """
    data = load_mapping(path)
    stamped = _stamped(data)
    named = {
        str(key): value
        for key, value in data.items()
        if _BETWEEN in str(key) and isinstance(value, Mapping)
    }
    held = [f"{s.get('child_frame_id')!r} in {_parent(s)!r}" for s in stamped] or [*named]
    if len(held) != 1:
        raise CameraFileError(
            f"{path} must hold one transform with a name like base_from_camera, it holds "
            f"{', '.join(held) or 'none'} (`ros2 topic echo --once /tf_static` is read, too)"
        )
    if stamped:
        source = f"{path}, {held[0]}"
        content = entry(stamped[0], "transform", source)
        child = str(stamped[0]["child_frame_id"])
        return message_transform(content, source, str(_parent(stamped[0])), child)
    name, value = next(iter(named.items()))
    to_frame, from_frame = name.split(_BETWEEN, 1)
    return transform_entry(value, str(path), to_frame, from_frame)


def _stamped(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The `TransformStamped` messages in a file."""
    found = data.get("transforms", [data])
    messages = found if isinstance(found, list) else []
    return [m for m in messages if isinstance(m, Mapping) and "child_frame_id" in m]


def _parent(stamped: Mapping[str, Any]) -> Any:
    header = stamped.get("header")
    return header.get("frame_id") if isinstance(header, Mapping) else None


def message_transform(
    data: Any, source: str, to_frame: str = "", from_frame: str = ""
) -> Transform:
    """A transform from the entries of a `geometry_msgs/Transform`.

    Raises:
        CameraFileError: an entry is missing, or is no rotation.
    """
    shift = _numbers(entry(data, "translation", source), "xyz", source)
    turn = _numbers(entry(data, "rotation", source), "xyzw", source)
    try:
        return Transform.from_quaternion(turn, shift, to_frame, from_frame)
    except CalibrationError as error:
        raise CameraFileError(f"{source}: {error}") from error


def _numbers(data: Any, names: str, source: str) -> list[float]:
    return [number_entry(data, name, source) for name in names]


def transform_entry(data: Any, source: str, to_frame: str, from_frame: str) -> Transform:
    """A transform from its entries: a matrix, or a translation and a quaternion.

    Raises:
        CameraFileError: an entry is missing, or is no rotation.
    """
    source = f"{source}, {to_frame}{_BETWEEN}{from_frame}"
    try:
        if isinstance(data, Mapping) and "matrix" in data:
            matrix = matrix_entry(data, "matrix", source, (4, 4))
            pose = Transform(matrix, to_frame, from_frame)
        else:
            shift = matrix_entry(data, "translation", source, (1, 3)).ravel()
            turn = matrix_entry(data, "quaternion_xyzw", source, (1, 4)).ravel()
            pose = Transform.from_quaternion(turn, shift, to_frame, from_frame)
        if data.get("covariance") is None:
            return pose
        covariance = matrix_entry(data, "covariance", source, (6, 6))
        return Transform(pose.matrix, to_frame, from_frame, covariance)
    except CameraFileError:
        raise
    except CalibrationError as error:
        raise CameraFileError(f"{source}: {error}") from error
