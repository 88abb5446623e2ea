"""Why the positions of an answer may be wrong although every one of them could be computed."""

from __future__ import annotations

from collections.abc import Sequence

from molmo_calibration import Camera
from molmo_calibration.cameras.plausible import off_centre

from molmo_robot.calibrations import frame_of
from molmo_robot.codes import PositionStatus
from molmo_robot.settings import Settings
from molmo_robot.types import LocatedPoint, Problem, Snapshot

FAR_PLANE_M = 100.0
"""A plane that is met farther away is rather one in another unit, or seen along its surface."""


def doubts_of(
    snapshot: Snapshot,
    points: Sequence[LocatedPoint],
    camera: Camera | Problem,
    settings: Settings,
) -> tuple[str, ...]:
    """Return sentences about what is doubtful in a snapshot whose points have positions; empty where nothing is."""
    placed = [p.position for p in points if p.position.status is PositionStatus.OK]
    if not placed:
        return ()
    found = [_another_frame(snapshot), _another_resolution(snapshot, camera)]
    if settings.position_source == "plane":
        found.append(_far_plane(max(position.depth_m for position in placed)))
    return tuple(words for words in found if words)


def _another_frame(snapshot: Snapshot) -> str:
    frame = snapshot.frame_id.lstrip("/")
    info_frame = "" if snapshot.info is None else frame_of(snapshot.info)
    if not frame or not info_frame or frame == info_frame:
        return ""
    return (
        f"{snapshot.camera.info_topic}: the calibration is of the frame {info_frame!r}, the images on "
        f"{snapshot.camera.image_topic} are of {frame!r}: if these are two cameras, positions are wrong: name the "
        "camera_info of this camera"
    )


def _another_resolution(snapshot: Snapshot, camera: Camera | Problem) -> str:
    words = "" if isinstance(camera, Problem) else off_centre(camera)
    return f"{snapshot.camera.info_topic}: {words}" if words else ""


def _far_plane(depth_m: float) -> str:
    if depth_m <= FAR_PLANE_M:
        return ""
    return (
        f"the plane is met {depth_m:.0f} m away: plane_point is in metres, and a plane seen along its surface gives no "
        "sure distance"
    )
