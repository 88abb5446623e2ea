"""An `Answer` as ROS messages: pure functions over a `make` that builds a message of a type from its fields.

Only `make` differs between rclpy classes (`molmo_point_ros.rclpy_types`) and rosbags dataclasses (`dds.types`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from molmo_point.points import Status
from molmo_robot.codes import STATUS_NUMBERS, PositionStatus
from molmo_robot.ros_types import Message
from molmo_robot.settings import Settings
from molmo_robot.stamps import sec_nanosec
from molmo_robot.types import Answer, FloatArray, LocatedPoint


class Make(Protocol):
    """Builds a message: `make("geometry_msgs/msg/Point", x=1.0, y=2.0, z=3.0)`; every field is given."""

    def __call__(self, type_name: str, **fields: object) -> Message: ...


NAN = float("nan")


def stamp(make: Make, stamp_ns: int) -> Message:
    """Build a `builtin_interfaces/Time`."""
    sec, nanosec = sec_nanosec(stamp_ns)
    return make("builtin_interfaces/msg/Time", sec=sec, nanosec=nanosec)


def header(make: Make, stamp_ns: int, frame_id: str) -> Message:
    """Build a `std_msgs/Header`."""
    return make("std_msgs/msg/Header", stamp=stamp(make, stamp_ns), frame_id=frame_id)


def point_array(make: Make, answer: Answer) -> Message:
    """Build the `molmo_point_msgs/PointArray` of an answer."""
    pointing, snapshot = answer.pointing, answer.snapshot
    sec, nanosec = sec_nanosec(round(answer.inference_s * 1e9))
    width, height = snapshot.image_size
    return make(
        "molmo_point_msgs/msg/PointArray",
        header=header(make, snapshot.stamp_ns, snapshot.frame_id),
        position_header=header(make, snapshot.stamp_ns, answer.position_frame),
        evidence_stamp=stamp(make, answer.evidence_stamp_ns),
        query=pointing.query,
        camera=snapshot.camera.name,
        request_id=answer.request_id,
        model=pointing.model,
        status=STATUS_NUMBERS[pointing.status],
        image_width=width,
        image_height=height,
        points=[pointed_object(make, located) for located in answer.points],
        stated_count=-1
        if pointing.stated_count is None
        else min(pointing.stated_count, 2**31 - 1),
        absent_probability=_or_nan(pointing.absent_probability),
        calibrated=pointing.calibrated,
        raw_text=pointing.text,
        position_message=answer.position_message,
        inference_time=make("builtin_interfaces/msg/Duration", sec=sec, nanosec=nanosec),
    )


def empty_array(make: Make) -> Message:
    """Build a `PointArray` that holds no answer, for results that have none."""
    nothing = header(make, 0, "")
    return make(
        "molmo_point_msgs/msg/PointArray",
        header=nothing,
        position_header=header(make, 0, ""),
        evidence_stamp=stamp(make, 0),
        query="",
        camera="",
        request_id="",
        model="",
        # Not NOT_FOUND: that would be a claim. The code of the result says what happened.
        status=STATUS_NUMBERS[Status.PENDING],
        image_width=0,
        image_height=0,
        points=[],
        stated_count=-1,
        absent_probability=NAN,
        calibrated=False,
        raw_text="",
        position_message="",
        inference_time=make("builtin_interfaces/msg/Duration", sec=0, nanosec=0),
    )


def pointed_object(make: Make, located: LocatedPoint) -> Message:
    """Build one `molmo_point_msgs/PointedObject`."""
    point, position = located.point, located.position
    x, y, z = (float(value) for value in position.xyz)
    return make(
        "molmo_point_msgs/msg/PointedObject",
        index=point.index,
        track_id=located.track_id,
        label=point.label,
        score=_or_nan(point.score),
        u=float(located.uv[0]),
        v=float(located.uv[1]),
        x=point.x,
        y=point.y,
        pixel_covariance=np.array(located.uv_covariance, np.float64).reshape(4),
        position_status=int(position.status),
        position=make("geometry_msgs/msg/Point", x=x, y=y, z=z),
        position_covariance=np.array(position.covariance, np.float64).reshape(9),
        depth=float(position.depth_m),
        depth_spread=float(position.depth_spread_m),
        depth_samples=position.depth_samples,
    )


def detections(make: Make, answer: Answer, settings: Settings) -> Message:
    """Build the `vision_msgs/Detection2DArray`: pixel centres on whole numbers, as in `PointedObject.u` and `.v`."""
    head = header(make, answer.snapshot.stamp_ns, answer.snapshot.frame_id)
    return make(
        "vision_msgs/msg/Detection2DArray",
        header=head,
        detections=[
            _detection(make, answer, p, settings.detection_size_px) for p in answer.points
        ],
    )


def _detection(make: Make, answer: Answer, located: LocatedPoint, size_px: float) -> Message:
    u, v = (float(value) for value in located.uv)
    centre = make(
        "vision_msgs/msg/Pose2D", position=make("vision_msgs/msg/Point2D", x=u, y=v), theta=0.0
    )
    hypothesis = _hypothesis(make, answer, located)
    same_frame = answer.position_frame == answer.snapshot.frame_id.lstrip("/")
    known = same_frame and located.position.status is PositionStatus.OK
    # Detection2D has one frame, the image's: a position in another frame cannot be given.
    pose = pose_with_covariance(make, located) if known else _unknown_pose(make)
    return make(
        "vision_msgs/msg/Detection2D",
        header=header(make, answer.snapshot.stamp_ns, answer.snapshot.frame_id),
        results=[
            make("vision_msgs/msg/ObjectHypothesisWithPose", hypothesis=hypothesis, pose=pose)
        ],
        bbox=make("vision_msgs/msg/BoundingBox2D", center=centre, size_x=size_px, size_y=size_px),
        id=_identity(located),
    )


def pose_with_covariance(make: Make, located: LocatedPoint) -> Message:
    """Build a `geometry_msgs/PoseWithCovariance`: the orientation is unknown, with a variance of pi^2."""
    covariance = np.zeros((6, 6))
    covariance[:3, :3] = located.position.covariance
    covariance[3:, 3:] = np.eye(3) * np.pi**2
    return make(
        "geometry_msgs/msg/PoseWithCovariance",
        pose=_pose(make, located.position.xyz),
        covariance=covariance.reshape(36),
    )


def _unknown_pose(make: Make) -> Message:
    return make(
        "geometry_msgs/msg/PoseWithCovariance",
        pose=_pose(make, np.full(3, NAN)),
        covariance=np.full(36, NAN),
    )


def _pose(make: Make, xyz: Sequence[float] | FloatArray) -> Message:
    x, y, z = (float(value) for value in xyz)
    return make(
        "geometry_msgs/msg/Pose",
        position=make("geometry_msgs/msg/Point", x=x, y=y, z=z),
        orientation=make("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0),
    )


def best_point(make: Make, answer: Answer) -> Message:
    """Build the `geometry_msgs/PointStamped` of the best point, or None where it has no position."""
    best = _located(answer)
    if best is None:
        return None
    x, y, z = (float(value) for value in best.position.xyz)
    return make(
        "geometry_msgs/msg/PointStamped",
        header=header(make, answer.snapshot.stamp_ns, answer.position_frame),
        point=make("geometry_msgs/msg/Point", x=x, y=y, z=z),
    )


def best_pose(make: Make, answer: Answer) -> Message:
    """Build the `geometry_msgs/PoseWithCovarianceStamped` of the best point, or None where that is not known."""
    best = _located(answer)
    if best is None or not np.isfinite(best.position.covariance).all():
        return None
    return make(
        "geometry_msgs/msg/PoseWithCovarianceStamped",
        header=header(make, answer.snapshot.stamp_ns, answer.position_frame),
        pose=pose_with_covariance(make, best),
    )


def best_pose_stamped(make: Make, answer: Answer) -> Message:
    """Build the `geometry_msgs/PoseStamped` of the best point, or None where it has no position."""
    best = _located(answer)
    if best is None:
        return None
    return make(
        "geometry_msgs/msg/PoseStamped",
        header=header(make, answer.snapshot.stamp_ns, answer.position_frame),
        pose=_pose(make, best.position.xyz),
    )


def detections_3d(make: Make, answer: Answer) -> Message:
    """Build the `vision_msgs/Detection3DArray` of every point with a position, in the frame of the positions."""
    located = [p for p in answer.points if p.position.status is PositionStatus.OK]
    return make(
        "vision_msgs/msg/Detection3DArray",
        header=header(make, answer.snapshot.stamp_ns, answer.position_frame),
        detections=[_detection_3d(make, answer, located) for located in located],
    )


def _detection_3d(make: Make, answer: Answer, located: LocatedPoint) -> Message:
    size = make("geometry_msgs/msg/Vector3", x=0.0, y=0.0, z=0.0)
    return make(
        "vision_msgs/msg/Detection3D",
        header=header(make, answer.snapshot.stamp_ns, answer.position_frame),
        results=[
            make(
                "vision_msgs/msg/ObjectHypothesisWithPose",
                hypothesis=_hypothesis(make, answer, located),
                pose=pose_with_covariance(make, located),
            )
        ],
        bbox=make(
            "vision_msgs/msg/BoundingBox3D", center=_pose(make, located.position.xyz), size=size
        ),
        id=_identity(located),
    )


def _hypothesis(make: Make, answer: Answer, located: LocatedPoint) -> Message:
    return make(
        "vision_msgs/msg/ObjectHypothesis",
        class_id=located.point.label or answer.pointing.query,
        score=_or_nan(located.point.score),
    )


def _identity(located: LocatedPoint) -> str:
    return "" if located.track_id < 0 else str(located.track_id)


def poses(make: Make, answer: Answer) -> Message:
    """Build the `geometry_msgs/PoseArray` of every point with a position, in the order of the answer."""
    return make(
        "geometry_msgs/msg/PoseArray",
        header=header(make, answer.snapshot.stamp_ns, answer.position_frame),
        poses=[
            _pose(make, p.position.xyz)
            for p in answer.points
            if p.position.status is PositionStatus.OK
        ],
    )


def _located(answer: Answer) -> LocatedPoint | None:
    best = answer.best()
    return best if best is not None and best.position.status is PositionStatus.OK else None


def _or_nan(value: float | None) -> float:
    return NAN if value is None else value
