"""Positions in metres for the points of an image, from depth, a plane or several views. All geometry is `molmo_calibration`'s.

Each source gives a position or a `PositionStatus` with a message; nothing is guessed, and 0 never stands for "not known".
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from molmo_calibration import (
    CalibrationError,
    Camera,
    Plane,
    Transform,
    intersect_plane,
    uv_covariance_from_norm,
    uv_from_norm,
)

from molmo_point.points import Point, Pointing
from molmo_robot.codes import PositionStatus
from molmo_robot.positions.depth import DepthReader
from molmo_robot.positions.multiview import MultiViewStore
from molmo_robot.settings import Settings
from molmo_robot.types import FloatArray, LocatedPoint, Position, Problem, Snapshot

NO_POSITION = Position(PositionStatus.NOT_REQUESTED)

PositionOf = Callable[[LocatedPoint], Position]

_PLANE_PROBLEMS = {
    "parallel": "the ray runs along the plane",
    "behind": "the plane lies behind the camera",
    "no_ray": "the lens has no ray for this pixel",
}


class PositionEstimator:
    """Estimates positions; keeps the observations that triangulation needs."""

    def __init__(self) -> None:
        self._views = MultiViewStore()

    def clear(self) -> None:
        """Forget all observations (time was set back, or the query changed)."""
        self._views.clear()

    def in_pixels(
        self, snapshot: Snapshot, pointing: Pointing, track_ids: tuple[int, ...] = ()
    ) -> tuple[LocatedPoint, ...]:
        """Give every point its pixel and no position."""
        ids = track_ids or (-1,) * len(pointing.points)
        return tuple(
            LocatedPoint(point, *pixel_of(point, snapshot.image_size), NO_POSITION, track_id)
            for point, track_id in zip(pointing.points, ids, strict=True)
        )

    def locate(
        self,
        snapshot: Snapshot,
        pointing: Pointing,
        camera: Camera | Problem,
        settings: Settings,
        track_ids: tuple[int, ...] = (),
    ) -> tuple[LocatedPoint, ...]:
        """Give every point its pixel and its position, or the reason why there is none.

        Args:
            snapshot: Of the image.
            pointing: In norm of its image as published.
            camera: Of the image, see `camera_of`.
            settings: The source of positions, and its limits.
            track_ids: Identities of the points, where something follows them.
        """
        located = self.in_pixels(snapshot, pointing, track_ids)
        position = self._position_of(snapshot, pointing, located, camera, settings)
        return tuple(dataclasses.replace(p, position=position(p)) for p in located)

    def _position_of(
        self,
        snapshot: Snapshot,
        pointing: Pointing,
        located: tuple[LocatedPoint, ...],
        camera: Camera | Problem,
        settings: Settings,
    ) -> PositionOf:
        """Return what gives a point its position, from the source that the settings name."""
        if isinstance(camera, Problem):
            return _unknown(camera)
        target = snapshot.target_from_camera
        if not isinstance(target, Transform):
            lost = target or Problem(PositionStatus.NO_TRANSFORM, "no transform was looked up")
            return _unknown(lost)
        if settings.position_source == "views":
            return self._by_views(snapshot, pointing, located, camera, target, settings)
        by_source = _by_plane if settings.position_source == "plane" else _by_depth
        return by_source(snapshot, camera, target, settings)

    def _by_views(
        self,
        snapshot: Snapshot,
        pointing: Pointing,
        located: tuple[LocatedPoint, ...],
        camera: Camera,
        target: Transform,
        settings: Settings,
    ) -> PositionOf:
        named = len(located) == 1 or all(p.track_id >= 0 for p in located)
        if not named or target.to_frame == snapshot.frame_id.lstrip("/"):
            why = (
                f"{len(located)} points without identities: ask for one object, or set a continuous query"
                if not named
                else f"target_frame {target.to_frame!r} moves with the camera: name a fixed one, for instance 'odom'"
            )
            return _unknown(
                Problem(PositionStatus.NO_VIEWS, f"positions from several views: {why}")
            )
        least_rad = math.radians(settings.min_parallax_deg)
        return lambda p: self._views.locate(
            (snapshot.camera.name, pointing.query, target.to_frame, p.track_id),
            camera,
            target,
            p.uv,
            _covariance(p, settings),
            least_rad,
        )


def pixel_of(point: Point, image_size: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
    """Return a point's uv (2,) and its covariance (2, 2) in pixels squared, NaN where unknown."""
    uv = uv_from_norm((point.x, point.y), image_size)
    if point.covariance is None:
        return uv, np.full((2, 2), np.nan)
    return uv, uv_covariance_from_norm(point.covariance, image_size)


def _covariance(located: LocatedPoint, settings: Settings) -> FloatArray:
    """(2, 2) pixels squared: the model's, or the parameter's where the model gives none."""
    if np.isfinite(located.uv_covariance).all():
        return located.uv_covariance
    return np.eye(2) * settings.pixel_sigma_px**2


def _unknown(problem: Problem) -> PositionOf:
    """Give every point the same reason for having no position."""
    position = Position(problem.status, message=problem.message)
    return lambda _: position


def _by_depth(
    snapshot: Snapshot, camera: Camera, target: Transform, settings: Settings
) -> PositionOf:
    reader = DepthReader.of(snapshot, camera, settings)
    if isinstance(reader, Problem):
        return _unknown(reader)
    return lambda p: reader.position(p.uv, _covariance(p, settings), target)


def _by_plane(
    snapshot: Snapshot, camera: Camera, target: Transform, settings: Settings
) -> PositionOf:
    camera_from_plane = snapshot.camera_from_plane
    if not isinstance(camera_from_plane, Transform):
        return _unknown(
            camera_from_plane
            or Problem(PositionStatus.NO_TRANSFORM, "no transform of the plane was looked up")
        )
    plane = Plane.through(
        settings.plane_point, settings.plane_normal, camera_from_plane.from_frame
    )

    def meet(p: LocatedPoint) -> Position:
        found: Any
        try:
            found = intersect_plane(
                camera, p.uv, plane, camera_from_plane, _covariance(p, settings)
            )
            if not found.ok:
                raise CalibrationError(_PLANE_PROBLEMS.get(found.status, found.status))
        except CalibrationError as error:
            return Position(
                PositionStatus.NO_INTERSECTION,
                message=f"the plane in {plane.frame_id!r} is not met at {p.uv.tolist()}: {error}",
            )
        moved = found.transformed(target)
        return Position(
            PositionStatus.OK, moved.point, moved.covariance, depth_m=float(found.point[2])
        )

    return meet
