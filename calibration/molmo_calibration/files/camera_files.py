"""Cameras from and to files: ROS camera_info YAML, Kalibr camchain, OpenCV FileStorage, JSON.

Read only: `ros2 topic echo camera_info`, the .ini of ROS's cameracalibrator, RealSense intrinsics.

The kind of a file to read is seen from its contents, that of a file to write from its name. Reading
YAML needs PyYAML, OpenCV's own files need OpenCV; both come with the `calibration` extra. JSON
needs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from molmo_calibration.arrays import FloatArray
from molmo_calibration.cameras.camera import Camera
from molmo_calibration.cameras.camera_matrix import Roi
from molmo_calibration.cameras.lens import check_distortion, model_name
from molmo_calibration.errors import CalibrationError, CameraFileError, InvalidArgumentError
from molmo_calibration.files.camera_messages import camera_from_message
from molmo_calibration.files.file_fields import matrix_entry, whole_entry
from molmo_calibration.files.file_storage import (
    is_file_storage,
    load_file_storage,
    save_file_storage,
)
from molmo_calibration.files.ini_files import camera_from_ini, is_ini
from molmo_calibration.files.kalibr_files import camera_from_kalibr, camera_names, camera_to_kalibr
from molmo_calibration.files.realsense_files import (
    camera_from_realsense,
    is_realsense,
    realsense_streams,
)
from molmo_calibration.imports import import_library


def load_camera(
    path: str | Path, name: str | None = None, size: tuple[int, int] | None = None
) -> Camera:
    """Read a camera from a file of any kind this package knows.

    Args:
        path: .yaml, .yml, .json, .xml, .ini or .txt; what it is, its contents tell.
        name: which of several cameras: "cam1" of a Kalibr camchain ("cam0" if left out), "1" or
            "2" of OpenCV's stereo pair, "Color" or "Color 640x480" of a RealSense listing.
        size: (width, height) of the image, for OpenCV's stereo files, which do not say it.

    Raises:
        CameraFileError: unreadable, a key is missing, or what is there is not a camera.
        MissingExtraError: the library for this kind of file is not installed.
        NotCalibratedError: K[0] is 0.
    """
    path = Path(path)
    try:
        if is_file_storage(path):
            return load_file_storage(path, name, size)
        text = _text(path)
        if is_ini(text):
            return camera_from_ini(text, str(path))
        streams = realsense_streams(text)
        if streams:
            return camera_from_realsense(streams, name, str(path))
        data = load_data(path)
        if not isinstance(data, dict):
            found = "nothing" if data is None else type(data).__name__
            raise CameraFileError(f"{path} must hold keys and values, got {found}; {_READ}")
        return _camera_from_mapping(data, name, str(path))
    except InvalidArgumentError as error:
        raise CameraFileError(f"{path}: {error}") from error


def names_in(path: str | Path) -> tuple[str, ...]:
    """The names of the cameras in a Kalibr camchain; empty for files of one camera."""
    path = Path(path)
    if is_file_storage(path) or is_ini(_text(path)) or realsense_streams(_text(path)):
        return ()
    return camera_names(load_mapping(path))


def _camera_from_mapping(data: dict[str, Any], name: str | None, source: str) -> Camera:
    while len(data) == 1 and isinstance(inner := next(iter(data.values())), dict):
        # A ROS parameter file: "/**:" and "ros__parameters:" around the keys.
        if not {"ros__parameters", "image_width", "camera_matrix"} & set(inner):
            break
        data = inner
    if is_realsense(data):
        return camera_from_realsense(data, name, source)
    if camera_names(data):
        return camera_from_kalibr(data, name or camera_names(data)[0], source)
    if name is not None:
        raise CameraFileError(f"{source} holds one camera without a name, got the name {name!r}")
    if {"k", "K"} & set(data):
        try:
            # Zeros are what an unset message holds: files of other tools leave R and P out.
            unset = {key: [0.0] * n for key, n in (("r", 9), ("p", 12)) if key.upper() not in data}
            return camera_from_message(_Fields({**unset, **data}))
        except CameraFileError as error:
            raise CameraFileError(f"{source}: {error}") from error
        except (AttributeError, OverflowError, TypeError, ValueError) as error:
            if isinstance(error, CalibrationError):
                raise
            raise CameraFileError(
                f"{source}: a field of the camera_info holds something else than numbers: {error}"
            ) from error
    if not _KEYS & set(data):
        raise CameraFileError(
            f"{source} must have the key 'camera_matrix', it has: {', '.join(map(str, data)) or 'nothing'}; {_READ}"
        )
    return camera_from_dict(data, source)


_KEYS = {"camera_matrix", "distortion_coefficients", "distortion_model", "image_width"}
_READ = "cameras are read from ROS (camera_info YAML, `ros2 topic echo`, .ini), Kalibr, OpenCV and RealSense files"
_ARCHIVES = ("PK\x03\x04", "\x89PNG")


class _Fields:
    """A mapping's entries as attributes, as `camera_from_message` reads them; nested ones too."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        for key, value in data.items():
            setattr(self, str(key), _Fields(value) if isinstance(value, Mapping) else value)


