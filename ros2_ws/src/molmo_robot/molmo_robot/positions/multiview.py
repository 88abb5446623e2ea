"""`MultiViewStore`: observations of each object from several views, until they are far enough apart for a position."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable

import numpy as np
from molmo_calibration import CalibrationError, Camera, Transform, View, triangulate

from molmo_point.wording import counted
from molmo_robot.codes import PositionStatus
from molmo_robot.types import FloatArray, Position

VIEWS_KEPT = 24
OBJECTS_KEPT = 256

STEP_M = 0.005
STEP_RAD = 0.005
"""Below this motion of the camera the newest view replaces the one before."""


class MultiViewStore:
    """Views of objects by key; the oldest object is forgotten first."""

    def __init__(self) -> None:
        self._views: OrderedDict[Hashable, deque[View]] = OrderedDict()

    def clear(self) -> None:
        """Forget everything."""
        self._views.clear()

    def locate(
        self,
        object_key: Hashable,
        camera: Camera,
        world_from_camera: Transform,
        uv: FloatArray,
        covariance: FloatArray,
        min_parallax_rad: float,
    ) -> Position:
        """Add a view of an object and triangulate it from all its views.

        Args:
            object_key: Identity of the object.
            camera: Of this view.
            world_from_camera: Pose at the image's stamp.
            uv: (2,) pixel.
            covariance: (2, 2) pixels squared.
            min_parallax_rad: Smallest angle between rays that counts.

        Returns:
            OK with a position in the world frame; NO_VIEWS with what is missing; AMBIGUOUS where the views contradict each other.
        """
        views = self._views.setdefault(object_key, deque(maxlen=VIEWS_KEPT))
        self._views.move_to_end(object_key)
        if len(self._views) > OBJECTS_KEPT:
            self._views.popitem(last=False)
        if views and _still(views[-1].world_from_camera, world_from_camera):
            views.pop()
        views.append(View(camera, world_from_camera, uv, covariance))
        try:
            found = triangulate(list(views), max(min_parallax_rad, 1e-4))
        except CalibrationError as error:
            hint = (
                f"; views less than {STEP_M * 1e3:.0f} mm and {np.rad2deg(STEP_RAD):.1f} degrees apart count as one"
                if len(views) == 1
                else ""
            )
            return Position(
                PositionStatus.NO_VIEWS, message=f"{counted(len(views), 'view')}: {error}{hint}"
            )
        if not found.position.ok:
            return Position(
                PositionStatus.AMBIGUOUS,
                depth_samples=int(np.sum(found.used)),
                message=f"{counted(len(views), 'view')}: {found.reason}",
            )
        point = found.position.point
        depth_m = float(world_from_camera.inverse().apply(point)[2])
        return Position(
            PositionStatus.OK,
            point,
            found.position.covariance,
            depth_m,
            depth_samples=int(np.sum(found.used)),
        )


def _still(before: Transform, now: Transform) -> bool:
    metres, radians = before.difference(now)
    return metres < STEP_M and radians < STEP_RAD
