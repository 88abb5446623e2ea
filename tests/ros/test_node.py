"""The node answers: its plumbing against the fake rclpy, and the same tests against a real one where it is sourced."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from molmo_robot.codes import Code, PositionStatus, Stage
from node_robot import answers_of
from robot_scene import BALL_ODOM, SECOND
from ros_world import result, wait_for

from molmo_point.images import Array
from molmo_point.points import Point
from molmo_point.testing import FakePointer


def test_an_action_gives_the_position_at_the_images_stamp_and_publishes_it(robot: Any) -> None:
    robot = robot().up()
    kinds = {
        "detections": "vision_msgs/msg/Detection2DArray",
        "point": "geometry_msgs/msg/PointStamped",
        "pose": "geometry_msgs/msg/PoseWithCovarianceStamped",
        "poses": "geometry_msgs/msg/PoseArray",
        "markers": "visualization_msgs/msg/MarkerArray",
    }
    heard = {name: robot.listen(kind, f"/point_node/{name}") for name, kind in kinds.items()}
    stamp_ns = robot.show()
    response = result(robot.goal().get_result_async())
    answer = response.result.answer
    assert (response.status, response.result.code) == (4, Code.SUCCEEDED)
    assert (answer.header.frame_id, answer.position_header.frame_id) == ("camera_optical", "odom")
    assert answer.header.stamp.sec * SECOND + answer.header.stamp.nanosec == stamp_ns
    assert answer.header.stamp == answer.position_header.stamp
    found = answer.points[0]
    assert found.position_status == PositionStatus.OK
    xyz = [found.position.x, found.position.y, found.position.z]
    assert np.linalg.norm(BALL_ODOM - xyz) < 0.002
    assert np.linalg.eigvalsh(np.reshape(found.position_covariance, (3, 3))).min() > 0
    for name, messages in heard.items():
        wait_for(lambda m=messages: m, what=name)
    point = heard["point"][0]
    assert (point.header.frame_id, point.point.x) == ("odom", found.position.x)
    assert heard["detections"][0].header.frame_id == "camera_optical"
    assert len(heard["markers"][0].markers) == 3


def test_a_late_joiner_gets_the_last_answer(robot: Any) -> None:
    robot = robot().up()
    robot.show()
    result(robot.goal().get_result_async())
    heard = answers_of(robot)
    wait_for(lambda: heard)
    assert heard[0].query == "ball"


class Writing(FakePointer):
    """Has written its points, and ends its answer when it is told to."""

    def __init__(self, points: Any) -> None:
        super().__init__({"cups": points})
        self.end = threading.Event()

    def stream(self, image: Array, query: str, **options: Any) -> Iterator[Any]:
        pointing = yield from super().stream(image, query, **options)
        assert self.end.wait(20)
        return pointing


def test_points_stream_as_feedback(robot: Any) -> None:
    """While the goal runs: rclpy's client drops feedback that is still on its way when the result comes."""
    pointer = Writing([Point(x=0.2, y=0.3), Point(x=0.6, y=0.7, index=1)])
    robot = robot(pointer).up()
    robot.show()
    seen = []
    handle = robot.goal(
        lambda m: seen.append((m.feedback.stage, len(m.feedback.partial.points))), query="cups"
    )
    wait_for(lambda: len(seen) >= 4)
    pointer.end.set()
    assert len(result(handle.get_result_async()).result.answer.points) == 2
    assert seen == [
        (Stage.WAITING_FOR_IMAGE, 0),
        (Stage.ASKING, 0),
        (Stage.ASKING, 1),
        (Stage.ASKING, 2),
    ]


