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
from molmo_calibration.camera import Camera, Roi
from molmo_calibration.entries import whole_entry
from molmo_calibration.errors import CameraFileError, MissingExtraError

__all__ = ["is_file_storage", "load_file_storage", "save_file_storage"]


def is_file_storage(path: Path) -> bool:
    """OpenCV 4 starts with %YAML:1.0, OpenCV 5 with %YAML 1.2; both tag their matrices.

    Raises:
        CameraFileError: the file cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CameraFileError(f"cannot read {path}: {error}") from error
    return path.suffix == ".xml" or data.startswith(b"%YAML:1.0") or b"!!opencv-matrix" in data


def load_file_storage(path: Path) -> Camera:
    """Read a camera; the inverse of `save_file_storage`.

    Raises:
        CameraFileError: not a FileStorage, or a key is missing.
        MissingExtraError: OpenCV is not installed.
    """
    storage = _storage(path, write=False)
    try:
        return _camera(storage, path)
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


def _camera(storage: Any, path: Path) -> Camera:
    lens = _matrix(storage, path, "distortion_coefficients", "Distortion_Coefficients").ravel()
    fisheye = storage.getNode("fisheye_model")
    model = "equidistant" if not fisheye.empty() and fisheye.real() == 1 else ""
    if not model:
        model = "plumb_bob" if len(lens) <= 5 else "rational_polynomial"
    numbers = {key: _number(storage, path, key) for key in ("image_width", "image_height")}
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
        whole_entry(numbers, "image_width", str(path)),
        whole_entry(numbers, "image_height", str(path)),
        _matrix(storage, path, "camera_matrix", "Camera_Matrix"),
        lens,
        model,
        **optional,
    )


def _has(storage: Any, name: str) -> bool:
    return not storage.getNode(name).empty()


def _node(storage: Any, path: Path, names: tuple[str, ...]) -> Any:
    for name in names:
        if _has(storage, name):
            return storage.getNode(name)
    have = ", ".join(storage.root().keys())
    raise CameraFileError(f"{path} must have the key {names[0]!r}, it has: {have}")


def _matrix(storage: Any, path: Path, *names: str) -> FloatArray:
    matrix = _node(storage, path, names).mat()
    if matrix is None or np.asarray(matrix).ndim != 2:
        raise CameraFileError(f"{path}: {names[0]!r} must be a matrix")
    return np.asarray(matrix, dtype=np.float64)


def _number(storage: Any, path: Path, name: str) -> float:
    node = _node(storage, path, (name,))
    return float(node.real()) if node.isInt() or node.isReal() else float("nan")
