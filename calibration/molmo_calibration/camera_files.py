"""Cameras from and to files: ROS camera_info YAML, Kalibr camchain, OpenCV FileStorage, JSON.

The kind of a file is seen from its contents. Reading YAML needs PyYAML, OpenCV's own files need
OpenCV; both come with the `calibration` extra. JSON needs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from molmo_calibration.arrays import FloatArray
from molmo_calibration.camera import Camera, Roi
from molmo_calibration.camera_messages import matrix_entry, number_entry
from molmo_calibration.errors import CameraFileError, MissingExtraError
from molmo_calibration.lens import model_name

__all__ = ["camera_from_dict", "camera_to_dict", "load_camera", "load_mapping", "save_camera"]

_KALIBR_LENSES = {"radtan": "plumb_bob", "equidistant": "equidistant", "none": "none"}


def load_camera(path: str | Path, name: str | None = None) -> Camera:
    """Read a camera from a file of any kind this package knows.

    Args:
        path: .yaml, .yml, .json or .xml.
        name: which camera of a Kalibr camchain ("cam0" if left out).

    Raises:
        CameraFileError: unreadable, or a key is missing.
        MissingExtraError: the library for this kind of file is not installed.
        NotCalibratedError: K[0] is 0.
    """
    path = Path(path)
    if path.suffix == ".xml" or _is_file_storage(path):
        return _from_file_storage(path)
    data = load_mapping(path)
    if name is not None or "cam0" in data:
        return _from_kalibr(number_entry(data, name or "cam0", str(path)), str(path))
    return camera_from_dict(data, str(path))


def load_mapping(path: str | Path) -> dict[str, Any]:
    """The mapping in a JSON or YAML file.

    Raises:
        CameraFileError: no such file, not JSON or YAML, or not a mapping.
    """
    path = Path(path)
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise CameraFileError(f"cannot read {path}: {error}") from error
    if path.suffix == ".json":
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise CameraFileError(f"{path} must be JSON: {error}") from error
    else:
        try:
            import yaml
        except ImportError as error:
            raise MissingExtraError("PyYAML", f"reading {path.name}") from error
        try:
            data = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise CameraFileError(f"{path} must be YAML: {error}") from error
    if not isinstance(data, dict):
        raise CameraFileError(f"{path} must hold keys and values, got {type(data).__name__}")
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
    model = model_name(str(number_entry(data, "distortion_model", source)), lens)
    optional: dict[str, Any] = {}
    if "rectification_matrix" in data:
        optional["rectification"] = matrix_entry(data, "rectification_matrix", source, (3, 3))
    if "projection_matrix" in data:
        optional["projection"] = matrix_entry(data, "projection_matrix", source, (3, 4))
    if data.get("intrinsics_covariance") is not None:
        size = 4 + (0 if model == "none" else len(lens))
        optional["intrinsics_covariance"] = matrix_entry(
            data, "intrinsics_covariance", source, (size, size)
        )
    if data.get("roi") is not None:
        region = [number_entry(data["roi"], key, f"{source}, roi") for key in Roi.__annotations__]
        optional["roi"] = Roi(*(int(x) for x in region))
    return Camera(
        width=int(number_entry(data, "image_width", source)),
        height=int(number_entry(data, "image_height", source)),
        matrix=matrix,
        distortion=lens if model != "none" else np.empty(0),
        model=model,
        binning=tuple(data.get("binning", (1, 1))),  # type: ignore[arg-type]
        frame_id=str(data.get("frame_id", "")),
        **optional,
    )


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
    """Write a camera: .json as JSON, `.opencv.yml` and .xml as FileStorage, else ROS's YAML.

    The YAML is what `camera_info_manager` and `camera_calibration_parsers` read.
    """
    path = Path(path)
    if path.suffix == ".xml" or path.name.endswith(".opencv.yml"):
        _to_file_storage(camera, path)
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


def _from_kalibr(data: Mapping[str, Any], source: str) -> Camera:
    kind = number_entry(data, "camera_model", source)
    lens = str(number_entry(data, "distortion_model", source))
    if kind != "pinhole" or lens not in _KALIBR_LENSES:
        raise CameraFileError(
            f"{source}: a Kalibr camera must be pinhole with radtan, equidistant or none, got "
            f"{kind} with {lens}; calibrate again with one of these"
        )
    fx, fy, cx, cy = matrix_entry(data, "intrinsics", source, (1, 4)).ravel()
    width, height = matrix_entry(data, "resolution", source, (1, 2)).ravel()
    coefficients = matrix_entry(data, "distortion_coeffs", source, (1, -1)).ravel()
    if lens == "radtan":
        # Kalibr's radtan is k1 k2 p1 p2; plumb_bob has a fifth.
        coefficients = np.append(coefficients, 0.0)
    return Camera(
        width=int(width),
        height=int(height),
        matrix=np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]),
        distortion=coefficients if lens != "none" else np.empty(0),
        model=_KALIBR_LENSES[lens],
    )


def _is_file_storage(path: Path) -> bool:
    """OpenCV 4 starts with %YAML:1.0, OpenCV 5 with %YAML 1.2; both tag their matrices."""
    try:
        data = path.read_bytes()
        return data.startswith(b"%YAML:1.0") or b"!!opencv-matrix" in data
    except OSError as error:
        raise CameraFileError(f"cannot read {path}: {error}") from error


def _storage(path: Path, write: bool) -> Any:
    try:
        import cv2
    except ImportError as error:
        raise MissingExtraError("OpenCV", f"reading or writing {path.name}") from error
    mode = cv2.FILE_STORAGE_WRITE if write else cv2.FILE_STORAGE_READ
    try:
        storage = cv2.FileStorage(str(path), mode)
    except (cv2.error, SystemError) as error:
        raise CameraFileError(f"{path} is not an OpenCV FileStorage: {error}") from error
    if not storage.isOpened():
        raise CameraFileError(f"{path} cannot be opened as an OpenCV FileStorage")
    return storage


def _from_file_storage(path: Path) -> Camera:
    """The keys of OpenCV's calibration sample, with its two spellings."""
    storage = _storage(path, write=False)

    def node(*names: str) -> Any:
        for name in names:
            if not storage.getNode(name).empty():
                return storage.getNode(name)
        have = ", ".join(storage.root().keys())
        raise CameraFileError(f"{path} must have the key {names[0]!r}, it has: {have}")

    lens = np.asarray(node("distortion_coefficients", "Distortion_Coefficients").mat()).ravel()
    fisheye = storage.getNode("fisheye_model")
    model = "equidistant" if not fisheye.empty() and fisheye.real() == 1 else ""
    if not model:
        model = "plumb_bob" if len(lens) <= 5 else "rational_polynomial"
    matrix = np.asarray(node("camera_matrix", "Camera_Matrix").mat())
    width, height = node("image_width").real(), node("image_height").real()
    storage.release()
    return Camera(int(width), int(height), matrix, lens, model)


def _to_file_storage(camera: Camera, path: Path) -> None:
    storage = _storage(path, write=True)
    storage.write("image_width", camera.width)
    storage.write("image_height", camera.height)
    storage.write("fisheye_model", int(camera.model == "equidistant"))
    storage.write("camera_matrix", np.array(camera.matrix))
    lens = camera.distortion if len(camera.distortion) else np.zeros(5)
    storage.write("distortion_coefficients", np.array(lens)[:, None])
    storage.release()