def decoded(data: bytes) -> str:
    """The text of a file: UTF-8, or UTF-16 with a byte order mark, which Windows PowerShell writes.

    Raises:
        UnicodeDecodeError: another encoding.
    """
    return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")


def _text(path: Path) -> str:
    """The text of a file: UTF-8, UTF-16, or an older encoding in names and comments."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CameraFileError(f"cannot read {path}: {error.strerror}") from error
    try:
        text = decoded(data)
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    if "\0" in text or text[:4] in _ARCHIVES:
        raise CameraFileError(f"{path} is not a text file")
    return text


def load_mapping(path: str | Path) -> dict[str, Any]:
    """The mapping in a JSON or YAML file.

    Raises:
        CameraFileError: no such file, not JSON or YAML, or not a mapping.
    """
    data = load_data(path)
    if not isinstance(data, dict):
        found = "nothing" if data is None else type(data).__name__
        raise CameraFileError(f"{path} must hold keys and values, got {found}")
    return data


def load_data(path: str | Path) -> Any:
    """What a JSON or YAML file holds: a mapping, a list, or anything else.

    Raises:
        CameraFileError: no such file, or not JSON or YAML.
    """
    path = Path(path)
    text = _text(path)
    if path.suffix == ".json":
        try:
            data = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise CameraFileError(f"{path} must be JSON: {error}") from error
    else:
        yaml = import_library("yaml", f"reading {path.name}")
        try:
            # `ros2 topic echo` ends a message with ---, which begins another document.
            data = next((part for part in yaml.safe_load_all(text) if part is not None), None)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise CameraFileError(f"{path} must be YAML: {error}") from error
    return data


def camera_from_dict(data: Mapping[str, Any], source: str = "camera") -> Camera:
    """A camera from the keys of ROS's camera_info YAML; the inverse of `camera_to_dict`.

    Args:
        data: image_width, image_height, camera_matrix, distortion_model,
            distortion_coefficients and, if known, rectification_matrix, projection_matrix,
            roi, binning, frame_id, intrinsics_covariance.
        source: name of the file, for messages.

    Raises:
        CameraFileError: a key is missing or of the wrong size.
    """
    matrix = matrix_entry(data, "camera_matrix", source, (3, 3))
    lens = matrix_entry(data, "distortion_coefficients", source, (1, -1)).ravel()
    model = model_name(_model_entry(data, source), lens)
    optional: dict[str, Any] = {}
    if "rectification_matrix" in data:
        optional["rectification"] = matrix_entry(data, "rectification_matrix", source, (3, 3))
    if "projection_matrix" in data:
        optional["projection"] = matrix_entry(data, "projection_matrix", source, (3, 4))
    if data.get("intrinsics_covariance") is not None:
        size = 4 + (0 if model == "none" else len(check_distortion(model, lens)))
        optional["intrinsics_covariance"] = matrix_entry(
            data, "intrinsics_covariance", source, (size, size)
        )
    if data.get("roi") is not None:
        region = [whole_entry(data["roi"], key, f"{source}, roi") for key in Roi.__annotations__]
        optional["roi"] = Roi(*region)
    if data.get("binning") is not None:
        optional["binning"] = matrix_entry(data, "binning", source, (1, 2)).ravel()
    return Camera(
        width=whole_entry(data, "image_width", source),
        height=whole_entry(data, "image_height", source),
        matrix=matrix,
        distortion=lens if model != "none" else np.empty(0),
        model=model,
        frame_id=str(data.get("frame_id", "")),
        **optional,
    )


def _model_entry(data: Mapping[str, Any], source: str) -> str:
    """The distortion model, in the key of today or that of ROS before 2012."""
    if "distortion_model" not in data and "camera_model" in data:
        return str(data["camera_model"])
    if "distortion_model" not in data:
        raise CameraFileError(
            f"{source} must have the key 'distortion_model', it has: {', '.join(map(str, data))}. "
            "Old files of ROS mean plumb_bob: add the line 'distortion_model: plumb_bob' if it is one"
        )
    return str(data["distortion_model"])


def camera_to_dict(camera: Camera, name: str = "camera") -> dict[str, Any]:
    """The keys of ROS's camera_info YAML, and ours for what it does not hold."""
    assert camera.projection is not None
    none = camera.model == "none"
    data: dict[str, Any] = {
        "image_width": camera.width,
        "image_height": camera.height,
        "camera_name": name,
        "camera_matrix": _matrix(camera.matrix),
        "distortion_model": "plumb_bob" if none else camera.model,
        "distortion_coefficients": _matrix(np.zeros((1, 5)) if none else camera.distortion[None]),
        "rectification_matrix": _matrix(camera.rectification),
        "projection_matrix": _matrix(camera.projection),
    }
    if camera.frame_id:
        data["frame_id"] = camera.frame_id
    if camera.binning != (1, 1):
        data["binning"] = list(camera.binning)
    if camera.roi is not None:
        data["roi"] = {key: getattr(camera.roi, key) for key in Roi.__annotations__}
    if camera.intrinsics_covariance is not None:
        covariance = camera.intrinsics_covariance
        if none:
            covariance = np.pad(covariance, (0, 5))
        data["intrinsics_covariance"] = _matrix(covariance)
    return data


