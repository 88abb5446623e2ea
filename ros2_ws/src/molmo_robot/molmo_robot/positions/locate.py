"""Points of a picture to positions in metres, by whichever road the parameters choose. All geometry is `molmo_calibration`'s.

Each road ends in a number or in a `PositionStatus` with a sentence; nothing is guessed and nothing is zero for "not known".
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
from molmo_robot.positions.multiview import Sightings
from molmo_robot.settings import Settings
from molmo_robot.types import FloatArray, Moment, Placed, Position, Problem

NO_POSITION = Position(PositionStatus.NOT_REQUESTED)

_PLANE_PROBLEMS = {
    "parallel": "the ray runs along the plane",
    "behind": "the plane lies behind the camera",
    "no_ray": "the lens has no ray for this pixel",
}


class Locator:
    """Places points; remembers the sightings that several views need."""

    def __init__(self) -> None:
        self._sightings = Sightings()

    def clear(self) -> None:
        """Forget all sightings (time was set back, or the query changed)."""
        self._sightings.clear()

    def in_picture(
        self, moment: Moment, pointing: Pointing, track_ids: tuple[int, ...] = ()
    ) -> tuple[Placed, ...]:
        """Give every point its pixel and no position."""
        ids = track_ids or (-1,) * len(pointing.points)
        return tuple(
            Placed(point, *pixel_of(point, moment.image_size), NO_POSITION, track_id)
            for point, track_id in zip(pointing.points, ids, strict=True)
        )

    def place(
        self,
        moment: Moment,
        pointing: Pointing,
        settings: Settings,
        track_ids: tuple[int, ...] = (),
    ) -> tuple[Placed, ...]:
        """Give every point its pixel and its position, or the reason why there is none.

        Args:
            moment: The frozen instant.
            pointing: In norm of its picture as published.
            settings: Which road, and its limits.
            track_ids: Identities of the points, where something follows them.
        """
        placed = self.in_picture(moment, pointing, track_ids)
        if not placed:
            return placed
        camera = camera_of(moment)
        if isinstance(camera, Problem):
            return tuple(_with(p, _unknown(camera)) for p in placed)
        target = moment.target_from_camera
        if not isinstance(target, Transform):
            lost = target or Problem(PositionStatus.NO_TRANSFORM, "no transform was frozen")
            return tuple(_with(p, _unknown(lost)) for p in placed)
        if settings.position_source == "views":
            return self._by_views(moment, pointing, placed, camera, target, settings)
        road = _by_plane if settings.position_source == "plane" else _by_depth
        return road(moment, placed, camera, target, settings)

    def _by_views(
        self,
        moment: Moment,
        pointing: Pointing,
        placed: tuple[Placed, ...],
        camera: Camera,
        target: Transform,
        settings: Settings,
    ) -> tuple[Placed, ...]:
        named = len(placed) == 1 or all(p.track_id >= 0 for p in placed)
        if not named or target.to_frame == moment.frame_id.lstrip("/"):
            why = (
                f"{len(placed)} points and nothing that tells which is which: ask for one thing, or set a continuous query"
                if not named
                else f"target_frame {target.to_frame!r} moves with the camera: name a fixed one, for instance 'odom'"
            )
            problem = Problem(PositionStatus.NO_VIEWS, f"positions from several views: {why}")
            return tuple(_with(p, _unknown(problem)) for p in placed)
        least_rad = math.radians(settings.min_parallax_deg)
        return tuple(
            _with(
                p,
                self._sightings.locate(
                    (moment.camera.name, pointing.query, target.to_frame, p.track_id),
                    camera,
                    target,
                    p.uv,
                    _covariance(p, settings),
                    least_rad,
                ),
            )
            for p in placed
        )


def pixel_of(point: Point, image_size: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
    """Return a point's uv (2,) and its covariance (2, 2) in pixels squared, NaN where unknown."""
    uv = uv_from_norm((point.x, point.y), image_size)
    if point.covariance is None:
        return uv, np.full((2, 2), np.nan)
    return uv, uv_covariance_from_norm(point.covariance, image_size)


def _covariance(placed: Placed, settings: Settings) -> FloatArray:
    """(2, 2) pixels squared: the model's, or the parameter's where the model gives none."""
    if np.isfinite(placed.uv_covariance).all():
        return placed.uv_covariance
    return np.eye(2) * settings.pixel_sigma_px**2


def _with(placed: Placed, position: Position) -> Placed:
    return Placed(placed.point, placed.uv, placed.uv_covariance, position, placed.track_id)


def _unknown(problem: Problem) -> Position:
    return Position(problem.status, message=problem.message)


def _by_depth(
    moment: Moment,
    placed: tuple[Placed, ...],
    camera: Camera,
    target: Transform,
    settings: Settings,
) -> tuple[Placed, ...]:
    reader = DepthReader.of(moment, camera, settings)
    if isinstance(reader, Problem):
        return tuple(_with(p, _unknown(reader)) for p in placed)
    return tuple(_with(p, reader.position(p.uv, _covariance(p, settings), target)) for p in placed)


def _by_plane(
    moment: Moment,
    placed: tuple[Placed, ...],
    camera: Camera,
    target: Transform,
    settings: Settings,
) -> tuple[Placed, ...]:
    camera_from_plane = moment.camera_from_plane
    if not isinstance(camera_from_plane, Transform):
        lost = camera_from_plane or Problem(PositionStatus.NO_TRANSFORM, "no plane was frozen")
        return tuple(_with(p, _unknown(lost)) for p in placed)
    plane = Plane.through(
        settings.plane_point, settings.plane_normal, camera_from_plane.from_frame
    )

    def meet(p: Placed) -> Position:
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

    return tuple(_with(p, meet(p)) for p in placed)
