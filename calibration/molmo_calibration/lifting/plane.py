"""Planes and their intersection with a pixel's ray: positions without a depth camera.

A plane is n · p = d with a unit normal n, in metres. Its covariance is that of (nx, ny, nz, d).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molmo_calibration.arrays import (
    ArrayLike,
    FloatArray,
    as_covariance,
    as_finite,
    as_points,
    frozen,
    symmetric,
)
from molmo_calibration.cameras.camera import Camera
from molmo_calibration.errors import FrameError, InvalidArgumentError
from molmo_calibration.geometry.rotations import cross_matrix
from molmo_calibration.geometry.transforms import Transform
from molmo_calibration.lifting.lift_covariance import lift_covariance
from molmo_calibration.lifting.position import Position

# A ray this close to the plane's direction meets it so far away that a pixel is metres.
_GRAZING_RAD = np.deg2rad(0.5)


@dataclass(frozen=True, eq=False)
class Plane:
    """A plane n · p = d.

    Args:
        normal: (3,) any length but 0; stored with length 1.
        offset_m: d, the distance of the plane from the origin along the normal.
        frame_id: frame of both.
        covariance: (4, 4) of (nx, ny, nz, d); None counts as exact.
    """

    normal: FloatArray
    offset_m: float
    frame_id: str = ""
    covariance: FloatArray | None = None

    def __post_init__(self) -> None:
        normal = as_finite(self.normal, "normal", (3,))
        length = float(np.linalg.norm(normal))
        if length < 1e-12:
            raise InvalidArgumentError("normal must not be zero; a plane needs a direction")
        offset = float(as_finite(self.offset_m, "offset_m", ())) / length
        object.__setattr__(self, "normal", frozen(normal / length))
        object.__setattr__(self, "offset_m", offset)
        if self.covariance is not None:
            checked = as_covariance(self.covariance, "plane covariance", 4)
            object.__setattr__(self, "covariance", frozen(checked))

    @classmethod
    def through(cls, point: ArrayLike, normal: ArrayLike, frame_id: str = "") -> Plane:
        """The plane through a point (3,) with a normal (3,)."""
        direction = as_finite(normal, "normal", (3,))
        return cls(direction, float(direction @ as_finite(point, "point", (3,))), frame_id)

    @classmethod
    def horizontal(cls, height_m: float, frame_id: str = "") -> Plane:
        """A table or the ground in a frame whose z points up."""
        return cls(np.array([0.0, 0.0, 1.0]), height_m, frame_id)

    def distance(self, points: ArrayLike) -> FloatArray:
        """Signed distances (...) of points (..., 3), positive on the normal's side."""
        return np.asarray(as_points(points, "points", 3) @ self.normal - self.offset_m)

    def transformed(self, a_from_b: Transform) -> Plane:
        """The plane in another frame, with the transform's uncertainty added."""
        if self.frame_id and a_from_b.from_frame and self.frame_id != a_from_b.from_frame:
            raise FrameError(
                f"the plane is in frame {self.frame_id!r}, but the transform takes points of "
                f"{a_from_b.from_frame!r}; pass a transform from {self.frame_id!r}"
            )
        normal = a_from_b.rotation @ self.normal
        offset = self.offset_m + float(normal @ a_from_b.translation)
        covariance = self._moved_covariance(a_from_b, normal)
        return Plane(normal, offset, a_from_b.to_frame, covariance)

    def _moved_covariance(self, a_from_b: Transform, normal: FloatArray) -> FloatArray | None:
        if self.covariance is None and a_from_b.covariance is None:
            return None
        total = np.zeros((4, 4))
        if self.covariance is not None:
            jacobian = np.eye(4)
            jacobian[:3, :3] = a_from_b.rotation
            jacobian[3, :3] = a_from_b.translation @ a_from_b.rotation
            total += jacobian @ self.covariance @ jacobian.T
        if a_from_b.covariance is not None:
            # Turning by w moves n by w x n and d by (w x n) · t; shifting by s moves d by n · s.
            jacobian = np.zeros((4, 6))
            jacobian[:3, 3:] = -cross_matrix(normal)
            jacobian[3, :3] = normal
            jacobian[3, 3:] = np.cross(normal, a_from_b.translation)
            total += jacobian @ a_from_b.covariance @ jacobian.T
        return symmetric(total)


def intersect_plane(
    camera: Camera,
    uv: ArrayLike,
    plane: Plane,
    camera_from_plane: Transform | None = None,
    pixel_covariance: ArrayLike | None = None,
) -> Position:
    """Where the ray of a pixel meets a plane.

    Args:
        camera: the camera.
        uv: (2,) pixel.
        plane: in any frame.
        camera_from_plane: from the plane's frame to the camera's optical frame; may be left out
            if the plane is in the optical frame.
        pixel_covariance: (2, 2) pixels²; the covariance is NaN without it.

    Returns:
        Position in the camera's frame; status `parallel` if ray and plane are within half a
        degree, `behind` if they meet behind the camera, `no_ray` if the pixel has no ray.
    """
    pixel = as_finite(uv, "uv", (2,))
    if camera_from_plane is not None:
        plane = plane.transformed(camera_from_plane)
    elif plane.frame_id and camera.frame_id and plane.frame_id != camera.frame_id:
        raise FrameError(
            f"the plane is in {plane.frame_id!r} and the camera in {camera.frame_id!r}; "
            "pass camera_from_plane="
        )
    ray = camera.ray(pixel)
    if not np.isfinite(ray).all():
        return Position.unknown("no_ray", camera.frame_id)
    approach = float(plane.normal @ ray)
    if abs(approach) < np.sin(_GRAZING_RAD):
        return Position.unknown("parallel", camera.frame_id)
    distance = plane.offset_m / approach
    if distance <= 0:
        return Position.unknown("behind", camera.frame_id)
    point = ray * distance
    covariance = np.full((3, 3), np.nan)
    if pixel_covariance is not None:
        checked = as_covariance(pixel_covariance, "pixel_covariance", 2)
        covariance = lift_covariance(
            camera, point, plane.normal, checked, np.asarray(_offset_variance(plane, point))
        )
    return Position(point, covariance, "ok", camera.frame_id)


def _offset_variance(plane: Plane, point: FloatArray) -> float:
    """Variance of dd - p · dn: how far the plane may be off at the point."""
    if plane.covariance is None:
        return 0.0
    row = np.array([*(-point), 1.0])
    return float(row @ plane.covariance @ row)
