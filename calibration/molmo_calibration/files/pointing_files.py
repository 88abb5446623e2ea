"""Pointing answers from files, and the positions of their points.

A pointing file is the JSON of a `molmo_point` answer, read here by its keys: this package does not
know that one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from molmo_calibration.arrays import FloatArray
from molmo_calibration.cameras.camera import Camera
from molmo_calibration.cameras.pixels import same_shape, uv_covariance_from_norm, uv_from_norm
from molmo_calibration.depth.depth import depth_at
from molmo_calibration.depth.depth_image import DepthImage
from molmo_calibration.depth.noise import ConstantNoise
from molmo_calibration.depth.strategies import DEFAULT_STRATEGY, DepthOptions
from molmo_calibration.errors import CameraFileError, FrameError, InvalidArgumentError
from molmo_calibration.files.camera_files import decoded, load_mapping
from molmo_calibration.files.file_fields import list_entry, matrix_entry, number_entry
from molmo_calibration.geometry.transforms import Transform
from molmo_calibration.lifting.lifting import lift
from molmo_calibration.lifting.plane import Plane, intersect_plane
from molmo_calibration.lifting.position import Position

# Nothing that a robot handles is farther from its camera than this.
_FARTHEST_M = 100.0

# Statuses of answers that say nothing about what is in the image.
_NO_ANSWERS = ("pending", "malformed", "error")


@dataclass(frozen=True, eq=False)
class PointedPixel:
    """A point of an answer.

    Args:
        label: its words.
        uv: (2,) pixel.
        covariance: (2, 2) pixels², or None if the answer has none.
        image: name of the image, where the file has answers for several.
    """

    label: str
    uv: FloatArray
    covariance: FloatArray | None
    image: str = ""


@dataclass(frozen=True, eq=False)
class PlacedPoint:
    """A point of an answer with its position, in the camera's frame or another."""

    pixel: PointedPixel
    position: Position

    def as_dict(self) -> dict[str, Any]:
        """For JSON: None for what is not known."""
        known = bool(np.isfinite(self.position.covariance).all())
        image = {"image": self.pixel.image} if self.pixel.image else {}
        return {
            **image,
            "label": self.pixel.label,
            "uv": self.pixel.uv.tolist(),
            "status": self.position.status,
            "frame_id": self.position.frame_id,
            "point_m": self.position.point.tolist() if self.position.ok else None,
            "covariance_m2": self.position.covariance.tolist() if known else None,
        }

    def line(self) -> str:
        """For people: metres, and one sigma along each axis in millimetres."""
        label = f"{self.pixel.image}: {self.pixel.label}" if self.pixel.image else self.pixel.label
        if not self.position.ok:
            return f"{label}: {self.position.status}"
        x, y, z = self.position.point
        variances = np.diag(self.position.covariance)
        sigmas = np.sqrt(np.where(np.isfinite(variances), np.maximum(variances, 0), np.nan)) * 1e3
        spread = " x ".join(f"{s:.1f}" for s in sigmas)
        where = f" in {self.position.frame_id}" if self.position.frame_id else ""
        known = f" +- {spread} mm" if np.isfinite(sigmas).all() else " (error not known)"
        return f"{label}: ({x:.4f}, {y:.4f}, {z:.4f}) m{where}{known}"


def load_pointing(
    path: str | Path, camera: Camera, warn: Callable[[str], None] | None = None
) -> list[PointedPixel]:
    """The points of a Pointing JSON file, in pixels of a camera.

    Args:
        path: JSON with `points` and `image_size`, or one such object a line (JSONL, the answers for
            a folder); "-" for standard input.
        camera: its image is the one pointed into, though perhaps at another resolution: points
            are normalized, so that does not matter to them.
        warn: called with a sentence for each answer that was cut off: it may lack points.

    Raises:
        CameraFileError: a key is missing, the message says which and where; there is no answer
            yet, or an unreadable one; or the image has another shape than the camera's.
    """
    source = "standard input" if str(path) == "-" else str(path)
    if Path(path).suffix in (".yaml", ".yml"):
        return _points(load_mapping(path), source, camera)
    try:
        text = (
            sys.stdin.read().lstrip("\ufeff")
            if str(path) == "-"
            else decoded(Path(path).read_bytes())
        )
    except (OSError, UnicodeDecodeError) as error:
        raise CameraFileError(f"cannot read {source}: {error}") from error
    answers = _answers(text, source)
    several = len(answers) > 1
    points: list[PointedPixel] = []
    for where, data in answers:
        if data.get("status") == "truncated" and warn is not None:
            warn(f"{where} was cut off: there may be more points than it has")
        for pixel in _points(data, where, camera):
            name = str(data.get("frame_id") or where)
            points.append(replace(pixel, image=name) if several else pixel)
    return points


