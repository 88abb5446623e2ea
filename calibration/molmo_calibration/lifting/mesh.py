"""Intersection of a pixel's ray with a mesh; needs trimesh."""

from __future__ import annotations

from typing import Any

import numpy as np

from molmo_calibration.arrays import ArrayLike, as_finite, as_positive
from molmo_calibration.cameras.camera import Camera
from molmo_calibration.errors import InvalidArgumentError, MissingExtraError
from molmo_calibration.geometry.transforms import Transform
from molmo_calibration.imports import import_library
from molmo_calibration.lifting.plane import Plane, intersect_plane
from molmo_calibration.lifting.position import Position

_INSTALL = "pip install trimesh rtree"


def load_mesh(path: str, metres_per_unit: float = 1.0) -> Any:
    """A `trimesh.Trimesh` from a file (STL, OBJ, PLY, ...), in metres.

    Args:
        path: the file.
        metres_per_unit: metres in one unit of the file; 0.001 for CAD exports in millimetres.

    Raises:
        MissingExtraError: trimesh is not installed.
        InvalidArgumentError: not a file with triangles.
    """
    trimesh = import_library("trimesh", "reading a mesh", _INSTALL)
    try:
        mesh = trimesh.load(path, force="mesh")
    except (OSError, ValueError, NotImplementedError) as error:
        raise InvalidArgumentError(f"{path} cannot be read as a mesh: {error}") from error
    if len(getattr(mesh, "faces", ())) == 0:
        raise InvalidArgumentError(f"{path} must hold triangles, it has none")
    return mesh.apply_scale(as_positive(metres_per_unit, "metres_per_unit"))


def intersect_mesh(
    camera: Camera,
    uv: ArrayLike,
    mesh: Any,
    camera_from_mesh: Transform | None = None,
    pixel_covariance: ArrayLike | None = None,
) -> Position:
    """The first point of a mesh on the ray of a pixel.

    Args:
        camera: the camera.
        uv: (2,) pixel.
        mesh: a `trimesh.Trimesh`, vertices in metres.
        camera_from_mesh: from the mesh's frame to the optical frame; the identity if left out.
        pixel_covariance: (2, 2) pixels²; the covariance is NaN without it. It holds for the
            triangle that was hit: an edge nearby makes the truth worse.

    Returns:
        Position in the camera's frame; status `miss` if the ray hits nothing in front.

    Raises:
        InvalidArgumentError: not a mesh.
        MissingExtraError: trimesh cannot trace rays, because rtree is not installed.
    """
    if not (hasattr(mesh, "ray") and hasattr(mesh, "triangles")):
        raise InvalidArgumentError(
            f"mesh must be a trimesh.Trimesh, got {type(mesh).__name__}; load_mesh reads one"
        )
    ray = camera.ray(as_finite(uv, "uv", (2,)))
    if not np.isfinite(ray).all():
        return Position.unknown("no_ray", camera.frame_id)
    transform = camera_from_mesh or Transform.identity()
    inverse = transform.inverse()
    origin, direction = inverse.translation, inverse.rotate_vectors(ray)
    try:
        hits, _, triangles = mesh.ray.intersects_location(origin[None], direction[None])
    except ModuleNotFoundError as error:
        raise MissingExtraError("rtree", "looking for a ray in a mesh", _INSTALL) from error
    if len(hits) == 0:
        return Position.unknown("miss", camera.frame_id)
    first = int(np.argmin(np.linalg.norm(hits - origin, axis=1)))
    corners = np.asarray(mesh.triangles[triangles[first]], dtype=np.float64)
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    facet = Plane.through(hits[first], normal)
    return intersect_plane(camera, uv, facet, transform, pixel_covariance)
