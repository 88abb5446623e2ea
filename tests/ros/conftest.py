"""The ROS package is no part of the pip install's import path under every layout: put its source folder there."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
for folder in (
    ROOT / "ros2_ws" / "src" / "molmo_robot",
    ROOT / "ros2_ws" / "src" / "molmo_point_ros",
    ROOT / "calibration",
    Path(__file__).parent,
):
    # First, also where it is in the path already: a built workspace that is sourced has a copy of its own.
    sys.path.insert(0, str(folder))

# Generated messages of Jazzy and later check what they are given only where this is set before they are imported.
os.environ.setdefault("ROS_PYTHON_CHECK_FIELDS", "1")

pytest.importorskip(
    "rosbags", reason='message classes come from rosbags: pip install "molmo-point[bag]"'
)


@pytest.fixture(scope="session")
def types() -> Any:
    """Message definitions of Jazzy with ours added."""
    from molmo_robot.dds.types import RosTypes

    return RosTypes("jazzy")


@pytest.fixture(
    scope="module",
    params=["fake", pytest.param("real", marks=pytest.mark.ros2)],
)
def ros(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A world with an rclpy: the small fake, and the real one where it is sourced together with the built workspace."""
    from ros_world import alone, world

    if request.param == "real":
        for name in ("rclpy", "molmo_point_msgs.msg", "vision_msgs.msg"):
            pytest.importorskip(name, reason=f"needs a sourced ROS 2 with {name}")
        with alone(), world() as rclpy:
            yield rclpy
        return
    from fake_ros_path import fake_world

    with fake_world(), world() as rclpy:
        yield rclpy


@pytest.fixture
def robot(ros: Any) -> Iterator[Any]:
    """Makes robots and stops what they started."""
    from node_robot import Robot
    from ros_world import spinning

    made = []

    def make_robot(pointer: Any = None, connect: Any = None, **values: Any) -> Any:
        robot = Robot(ros, pointer, connect, **values)
        stack = contextlib.ExitStack()
        stack.enter_context(spinning(robot.node, robot.helper))
        made.append((robot, stack))
        return robot

    yield make_robot
    for robot, stack in made:
        with contextlib.suppress(RuntimeError):  # a test has shut it down already
            robot.node.trigger_shutdown()
        stack.close()
