"""An answer as RViz markers: an ellipsoid that holds the object with 90 % probability, and its label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Union

import numpy as np
from molmo_calibration import Position as Ellipse
from molmo_calibration import Transform

from molmo_robot.codes import PositionStatus
from molmo_robot.messages.results import Make, header
from molmo_robot.ros_types import Message
from molmo_robot.settings import Settings
from molmo_robot.stamps import sec_nanosec
from molmo_robot.types import Answer, FloatArray, LocatedPoint

# Values of visualization_msgs/Marker.
SPHERE, TEXT = 2, 9
ADD, DELETE_ALL = 0, 3

PROBABILITY = 0.9

Vector = Union[Sequence[float], FloatArray]


def markers(make: Make, answer: Answer, settings: Settings) -> Message:
    """Build a `visualization_msgs/MarkerArray`; its first marker deletes those of the answer before."""
    built = [_marker(make, answer, settings, action=DELETE_ALL)]
    for located in answer.points:
        if located.position.status is PositionStatus.OK:
            built.append(_ellipsoid(make, answer, located, settings))
            built.append(_label(make, answer, located, settings))
    return make("visualization_msgs/msg/MarkerArray", markers=built)


def _ellipsoid(make: Make, answer: Answer, located: LocatedPoint, settings: Settings) -> Message:
    position = located.position
    shape = Ellipse(position.xyz, position.covariance).ellipsoid(PROBABILITY)
    known = np.isfinite(shape.radii).all()
    diameters = 2.0 * shape.radii if known else np.full(3, settings.marker_size_m)
    return _marker(
        make,
        answer,
        settings,
        index=located.point.index,
        kind=SPHERE,
        namespace="points",
        xyz=position.xyz,
        quaternion=Transform.from_parts(shape.axes, np.zeros(3)).quaternion,
        # RViz refuses a scale of 0; a millimetre is invisible already.
        scale=np.maximum(diameters, 1e-3),
        color=_color(located.point.score),
    )


def _label(make: Make, answer: Answer, located: LocatedPoint, settings: Settings) -> Message:
    score = located.point.score
    name = located.point.label or answer.pointing.query
    return _marker(
        make,
        answer,
        settings,
        index=located.point.index,
        kind=TEXT,
        namespace="labels",
        xyz=located.position.xyz + np.array([0.0, 0.0, 2.0 * settings.marker_size_m]),
        scale=np.full(3, max(settings.marker_size_m, 1e-3)),
        color=(1.0, 1.0, 1.0, 1.0),
        text=name if score is None else f"{name} {score:.2f}",
    )


def _color(score: float | None) -> tuple[float, float, float, float]:
    """Return RGBA: green for a score of 1, red for 0, blue without a score; half transparent."""
    return (0.2, 0.4, 1.0, 0.6) if score is None else (1.0 - score, score, 0.1, 0.6)


def _marker(
    make: Make,
    answer: Answer,
    settings: Settings,
    *,
    action: int = ADD,
    index: int = 0,
    kind: int = SPHERE,
    namespace: str = "",
    xyz: Vector = (0.0, 0.0, 0.0),
    quaternion: Vector = (0.0, 0.0, 0.0, 1.0),
    scale: Vector = (0.0, 0.0, 0.0),
    color: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0),
    text: str = "",
) -> Message:
    frame = answer.position_frame or answer.snapshot.frame_id
    (x, y, z), (qx, qy, qz, qw), (sx, sy, sz) = (
        [float(value) for value in numbers] for numbers in (xyz, quaternion, scale)
    )
    red, green, blue, alpha = color
    sec, nanosec = sec_nanosec(round(settings.marker_lifetime_s * 1e9))
    return make(
        "visualization_msgs/msg/Marker",
        header=header(make, answer.snapshot.stamp_ns, frame),
        ns=namespace,
        id=index,
        type=kind,
        action=action,
        pose=make(
            "geometry_msgs/msg/Pose",
            position=make("geometry_msgs/msg/Point", x=x, y=y, z=z),
            orientation=make("geometry_msgs/msg/Quaternion", x=qx, y=qy, z=qz, w=qw),
        ),
        scale=make("geometry_msgs/msg/Vector3", x=sx, y=sy, z=sz),
        color=make("std_msgs/msg/ColorRGBA", r=red, g=green, b=blue, a=alpha),
        lifetime=make("builtin_interfaces/msg/Duration", sec=sec, nanosec=nanosec),
        frame_locked=False,
        points=[],
        colors=[],
        text=text,
        **_unused_marker_fields(make),
    )


def _unused_marker_fields(make: Make) -> dict[str, object]:
    """Fields of meshes and textures, which Humble and later have and points do not need."""
    return {
        "texture_resource": "",
        "texture": make(
            "sensor_msgs/msg/CompressedImage",
            header=header(make, 0, ""),
            format="",
            data=np.zeros(0, np.uint8),
        ),
        "uv_coordinates": [],
        "mesh_resource": "",
        "mesh_file": make(
            "visualization_msgs/msg/MeshFile", filename="", data=np.zeros(0, np.uint8)
        ),
        "mesh_use_embedded_materials": False,
    }
