"""Positions for Nav2, MoveIt and vision_msgs, calibration that was sent before the node, and the status of no answer."""

from __future__ import annotations

from typing import Any

import pytest
from molmo_robot import topics
from molmo_robot.codes import CODE_OF_STATUS, STATUS_NUMBERS
from molmo_robot.dds.types import RosTypes
from molmo_robot.messages import results
from molmo_robot.settings import Settings
from ros_world import result, wait_for
from test_conversions import an_answer

from molmo_point.points import Status


def built(types: RosTypes, answer: Any) -> Any:
    made = topics.results(types.make, answer, Settings.of({}))
    return {output.name: message for output, message in made}


def test_a_pose_for_nav2_is_the_best_point_in_the_frame_of_the_positions(types: RosTypes) -> None:
    pose = built(types, an_answer(3))["pose_stamped"]
    assert pose.header.frame_id == "odom"
    assert (pose.header.stamp.sec, pose.header.stamp.nanosec) == (5, 7)
    at, turn = pose.pose.position, pose.pose.orientation
    assert (at.x, at.y, at.z) == (1.0, 2.0, 5.0)
    assert (turn.x, turn.y, turn.z, turn.w) == (0.0, 0.0, 0.0, 1.0)
    assert "pose_stamped" not in built(types, an_answer(3, position=False))


def test_detections_in_space_hold_every_position_and_nothing_else(types: RosTypes) -> None:
    found = built(types, an_answer(2))["detections_3d"]
    assert found.header.frame_id == "odom"
    assert [d.results[0].hypothesis.class_id for d in found.detections] == ["mug", "mug"]
    first = found.detections[0]
    assert first.bbox.center.position.z == first.results[0].pose.pose.position.z == 3.0
    assert first.results[0].pose.covariance[0] == pytest.approx(4e-4)
    assert not built(types, an_answer(2, position=False))["detections_3d"].detections


def test_every_status_has_a_number_and_a_code() -> None:
    assert set(STATUS_NUMBERS) == set(CODE_OF_STATUS) == set(Status)
    assert len(set(STATUS_NUMBERS.values())) == len(Status)


def test_no_answer_is_pending(types: RosTypes) -> None:
    assert results.empty_array(types.make).status == STATUS_NUMBERS[Status.PENDING]


def test_transforms_are_heard_where_the_parameters_say(types: RosTypes) -> None:
    from molmo_robot.continuous_pointing import ContinuousPointing
    from molmo_robot.session import Session

    from molmo_point.testing import FakePointer

    values = {"tf_topic": "/robot1/tf", "tf_static_topic": "/robot1/tf_static"}
    session = Session(Settings.of(values), FakePointer())
    heard = {i.role: i.topic for i in topics.inputs(session, ContinuousPointing(session, print))}
    assert (heard["moving"], heard["fixed"]) == ("/robot1/tf", "/robot1/tf_static")


def test_calibration_that_was_sent_once_before_the_node_is_heard(robot: Any) -> None:
    robot = robot()
    latched = robot.publisher("sensor_msgs/msg/CameraInfo", "/camera/camera_info", latched=True)
    latched.publish(robot.scene.info())
    robot.up()
    wait_for(lambda: robot.node.session.buffers["camera"].infos.newest is not None)


def test_the_node_publishes_a_pose_for_nav2(robot: Any) -> None:
    robot = robot().up()
    poses = robot.listen("geometry_msgs/msg/PoseStamped", "/point_node/pose_stamped")
    boxes = robot.listen("vision_msgs/msg/Detection3DArray", "/point_node/detections_3d")
    robot.show()
    result(robot.goal().get_result_async())
    wait_for(lambda: poses and boxes)
    assert poses[0].header.frame_id == boxes[0].header.frame_id == "odom"
    assert poses[0].pose.position.x == pytest.approx(2.0, abs=2e-3)