def _answers(text: str, source: str) -> list[tuple[str, dict[str, Any]]]:
    """The answers of a file and where each stands: one JSON object, or one a line."""
    if not text.strip():
        raise CameraFileError(f"{source} is empty; expected an answer as JSON (point ... --json)")
    try:
        found = [(source, json.loads(text))]
    except (json.JSONDecodeError, RecursionError) as error:
        lines = [
            (f"{source}, line {n}", x) for n, x in enumerate(text.split("\n"), 1) if x.strip()
        ]
        try:
            found = [(where, json.loads(line)) for where, line in lines]
        except (json.JSONDecodeError, RecursionError):
            raise CameraFileError(
                f"{source} must be JSON, or JSON lines with one answer each: {error}"
            ) from error
    if len(found) == 1 and isinstance(found[0][1], list):
        found = [(f"{source}, answer {n}", x) for n, x in enumerate(found[0][1])]
    for where, data in found:
        if not isinstance(data, dict):
            raise CameraFileError(
                f"{where} must be an answer with points, got {type(data).__name__}"
            )
    return found


def _points(data: Mapping[str, Any], source: str, camera: Camera) -> list[PointedPixel]:
    if data.get("status") in _NO_ANSWERS or ("error" in data and "points" not in data):
        what = data.get("error") or f"its status is {data.get('status')!r}"
        raise CameraFileError(f"{source} is no answer: {what}; point again")
    size = _camera_size(data, source, camera)
    points = []
    for index, point in enumerate(list_entry(data, "points", source)):
        place = f"{source}, point {index}"
        norm = [number_entry(point, key, place) for key in ("x", "y")]
        try:
            covariance = _covariance(point, place, size)
        except InvalidArgumentError as error:
            raise CameraFileError(f"{place}: {error}") from error
        label = str(point.get("label") or f"point {index}")
        points.append(PointedPixel(label, uv_from_norm(norm, size), covariance))
    return points


def _camera_size(data: Mapping[str, Any], source: str, camera: Camera) -> tuple[int, int]:
    """(width, height) of the camera's image, after checking that the answer's image has its shape."""
    pointed = matrix_entry(data, "image_size", source, (1, 2)).ravel()
    own = np.array(camera.image_size, float)
    if not (pointed >= 1).all() or not same_shape(pointed, own):
        raise CameraFileError(
            f"{source} points into an image of {pointed[0]:g} x {pointed[1]:g}, but the camera file "
            f"is for {own[0]:g} x {own[1]:g}, which has another shape: was the image cropped or "
            "turned? Point into the camera's own image, or crop the camera as well (map_camera)"
        )
    return camera.image_size


def _covariance(point: Mapping[str, Any], source: str, size: tuple[int, int]) -> FloatArray | None:
    if point.get("covariance") is None:
        return None
    return uv_covariance_from_norm(matrix_entry(point, "covariance", source, (1, 3)).ravel(), size)


def locate(
    camera: Camera,
    pixels: Sequence[PointedPixel],
    depth: DepthImage | None = None,
    plane: Plane | None = None,
    strategy: str = DEFAULT_STRATEGY,
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
            position = position.transformed(other_from_camera)
        placed.append(PlacedPoint(pixel, position))
    return placed


def distance_hint(placed: Sequence[PlacedPoint]) -> str:
    """A sentence if positions are too far away to be in metres, else ""."""
    far = [float(np.linalg.norm(p.position.point)) for p in placed if p.position.ok]
    if not far or max(far) < _FARTHEST_M:
        return ""
    return (
        f"a position is {max(far):.4g} m away: are the plane, the transform and the depth in metres? "
        "Divide by 1000 what is in millimetres"
    )


def _starting_from(camera: Camera, other_from_camera: Transform) -> Transform:
    """The transform, with the camera's own name for its frame: a hand-eye file says `camera`."""
    if other_from_camera.from_frame not in ("camera", camera.frame_id):
        raise FrameError(
            f"the transform must take points of the camera, named 'camera' or {camera.frame_id!r}; "
            f"got {other_from_camera.to_frame}_from_{other_from_camera.from_frame}: is it inverted?"
        )
    return replace(other_from_camera, from_frame=camera.frame_id)
