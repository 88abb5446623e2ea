"""What both rclpy contract tests and node tests need: an rclpy, an executor spinning in a thread, and waiting with a limit."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).parents[2] / "ros2_ws" / "src" / "molmo_point_ros"
EXECUTABLE = (
    *(sys.executable, "-c", "from molmo_point_ros.point_node import main; main()"),
    "--ros-args",
)
"""`ros2 run molmo_point_ros point_node --ros-args`, of these sources."""


@contextlib.contextmanager
def alone() -> Iterator[Any]:
    """A corner of the network of our own: robots in the same room neither hear these tests nor disturb them."""
    ours = {
        "ROS_DOMAIN_ID": str(1 + os.getpid() % 100),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    }
    ours = {name: value for name, value in ours.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            del os.environ[name]


@contextlib.contextmanager
def world() -> Iterator[Any]:
    """The rclpy that is importable now, initialized, and no module of ours that has seen another one."""
    import rclpy

    _forget_shell()
    rclpy.init()
    try:
        yield rclpy
    finally:
        rclpy.try_shutdown()
        _forget_shell()


def _forget_shell() -> None:
    package = sys.modules.get("molmo_point_ros")
    prefix = "molmo_point_ros."
    for module in [name for name in sys.modules if name.startswith(prefix)]:
        del sys.modules[module]
        # `from molmo_point_ros import node` looks here first.
        if hasattr(package, module.removeprefix(prefix)):
            delattr(package, module.removeprefix(prefix))


@contextlib.contextmanager
def spinning(*nodes: Any, threads: int = 8) -> Iterator[Any]:
    """Spin nodes on a multi-threaded executor; fails if a callback failed.

    Goes on after an exception of rclpy's own: its executor can meet an entity that another thread is about to destroy. So does
    `point_node.spin`.
    """
    from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor

    executor = MultiThreadedExecutor(num_threads=threads)
    for node in nodes:
        executor.add_node(node)
    failures = []

    def spin() -> None:
        while True:
            try:
                executor.spin()
                return
            except ExternalShutdownException:
                return
            except Exception as error:
                if not _raised_by_rclpy(error):
                    failures.append(error)
                    return

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    try:
        yield executor
    finally:
        executor.shutdown()
        thread.join(10)
        for node in nodes:
            node.destroy_node()
    assert not failures, f"an exception ended the executor: {failures}"


def _raised_by_rclpy(error: Any) -> Any:
    """Whether no callback of ours is on the way from `spin` to where it was raised."""
    _, *inner = traceback.walk_tb(error.__traceback__)
    files = [Path(frame.f_code.co_filename) for frame, _ in inner]
    ours = {"tests", "molmo_point_ros", "molmo_robot", "molmo_point"}
    return not any(ours & set(f.parts) for f in files if f.parent.name != "rclpy")


def wait_for(condition: Any, timeout_s: float = 10.0, what: str = "the condition") -> None:
    """Wait until it is true; the generous limit only matters where it fails."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"{what} did not come true within {timeout_s} s"
        time.sleep(0.01)


def result(future: Any, timeout_s: float = 20.0) -> Any:
    """Wait for a future of rclpy."""
    wait_for(future.done, timeout_s, "the answer")
    return future.result()


@contextlib.contextmanager
def running(*command: Any) -> Iterator[Any]:
    """A process in its own group; afterwards it is interrupted as by Ctrl-C. Yields a function that reads its output so far."""
    path = os.pathsep.join([str(SOURCES), *filter(None, [os.environ.get("PYTHONPATH")])])
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": path},
    ) as process:
        os.set_blocking(process.stdout.fileno(), False)
        lines = []

        def output() -> Any:
            with contextlib.suppress(TypeError, ValueError):  # nothing new, and closed
                lines.append(process.stdout.read() or "")
            return "".join(lines)

        try:
            yield process, output
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(20)
                output()
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise
