"""Cameras from and to OpenCV's FileStorage: .xml, and YAML with OpenCV's own tags.

The keys are those of OpenCV's calibration sample, with both of its spellings. What the sample does
not hold (R, P, region of interest, binning, frame, covariance) has keys of its own, which other
readers pass over.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from molmo_calibration.arrays import FloatArray
from molmo_calibration.cameras.camera import Camera
from molmo_calibration.cameras.camera_matrix import Roi
from molmo_calibration.cameras.lens import model_name
from molmo_calibration.errors import CameraFileError
from molmo_calibration.files.file_fields import whole_entry
from molmo_calibration.imports import opencv


def is_file_storage(path: Path) -> bool:
    """OpenCV 4 starts with %YAML:1.0, OpenCV 5 with %YAML 1.2; both tag their matrices, in JSON too.

    Raises:
        CameraFileError: the file cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CameraFileError(f"cannot read {path}: {error}") from error
    return path.suffix == ".xml" or data.startswith(b"%YAML:1.0") or b"opencv-matrix" in data


def load_file_storage(
    path: Path, name: str | None = None, size: tuple[int, int] | None = None
) -> Camera:
    """Read a camera; the inverse of `save_file_storage`.

    Args:
        path: .xml, .yml or .yaml.
        name: of a stereo pair's file (M1, D1, M2, D2): "1" or "2".
        size: (width, height) of the image, for a file that does not say it.

    Raises:
        CameraFileError: not a FileStorage, or a key is missing.
        MissingExtraError: OpenCV is not installed.
    """
    storage = _storage(path, write=False)
    try:
        return _camera(storage, path, name, size)
    finally:
        storage.release()


def save_file_storage(camera: Camera, path: Path) -> None:
    """Write a camera, with everything it holds; the inverse of `load_file_storage`."""
    assert camera.projection is not None
    storage = _storage(path, write=True)
    storage.write("image_width", camera.width)
    storage.write("image_height", camera.height)
    storage.write("fisheye_model", int(camera.model == "equidistant"))
    storage.write("camera_matrix", np.array(camera.matrix))
    lens = camera.distortion if len(camera.distortion) else np.zeros(5)
    storage.write("distortion_coefficients", np.array(lens)[:, None])
    storage.write("rectification_matrix", np.array(camera.rectification))
    storage.write("projection_matrix", np.array(camera.projection))
    if camera.frame_id:
        storage.write("frame_id", camera.frame_id)
    if camera.binning != (1, 1):
        storage.write("binning", np.array([camera.binning], float))
    if camera.roi is not None:
        region = [getattr(camera.roi, key) for key in Roi.__annotations__]
        storage.write("roi", np.array([region], float))
    if camera.intrinsics_covariance is not None:
        covariance = camera.intrinsics_covariance
        padding = 0 if len(camera.distortion) else len(lens)
        storage.write("intrinsics_covariance", np.pad(covariance, (0, padding)))
    storage.release()


def _storage(path: Path, write: bool) -> Any:
    cv2 = opencv(f"reading or writing {path.name}")
    mode = cv2.FILE_STORAGE_WRITE if write else cv2.FILE_STORAGE_READ
    try:
        storage = cv2.FileStorage(str(path), mode)
    except (cv2.error, SystemError) as error:
        # OpenCV 5 raises a SystemError around its own error.
        reason = str(error.__cause__ or error).rpartition("error: ")[2].strip()
        raise CameraFileError(f"{path} is not an OpenCV FileStorage: {reason}") from error
    if not storage.isOpened():
        raise CameraFileError(f"{path} cannot be opened as an OpenCV FileStorage")
    return storage


def _camera(storage: Any, path: Path, name: str | None, size: tuple[int, int] | None) -> Camera:
    matrix_keys: tuple[str, ...] = ("camera_matrix", "Camera_Matrix", "cameraMatrix", "K")
    lens_keys: tuple[str, ...] = (
        "distortion_coefficients",
        "Distortion_Coefficients",
        "distCoeffs",
        "D",
    )
    if _has(storage, "M1"):
        if name not in ("1", "2"):
            raise CameraFileError(
                f"{path} holds the two cameras of a stereo pair: expected the name 1 or 2 "
                f"(--camera-name 1), got {'none' if name is None else repr(name)}"
            )
        matrix_keys, lens_keys = (f"M{name}",), (f"D{name}",)
    elif name is not None:
        raise CameraFileError(f"{path} holds one camera without a name, got the name {name!r}")
    lens = _matrix(storage, path, *lens_keys).ravel()
    if size is None:
        numbers = {key: _number(storage, path, key) for key in ("image_width", "image_height")}
        width, height = (whole_entry(numbers, key, str(path)) for key in numbers)
    else:
        width, height = size
    optional: dict[str, Any] = {}
    for field, key in (
        ("rectification", "rectification_matrix"),
        ("projection", "projection_matrix"),
        ("intrinsics_covariance", "intrinsics_covariance"),
    ):
        if _has(storage, key):
            optional[field] = _matrix(storage, path, key)
    if _has(storage, "binning"):
        optional["binning"] = tuple(_matrix(storage, path, "binning").ravel())
    if _has(storage, "roi"):
        region = _matrix(storage, path, "roi").ravel()
        optional["roi"] = Roi(*(int(x) for x in region))
    if _has(storage, "frame_id"):
        optional["frame_id"] = storage.getNode("frame_id").string()
    return Camera(
        width,
        height,
        _matrix(storage, path, *matrix_keys),
        lens,
        _model(storage, path, lens),
        **optional,
    )


def _model(storage: Any, path: Path, lens: FloatArray) -> str:
    """The model the file names, or that the number of its coefficients tells."""
    fisheye = storage.getNode("fisheye_model")
    if not fisheye.empty():
        if fisheye.real() == 1:
            return "equidistant"
    elif len(lens) == 4:
        raise CameraFileError(
            f"{path} has 4 coefficients and no model: a fisheye has 4, and so may a pinhole. Add "
            "the line 'fisheye_model: 1' for a fisheye (equidistant), 'fisheye_model: 0' for a "
            "pinhole (plumb_bob)"
        )
    return model_name("plumb_bob", lens)


def _has(storage: Any, name: str) -> bool:
    return not storage.getNode(name).empty()


def _node(storage: Any, path: Path, names: tuple[str, ...]) -> Any:
    for name in names:
        if _has(storage, name):
            return storage.getNode(name)
    have = ", ".join(storage.root().keys())
    if names[0] in ("image_width", "image_height"):
        raise CameraFileError(
            f"{path} does not say the size of the image ({names[0]}), it has: {have}; say it with "
            "--size, as in --size 640x480"
        )
    raise CameraFileError(f"{path} must have the key {names[0]!r}, it has: {have}")


def _matrix(storage: Any, path: Path, *names: str) -> FloatArray:
    matrix = _node(storage, path, names).mat()
    if matrix is None or np.asarray(matrix).ndim != 2:
        raise CameraFileError(f"{path}: {names[0]!r} must be a matrix")
    return np.asarray(matrix, dtype=np.float64)


def _number(storage: Any, path: Path, name: str) -> float:
    node = _node(storage, path, (name,))
    return float(node.real()) if node.isInt() or node.isReal() else float("nan")
