"""What a real ROS 2 puts on the wire: QoS of every pair, type hashes, feedback in time, late joiners, the DDS bridge."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from molmo_robot.codes import Code
from node_robot import CAMERA
from robot_scene import BALL_ODOM
from ros_world import result, spinning, wait_for

from molmo_point.images import Array
from molmo_point.points import Point
from molmo_point.testing import FakePointer

pytestmark = [pytest.mark.ros2, pytest.mark.parametrize("ros", ["real"], indirect=True)]
pytest.importorskip("rclpy", reason="needs a sourced ROS 2 with the built workspace")

MESSAGES = Path(__file__).parents[2] / "ros2_ws" / "src" / "molmo_point_msgs"
CHILD = Path(__file__).parent / "bridge_child.py"
BOTH = (True, False)


def profile(reliable: bool, latched: bool, depth: int = 5) -> Any:
    from molmo_point_ros.node import profile as profile_of
    from molmo_robot.qos import Qos

    return profile_of(Qos(reliable=reliable, latched=latched, depth=depth))


@pytest.mark.parametrize(("reliable", "latched"), [*itertools.product(BOTH, BOTH)])
def test_every_kind_of_camera_is_heard(robot: Any, reliable: bool, latched: bool) -> None:
    """Best effort subscriptions match every publisher, transient local ones included."""
    from molmo_point_ros.rclpy_types import message_class

    robot = robot()
    kinds = {"_image": "Image", "_depth": "Image", "_info": "CameraInfo"}
    topics = {"_image": "image", "_depth": "depth", "_info": "camera_info"}
    robot.up()
    robot.show()
    for name, kind in kinds.items():
        robot.helper.destroy_publisher(getattr(robot, name))
        publisher = robot.helper.create_publisher(
            message_class(f"sensor_msgs/msg/{kind}"),
            f"/camera/{topics[name]}",
            profile(reliable, latched),
        )
        setattr(robot, name, publisher)
    robot.show()
    assert result(robot.goal().get_result_async()).result.code == Code.SUCCEEDED


def test_a_node_that_wants_reliable_cameras_does_not_hear_the_others(robot: Any) -> None:
    from molmo_point_ros.rclpy_types import message_class

    robot = robot(**{"camera.reliability": "reliable"}).up()
    lossy = robot.helper.create_publisher(
        message_class("sensor_msgs/msg/Image"), "/camera/image", profile(False, False)
    )
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        lossy.publish(robot.scene.image(robot.stamp_ns))
        time.sleep(0.05)
    assert lossy.get_subscription_count() == 0
    assert robot.node.session.buffers["camera"].newest_stamp_ns() is None
    robot.helper.destroy_publisher(lossy)
    robot.show()


@pytest.mark.parametrize(("reliable", "latched"), [*itertools.product(BOTH, BOTH)])
def test_every_kind_of_subscriber_hears_the_answers(
    robot: Any, reliable: bool, latched: bool
) -> None:
    from molmo_point_msgs.msg import PointArray

    robot = robot().up()
    robot.show()
    heard = []
    robot.helper.create_subscription(
        PointArray, "/point_node/points", heard.append, profile(reliable, latched)
    )
    wait_for(lambda: robot.node._result_publishers["points"].get_subscription_count() > 0)
    result(robot.goal().get_result_async())
    wait_for(lambda: heard)


@pytest.mark.parametrize("latched", BOTH)
def test_only_a_transient_local_late_joiner_gets_the_last_answer(
    robot: Any, latched: bool
) -> None:
    """From a node of its own that is made after the answer, as RViz would be."""
    from molmo_point_msgs.msg import PointArray
    from rclpy import create_node

    robot = robot().up()
    robot.show()
    result(robot.goal(query="first ball").get_result_async())
    result(robot.goal(query="last ball").get_result_async())
    late, heard = create_node("late"), []
    with spinning(late):
        late.create_subscription(
            PointArray, "/point_node/points", heard.append, profile(True, latched)
        )
        if latched:
            wait_for(lambda: heard)
        else:
            wait_for(lambda: robot.node._result_publishers["points"].get_subscription_count() > 0)
            time.sleep(0.5)
    assert [m.query for m in heard] == (["last ball"] if latched else [])


class Slow(FakePointer):
    """Gives a point, and the next only when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.given, self.go_on, self.cancelled_at = [], threading.Event(), []

    def stream(self, image: Array, query: str, **options: Any) -> Iterator[Any]:
        try:
            for number in range(3):
                self.given.append(time.monotonic())
                yield Point(x=0.2 * (number + 1), y=0.5, index=number)
                if not self.go_on.wait(20):
                    raise RuntimeError("nobody told me to go on")
                self.go_on.clear()
        except GeneratorExit:
            self.cancelled_at.append(time.monotonic())
            raise
        return self.point(image, query)


