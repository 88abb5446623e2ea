"""Pointing answers and depth images from files, and the positions of their points.

A pointing file is the JSON of a `molmo_point` answer, read here by its keys: this package does not
know that one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from molmo_calibration.arrays import FloatArray
from molmo_calibration.camera import Camera
from molmo_calibration.camera_files import load_mapping
from molmo_calibration.depth import DepthOptions, depth_at
from molmo_calibration.depth_image import DepthImage, depth_from_array
from molmo_calibration.entries import list_entry, matrix_entry, number_entry
from molmo_calibration.errors import CameraFileError, FrameError, InvalidArgumentError
from molmo_calibration.imports import opencv
from molmo_calibration.lifting import lift
from molmo_calibration.noise import ConstantNoise
from molmo_calibration.pixels import same_shape, uv_covariance_from_norm, uv_from_norm
from molmo_calibration.plane import Plane, intersect_plane
from molmo_calibration.position import Position
from molmo_calibration.transforms import Transform

__all__ = ["PlacedPoint", "PointedPixel", "load_depth", "load_pointing", "locate", "parse_plane"]


@dataclass(frozen=True, eq=False)
class PointedPixel:
    """A point of an answer.

    Args:
        label: its words.
        uv: (2,) pixel.
        covariance: (2, 2) pixels², or None if the answer has none.
    """

    label: str
    uv: FloatArray
    covariance: FloatArray | None


@dataclass(frozen=True, eq=False)
class PlacedPoint:
    """A point of an answer with its position, in the camera's frame or another."""

    pixel: PointedPixel
    position: Position

    def as_dict(self) -> dict[str, Any]:
        """For JSON: None for what is not known."""
        known = bool(np.isfinite(self.position.covariance).all())
        return {
            "label": self.pixel.label,
            "uv": self.pixel.uv.tolist(),
            "status": self.position.status,
            "frame_id": self.position.frame_id,
            "point_m": self.position.point.tolist() if self.position.ok else None,
            "covariance_m2": self.position.covariance.tolist() if known else None,
        }

    def line(self) -> str:
        """For people: metres, and one sigma along each axis in millimetres."""
        if not self.position.ok:
            return f"{self.pixel.label}: {self.position.status}"
        x, y, z = self.position.point
        variances = np.diag(self.position.covariance)
        sigmas = np.sqrt(np.where(np.isfinite(variances), np.maximum(variances, 0), np.nan)) * 1e3
        spread = " x ".join(f"{s:.1f}" for s in sigmas)
        where = f" in {self.position.frame_id}" if self.position.frame_id else ""
        known = f" +- {spread} mm" if np.isfinite(sigmas).all() else " (error not known)"
        return f"{self.pixel.label}: ({x:.4f}, {y:.4f}, {z:.4f}) m{where}{known}"


def load_pointing(path: str | Path, camera: Camera) -> list[PointedPixel]:
    """The points of a Pointing JSON file, in pixels of a camera.

    Args:
        path: JSON with `points` and `image_size`.
        camera: its picture is the one pointed into, though perhaps at another resolution: points
            are normalized, so that does not matter to them.

    Raises:
        CameraFileError: a key is missing, the message says which and where; or the picture has
            another shape than the camera's.
    """
    data = load_mapping(path)
    size = _camera_size(data, str(path), camera)
    points = []
    for index, point in enumerate(list_entry(data, "points", str(path))):
        source = f"{path}, point {index}"
        norm = [number_entry(point, key, source) for key in ("x", "y")]
        try:
            covariance = _covariance(point, source, size)
        except InvalidArgumentError as error:
            raise CameraFileError(f"{source}: {error}") from error
        label = str(point.get("label") or f"point {index}")
        points.append(PointedPixel(label, uv_from_norm(norm, size), covariance))
    return points