def save_camera(camera: Camera, path: str | Path, name: str = "camera") -> None:
    """Write a camera, in the format that the file's name asks for.

    Args:
        camera: the camera.
        path: .json for JSON; .xml or .opencv.yml for OpenCV's FileStorage; a .yaml whose name has
            "camchain" in it for Kalibr, as Kalibr names its own; any other name for ROS's YAML,
            which `camera_info_manager` and `camera_calibration_parsers` read.
        name: `camera_name` in ROS's YAML and JSON; Kalibr's cameras are cam0.

    Raises:
        InvalidArgumentError: a lens that Kalibr does not have.
        MissingExtraError: FileStorage without OpenCV.
    """
    path = Path(path)
    if path.suffix == ".xml" or path.name.endswith(".opencv.yml"):
        save_file_storage(camera, path)
        return
    if "camchain" in path.name and path.suffix in (".yaml", ".yml"):
        path.write_text(_kalibr_text(camera))
        return
    data = camera_to_dict(camera, name)
    if path.suffix == ".json":
        path.write_text(json.dumps(data, indent=1) + "\n")
        return
    lines = []
    for key, value in data.items():
        if isinstance(value, dict) and "data" in value:
            numbers = ", ".join(repr(float(x)) for x in value["data"])
            lines += [f"{key}:", f"  rows: {value['rows']}", f"  cols: {value['cols']}"]
            lines.append(f"  data: [{numbers}]")
        else:
            lines.append(f"{key}: {json.dumps(value)}")
    path.write_text("\n".join(lines) + "\n")


def _matrix(values: FloatArray) -> dict[str, Any]:
    return {"rows": values.shape[0], "cols": values.shape[1], "data": values.ravel().tolist()}


def _kalibr_text(camera: Camera) -> str:
    """JSON inside YAML: every number in full, on one line, as Kalibr itself writes its lists."""
    lines = []
    for name, camera_entry in camera_to_kalibr(camera).items():
        lines.append(f"{name}:")
        lines += [f"  {key}: {json.dumps(value)}" for key, value in camera_entry.items()]
    return "\n".join(lines) + "\n"