def test_points_are_there_while_the_model_still_writes(robot: Any) -> None:
    pointer = Slow()
    robot = robot(pointer).up()
    robot.show()
    arrived, took = {}, []
    for _ in range(10):
        arrived.clear()
        pointer.given.clear()

        def feedback(message: Any) -> None:
            arrived.setdefault(len(message.feedback.partial.points), time.monotonic())

        goal = robot.goal(feedback)
        for number in range(1, 4):
            wait_for(lambda number=number: number in arrived, what=f"point {number}")
            took.append(arrived[number] - pointer.given[number - 1])
            pointer.go_on.set()
        result(goal.get_result_async())
    print(
        f"model to feedback: median {np.median(took) * 1e3:.1f} ms, worst {max(took) * 1e3:.1f} ms"
    )


def test_interfaces_have_the_hashes_that_are_frozen(ros: Any) -> None:
    """rosbags computed those in the repository; these come out of the real rosidl."""
    index = pytest.importorskip("ament_index_python")
    share = Path(index.get_package_share_directory("molmo_point_msgs"))
    found = {}
    for path in share.glob("*/*.json"):
        for entry in json.loads(path.read_text())["type_hashes"]:
            found[entry["type_name"]] = entry["hash_string"]
    for name, frozen in json.loads((MESSAGES / "type_hashes.json").read_text()).items():
        assert found[name] == frozen, name


@pytest.fixture
def bridge(ros: Any) -> Iterator[Any]:
    """`molmo-point bridge dds` in a process of its own, with the options for a ROS 2 side that stays on this machine."""
    pytest.importorskip("cyclonedds", reason='DDS needs: pip install "molmo-point[dds]"')
    parameters = {name: value for name, value in CAMERA.items() if name != "max_image_age_s"}
    options = {
        "parameters": {**parameters, "query": "ball", "camera.reliability": "reliable"},
        "domain": int(os.environ["ROS_DOMAIN_ID"]),
        "network": "localhost-only",
        "node": "molmo_point",
    }
    child = subprocess.Popen(
        [sys.executable, CHILD, json.dumps(options)],
        stdout=subprocess.PIPE,
        env={n: v for n, v in os.environ.items() if n != "PYTHONPATH"},
    )
    yield child
    child.terminate()
    child.communicate(timeout=20)


def test_the_bridge_is_a_node_on_the_graph_and_answers_what_rclpy_publishes(
    ros: Any, bridge: Any
) -> None:
    from molmo_point_msgs.msg import PointArray
    from node_robot import Camera

    helper, heard = ros.create_node("helper"), []
    with spinning(helper):
        helper.create_subscription(
            PointArray, "/molmo_point/points", heard.append, profile(True, True)
        )
        wait_for(lambda: "molmo_point" in helper.get_node_names(), 30, "the bridge on the graph")
        wait_for(lambda: helper.count_publishers("/molmo_point/points") == 1, 30, "its topic")
        (info,) = helper.get_publishers_info_by_topic("/molmo_point/points")
        frozen = json.loads((MESSAGES / "type_hashes.json").read_text())
        assert (info.node_name, info.topic_type) == (
            "molmo_point",
            "molmo_point_msgs/msg/PointArray",
        )
        assert str(info.topic_type_hash) == frozen["molmo_point_msgs/msg/PointArray"]
        camera = Camera(helper)
        end = time.monotonic() + 30
        while not heard:
            assert time.monotonic() < end, "the bridge did not answer"
            camera.show()
            time.sleep(0.1)
    answer = heard[-1]
    at = answer.points[0].position
    assert (answer.query, answer.position_header.frame_id) == ("ball", "odom")
    assert np.linalg.norm(BALL_ODOM - [at.x, at.y, at.z]) < 0.002
