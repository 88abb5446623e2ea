"""The executable `point_node`: an executor with enough threads, autostart, and the real model's server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from molmo_robot.continuous_pointing import MakeTracker, tracker_factory
from molmo_robot.model_call import StreamingPointer
from molmo_robot.parameters import find
from molmo_robot.reconnecting_pointer import connect
from molmo_robot.settings import Settings
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn

from molmo_point_ros.node import PointNode

RETRY_S = 5.0
SPARE_THREADS = 4
"""Besides the requests that wait for the model: sensors, diagnostics, goal and cancel handling, services."""

THREADS = int(find("max_queue", ()).high or 0) + SPARE_THREADS
"""As many as `max_queue` may ever be set to; the executor starts them as they are needed."""


def start(node: PointNode, stopped: threading.Event) -> None:
    """Configure and activate, and retry until it succeeds: the parts of a robot boot in any order."""
    while not stopped.is_set():
        try:
            if node.trigger_configure() == TransitionCallbackReturn.SUCCESS:
                node.trigger_activate()
                return
        except RuntimeError as error:
            # Another client has changed the state, or the node is about to end: its choice stands.
            if not stopped.is_set() and rclpy.ok():
                node.get_logger().warning(f"autostart does not change the node: {error}")
            return
        node.get_logger().warning(f"trying to configure again in {RETRY_S:g} s")
        stopped.wait(RETRY_S)


def run(
    args: Sequence[str] | None = None,
    *,
    connect: Callable[[Settings], StreamingPointer] = connect,
    make_tracker: MakeTracker | None = None,
    **options: Any,
) -> None:
    """Spin a node until it is told to stop."""
    rclpy.init(args=args)
    node = PointNode(connect, make_tracker or tracker_factory(), **options)
    executor = MultiThreadedExecutor(num_threads=THREADS)
    executor.add_node(node)
    stopped = threading.Event()
    starter = threading.Thread(target=start, args=(node, stopped), daemon=True)
    if node.get_parameter("autostart").value:
        starter.start()
    try:
        spin(node, executor)
    finally:
        stopped.set()
        shut_down(node)
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()


def shut_down(node: PointNode) -> None:
    """Shut the node down, whatever state it is in; on Ctrl-C rclpy has closed the graph already."""
    try:
        node.trigger_shutdown()
    except RuntimeError:
        node.free()


def spin(node: PointNode, executor: MultiThreadedExecutor) -> None:
    """Spin until the node is told to stop; an exception in a callback is logged and does not end it.

    rclpy lets such exceptions out of `spin`, also those of its own: a lifecycle manager that asks for a transition by its
    number from the wrong state would end the process.
    """
    while True:
        try:
            executor.spin()
            return
        except (KeyboardInterrupt, ExternalShutdownException):
            return
        except Exception as error:
            if not rclpy.ok():
                return
            node.get_logger().error(f"a callback failed: {type(error).__name__}: {error}")


def main(args: Sequence[str] | None = None) -> None:
    """Entry point of `ros2 run molmo_point_ros point_node`."""
    run(args)
