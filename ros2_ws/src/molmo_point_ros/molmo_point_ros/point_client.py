"""The executable `point_client`: ask the node once, from the command line, and see the points arrive.

`ros2 run molmo_point_ros point_client "the red mug" --frame odom`, with `--ros-args -r ...` behind it or from a launch file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import rclpy
from molmo_robot.codes import Code, PositionStatus
from rclpy.action import ActionClient

from molmo_point_ros.rclpy_types import message_class

FOUND, FAILED, NOTHING = 0, 1, 3


def without_ros(arguments: Sequence[str]) -> list[str]:
    """Return a command line without what is ROS's own: everything from `--ros-args` to `--`, or to the end.

    `ros2 launch` and `ros2 run` add such arguments (`--ros-args -r __node:=asker`); rclpy reads them itself.
    """
    kept, ours = [], True
    for argument in arguments:
        if argument == "--ros-args":
            ours = False
        elif ours:
            kept.append(argument)
        elif argument == "--":
            ours = True
    return kept


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line; arguments for ROS are passed over."""
    parser = argparse.ArgumentParser(
        prog="point_client", description="Ask the pointing node once."
    )
    parser.add_argument("query", help="what to point to, in a few words")
    parser.add_argument("--node", default="/point_node", help="full name of the node")
    parser.add_argument(
        "--camera", default="", help="camera in its parameters; default: the first"
    )
    parser.add_argument("--frame", default="", help="frame of the positions; default: the node's")
    parser.add_argument("--pixels", action="store_true", help="no positions, only pixels")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds (default 60)")
    return parser.parse_args(without_ros(arguments))


def line_of(found: Any, frame: str) -> str:
    """Return one found object as one line of text."""
    words = f"({found.u:.1f}, {found.v:.1f}) px  score {found.score:.2f}  {found.label}"
    if found.position_status == PositionStatus.OK:
        at = found.position
        return f"{words}  ({at.x:.3f}, {at.y:.3f}, {at.z:.3f}) m in {frame}"
    if found.position_status == PositionStatus.NOT_REQUESTED:
        return words
    return f"{words}  no position: {PositionStatus(found.position_status).name}"


def ask(node: Any, arguments: argparse.Namespace) -> int:
    """Send the goal, print the answer; returns the exit code."""
    action = message_class("molmo_point_msgs/action/Point")
    client = ActionClient(node, action, f"{arguments.node}/point")
    if not client.wait_for_server(timeout_sec=arguments.timeout):
        sys.stderr.write(f"no node answers at {arguments.node}: is it running and configured?\n")
        return FAILED
    goal = action.Goal(
        query=arguments.query,
        camera=arguments.camera,
        target_frame=arguments.frame,
        compute_position=not arguments.pixels,
    )

    def show(message: Any) -> None:
        sys.stderr.write(f"\r{len(message.feedback.partial.points)} points so far ")

    handle = _wait(node, client.send_goal_async(goal, feedback_callback=show), arguments.timeout)
    if handle is None or not handle.accepted:
        sys.stderr.write("the goal was not accepted: is the node active?\n")
        return FAILED
    response = _wait(node, handle.get_result_async(), arguments.timeout)
    if response is None:
        _wait(node, handle.cancel_goal_async(), 1.0)
        sys.stderr.write(f"\nno answer within {arguments.timeout:g} s: cancelled\n")
        return FAILED
    return report(response.result)


def report(result: Any) -> int:
    """Print a result on stdout; returns the exit code."""
    sys.stderr.write("\n")
    if result.message:
        sys.stderr.write(f"{Code(result.code).name}: {result.message}\n")
    for found in result.answer.points:
        sys.stdout.write(line_of(found, result.answer.position_header.frame_id) + "\n")
    if result.answer.position_message:
        sys.stderr.write(f"{result.answer.position_message}\n")
    if result.answer.points:
        return FOUND
    return NOTHING if result.code == Code.NO_POINTS else FAILED


def _wait(node: Any, future: Any, timeout_s: float) -> Any:
    rclpy.spin_until_future_complete(node, future, timeout_sec=timeout_s)
    return future.result() if future.done() else None


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `ros2 run molmo_point_ros point_client`."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parsed = parse(given)
    rclpy.init(args=given)
    node = rclpy.create_node("point_client")
    try:
        code = ask(node, parsed)
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    sys.exit(code)
