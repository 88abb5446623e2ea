"""What only a real ROS 2 can show: cancel latency, simulated time, positions while driving, a soak (docs/robots.md says how).

`test_rclpy_contract.py` (QoS matrix, lifecycle with failing transitions), `test_node.py` and `test_node_life.py` (streaming,
late joiner, parameters) run against the real rclpy, too; this file needs it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from molmo_robot.codes import Code, PositionStatus
from robot_scene import BALL_ODOM, SECOND, find_ball
from ros_world import result, wait_for

from molmo_point.images import Array
from molmo_point.points import Point
from molmo_point.testing import FakePointer

pytestmark = [pytest.mark.ros2, pytest.mark.parametrize("ros", ["real"], indirect=True)]
pytest.importorskip("rclpy", reason="needs a sourced ROS 2 with the built workspace")


class Thinking(FakePointer):
    """Thinks until it is cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()

    def stream(self, image: Array, query: str, **options: Any) -> Iterator[Any]:
        self.asked.set()
        for _ in range(3000):
            time.sleep(0.01)
            yield Point(x=0.5, y=0.5)


def test_cancel_takes_at_most_a_fifth_of_a_second(robot: Any) -> None:
    robot = robot(Thinking()).up()
    robot.show()
    took = []
    for _ in range(10):
        robot.pointer.asked.clear()
        handle = robot.goal()
        assert robot.pointer.asked.wait(10)
        start = time.monotonic()
        handle.cancel_goal_async()
        response = result(handle.get_result_async())
        took.append(time.monotonic() - start)
        assert response.result.code == Code.CANCELED
        time.sleep(0.1)
    print(
        f"cancel to result: median {np.median(took) * 1e3:.0f} ms, worst {max(took) * 1e3:.0f} ms"
    )
    assert max(took) <= 0.2


def test_positions_are_those_of_the_stamp_while_the_robot_drives_on(robot: Any) -> None:
    def slow(image: Array, query: str) -> Any:
        time.sleep(1.5)
        return find_ball(image, query)

    robot = robot(FakePointer(slow)).up()
    robot.show()
    stop = threading.Event()

    def drive() -> None:
        while not stop.is_set():
            robot.show()
            time.sleep(1 / 30)

    driver = threading.Thread(target=drive)
    driver.start()
    try:
        for _ in range(10):
            answer = result(robot.goal().get_result_async()).result.answer
            assert answer.points[0].position_status == PositionStatus.OK, answer.position_message
            at = answer.points[0].position
            assert np.linalg.norm(BALL_ODOM - [at.x, at.y, at.z]) < 0.002
    finally:
        stop.set()
        driver.join(10)


def test_simulated_time_that_is_set_back_clears_the_session(robot: Any) -> None:
    from rosgraph_msgs.msg import Clock

    robot = robot(use_sim_time=True).up()
    clock = robot.helper.create_publisher(Clock, "/clock", 10)
    wait_for(lambda: clock.get_subscription_count() > 0)

    def set_time(seconds: float) -> None:
        message = Clock()
        message.clock.sec = seconds
        clock.publish(message)
        wait_for(lambda: robot.node.get_clock().now().nanoseconds == seconds * SECOND)

    set_time(100)
    robot.show()
    set_time(10)
    session = robot.node.session
    wait_for(lambda: session.health.jumps == 1)
    assert session.buffers["camera"].newest_stamp_ns() is None
    robot.show()
    assert result(robot.goal().get_result_async()).result.code == Code.SUCCEEDED