class Thinking(FakePointer):
    """Thinks in small steps until it is released, and knows whether it was cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.cancelled, self.release = (threading.Event() for _ in range(3))

    def stream(self, image: Array, query: str, **options: Any) -> Iterator[Any]:
        self.asked.set()
        try:
            while not self.release.wait(0.01):
                yield Point(x=0.5, y=0.5)
        finally:
            self.cancelled.set()
        return self.point(image, query)


def test_a_goal_is_cancelled_while_the_model_thinks(robot: Any) -> None:
    pointer = Thinking()
    robot = robot(pointer).up()
    robot.show()
    handle = robot.goal()
    assert pointer.asked.wait(10)
    result(handle.cancel_goal_async())
    response = result(handle.get_result_async())
    assert (response.status, response.result.code) == (5, Code.CANCELED)
    assert pointer.cancelled.wait(10)


def test_sensors_are_heard_while_the_model_thinks(robot: Any) -> None:
    pointer = Thinking()
    robot = robot(pointer).up()
    robot.show()
    handle = robot.goal()
    assert pointer.asked.wait(10)
    before = robot.node.session.buffers["camera"].counts.images
    for _ in range(3):
        robot.show()
    assert robot.node.session.buffers["camera"].counts.images == before + 3
    pointer.release.set()
    assert result(handle.get_result_async()).result.code == Code.NO_POINTS


def test_deactivating_cancels_what_runs_and_rejects_what_comes(robot: Any) -> None:
    pointer = Thinking()
    robot = robot(pointer).up()
    robot.show()
    handle = robot.goal()
    assert pointer.asked.wait(10)
    robot.node.trigger_deactivate()
    response = result(handle.get_result_async())
    assert (response.status, response.result.code) == (6, Code.CANCELED)
    assert not robot.goal().accepted
    robot.node.trigger_activate()
    assert robot.goal(query="").accepted


def test_the_service_answers_in_one_call_and_says_what_is_wrong(robot: Any) -> None:
    from molmo_point_msgs.srv import Point as Service

    robot = robot().up()
    robot.show()
    good = robot.call(
        Service, "/point_node/query", Service.Request(query="ball", compute_position=True)
    )
    assert (good.code, good.answer.points[0].position_status) == (
        Code.SUCCEEDED,
        PositionStatus.OK,
    )
    empty = robot.call(Service, "/point_node/query", Service.Request(query=""))
    assert empty.code == Code.INVALID_REQUEST
    assert "expected a few words" in empty.message
    assert not empty.answer.points


def test_the_service_of_an_inactive_node_says_so(robot: Any) -> None:
    from molmo_point_msgs.srv import Point as Service

    robot = robot()
    robot.node.trigger_configure()
    response = robot.call(Service, "/point_node/query", Service.Request(query="ball"))
    assert response.code == Code.CANCELED
    assert "not active" in response.message


def test_continuous_pointing_starts_pauses_and_stops(robot: Any) -> None:
    from molmo_point_msgs.srv import SetQuery
    from std_srvs.srv import SetBool

    robot = robot().up()
    heard = answers_of(robot)
    robot.show()

    def set_query(words: Any, camera: str = "") -> Any:
        return robot.call(
            SetQuery, "/point_node/set_query", SetQuery.Request(query=words, camera=camera)
        )

    def shown_until_heard() -> None:
        count = len(heard)
        end = time.monotonic() + 10
        while len(heard) == count:
            assert time.monotonic() < end, "no answer"
            robot.show()
            time.sleep(0.05)

    started = set_query("ball")
    assert (started.accepted, started.message) == (True, "pointing to 'ball' on camera")
    shown_until_heard()
    assert heard[-1].points
    assert not set_query("ball", camera="rear").accepted
    robot.call(SetBool, "/point_node/enable", SetBool.Request(data=False))
    time.sleep(0.1)
    count = len(heard)
    robot.show()
    time.sleep(0.2)
    assert len(heard) == count
    robot.call(SetBool, "/point_node/enable", SetBool.Request(data=True))
    shown_until_heard()
    assert set_query("").message == "stopped"


def test_a_text_topic_sets_the_query(robot: Any) -> None:
    from std_msgs.msg import String

    robot = robot().up()
    heard = answers_of(robot)
    publisher = robot.publisher("std_msgs/msg/String", "/point_node/query_text")
    wait_for(lambda: publisher.get_subscription_count() == 1)
    publisher.publish(String(data="ball"))
    wait_for(lambda: robot.node.continuous.request is not None)
    robot.show()
    wait_for(lambda: heard)
    assert heard[0].query == "ball"
