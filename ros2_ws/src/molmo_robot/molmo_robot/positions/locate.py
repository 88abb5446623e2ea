"""Positions in metres for the points of an image, from depth, a plane or several views. All geometry is `molmo_calibration`'s.

Each source gives a position or a `PositionStatus` with a message; nothing is guessed, and 0 never stands for "not known".
"""

from __future__ import annotations

import math
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
from molmo_robot.positions.camera_info import camera_of
from molmo_robot.positions.depth import DepthReader
from molmo_robot.positions.multiview import MultiViewStore
from molmo_robot.settings import Settings
from molmo_robot.types import FloatArray, LocatedPoint, Position, Problem, Snapshot

NO_POSITION = Position(PositionStatus.NOT_REQUESTED)

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
        settings: Settings,
        track_ids: tuple[int, ...] = (),
    ) -> tuple[LocatedPoint, ...]:
        """Give every point its pixel and its position, or the reason why there is none.

        Args:
            snapshot: Of the image.
            pointing: In norm of its image as published.
            settings: The source of positions, and its limits.
            track_ids: Identities of the points, where something follows them.
        """
        located = self.in_pixels(snapshot, pointing, track_ids)
        if not located:
            return located
        camera = camera_of(snapshot)
        if isinstance(camera, Problem):
            return tuple(_with(p, _unknown(camera)) for p in located)
        target = snapshot.target_from_camera
        if not isinstance(target, Transform):
            lost = target or Problem(PositionStatus.NO_TRANSFORM, "no transform was looked up")
            return tuple(_with(p, _unknown(lost)) for p in located)
        if settings.position_source == "views":
            return self._by_views(snapshot, pointing, located, camera, target, settings)
        by_source = _by_plane if settings.position_source == "plane" else _by_depth
        return by_source(snapshot, located, camera, target, settings)

    def _by_views(
        self,
        snapshot: Snapshot,
        pointing: Pointing,
        located: tuple[LocatedPoint, ...],
        camera: Camera,
        target: Transform,
        settings: Settings,
    ) -> tuple[LocatedPoint, ...]:
        named = len(located) == 1 or all(p.track_id >= 0 for p in located)
        if not named or target.to_frame == snapshot.frame_id.lstrip("/"):
            why = (
                f"{len(located)} points without identities: ask for one object, or set a continuous query"
                if not named
                else f"target_frame {target.to_frame!r} moves with the camera: name a fixed one, for instance 'odom'"
            )
            problem = Problem(PositionStatus.NO_VIEWS, f"positions from several views: {why}")
            return tuple(_with(p, _unknown(problem)) for p in located)
        least_rad = math.radians(settings.min_parallax_deg)
        return tuple(
            _with(
                p,
                self._views.locate(
                    (snapshot.camera.name, pointing.query, target.to_frame, p.track_id),
                    camera,
                    target,
                    p.uv,
                    _covariance(p, settings),
                    least_rad,
                ),
            )
            for p in located
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


def _with(located: LocatedPoint, position: Position) -> LocatedPoint:
    return LocatedPoint(
        located.point, located.uv, located.uv_covariance, position, located.track_id
    )


def _unknown(problem: Problem) -> Position:
    return Position(problem.status, message=problem.message)


def _by_depth(
    snapshot: Snapshot,
    located: tuple[LocatedPoint, ...],
    camera: Camera,
    target: Transform,
    settings: Settings,
) -> tuple[LocatedPoint, ...]:
    reader = DepthReader.of(snapshot, camera, settings)
    if isinstance(reader, Problem):
        return tuple(_with(p, _unknown(reader)) for p in located)
    return tuple(
        _with(p, reader.position(p.uv, _covariance(p, settings), target)) for p in located
    )


def _by_plane(
    snapshot: Snapshot,
    located: tuple[LocatedPoint, ...],
    camera: Camera,
    target: Transform,
    settings: Settings,
) -> tuple[LocatedPoint, ...]:
    camera_from_plane = snapshot.camera_from_plane
    if not isinstance(camera_from_plane, Transform):
        lost = camera_from_plane or Problem(
            PositionStatus.NO_TRANSFORM, "no transform of the plane was looked up"
        )
        return tuple(_with(p, _unknown(lost)) for p in located)
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

    return tuple(_with(p, meet(p)) for p in located)