def _camera_size(data: Mapping[str, Any], source: str, camera: Camera) -> tuple[int, int]:
    """The camera's picture, after a look at whether the pointed one can be the same."""
    pointed = matrix_entry(data, "image_size", source, (1, 2)).ravel()
    own = np.array(camera.image_size, float)
    if not (pointed >= 1).all() or not same_shape(pointed, own):
        raise CameraFileError(
            f"{source} points into a picture of {pointed[0]:g} x {pointed[1]:g}, but the camera file "
            f"is for {own[0]:g} x {own[1]:g}, which has another shape: was the picture cropped or "
            "turned? Point into the camera's own picture, or crop the camera as well (map_camera)"
        )
    return camera.image_size


def _covariance(point: Mapping[str, Any], source: str, size: tuple[int, int]) -> FloatArray | None:
    if point.get("covariance") is None:
        return None
    return uv_covariance_from_norm(matrix_entry(point, "covariance", source, (1, 3)).ravel(), size)


def load_depth(path: str | Path) -> DepthImage:
    """A depth image: .npy, or any picture OpenCV reads with 16-bit millimetres or float metres.

    Raises:
        CameraFileError: unreadable, or an ordinary 8-bit or colour picture.
    """
    path = Path(path)
    if path.suffix == ".npy":
        try:
            return depth_from_array(np.load(path, allow_pickle=False))
        except (OSError, ValueError) as error:
            raise CameraFileError(f"cannot read {path}: {error}") from error
    cv2 = opencv("reading a depth image")
    array = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if array is None:
        raise CameraFileError(f"{path} cannot be read as a picture")
    try:
        return depth_from_array(array)
    except InvalidArgumentError as error:
        raise CameraFileError(f"{path}: {error}") from error


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


def locate(
    camera: Camera,
    pixels: Sequence[PointedPixel],
    depth: DepthImage | None = None,
    plane: Plane | None = None,
    strategy: str = "cluster",
    depth_sigma_m: float | None = None,
    other_from_camera: Transform | None = None,
) -> list[PlacedPoint]:
    """Positions of pointed pixels from depth, or from a plane in the optical frame.

    Args:
        camera: of the pixels.
        pixels: where something was pointed at.
        depth: registered depth image.
        plane: instead of depth.
        strategy: see `DepthOptions`.
        depth_sigma_m: depth noise of the sensor; only the spread of the readings if left out.
        other_from_camera: into which frame to move the positions, uncertainty included; they stay
            in the camera's if left out.

    Raises:
        InvalidArgumentError: neither depth nor plane, or both.
        FrameError: the transform does not start from the camera; perhaps it is inverted.
    """
    if (depth is None) == (plane is None):
        raise InvalidArgumentError("pass a depth image or a plane, one of the two")
    if other_from_camera is not None:
        other_from_camera = _starting_from(camera, other_from_camera)
    options = DepthOptions(strategy)
    noise = ConstantNoise(depth_sigma_m) if depth_sigma_m is not None else None
    placed = []
    for pixel in pixels:
        if depth is not None:
            result = depth_at(depth, pixel.uv, camera, options=options)
            position = lift(camera, pixel.uv, result, pixel.covariance, noise)
        else:
            assert plane is not None
            position = intersect_plane(camera, pixel.uv, plane, pixel_covariance=pixel.covariance)
        if other_from_camera is not None:
            position = position.moved(other_from_camera)
        placed.append(PlacedPoint(pixel, position))
    return placed


def _starting_from(camera: Camera, other_from_camera: Transform) -> Transform:
    """The transform, with the camera's own name for its frame: a hand-eye file says `camera`."""
    if other_from_camera.from_frame not in ("camera", camera.frame_id):
        raise FrameError(
            f"the transform must take points of the camera, named 'camera' or {camera.frame_id!r}; "
            f"got {other_from_camera.to_frame}_from_{other_from_camera.from_frame}: is it inverted?"
        )
    return replace(other_from_camera, from_frame=camera.frame_id)
