"""Ten minutes of a robot's day: the executable, a server on a socket, a camera at 30 Hz, goals without end, some cancelled."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from molmo_robot.codes import Code, PositionStatus
from node_robot import CAMERA, Camera
from robot_scene import BALL_ODOM, Scene, find_ball
from ros_world import EXECUTABLE, running, spinning, wait_for

from molmo_point.service.run import ServeOptions, Service
from molmo_point.testing import FakePointer

pytestmark = [pytest.mark.ros2, pytest.mark.parametrize("ros", ["real"], indirect=True)]
pytest.importorskip("rclpy", reason="needs a sourced ROS 2 with the built workspace")

SOAK_S = float(os.environ.get("MOLMO_POINT_SOAK_S", "600"))
WARM_S = min(90.0, SOAK_S / 4)
"""After this the buffers of images, transforms and results (30 s) are full."""


class Client:
    """Sends goals one after the other, some with an image of their own, and withdraws every tenth.

    It spins its node itself: rclpy's action client loses the answer that comes between sending a request on one thread and
    noting it down while another thread spins (one of 1500 here).
    """

    def __init__(self, ros: Any, scene: Scene) -> None:
        from molmo_point_msgs.action import Point
        from rclpy.action import ActionClient
        from rclpy.executors import SingleThreadedExecutor

        self._goal = Point.Goal
        self._image, self._info = scene.image(scene.start_ns), scene.info()
        self._node = ros.create_node("client")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._action = ActionClient(self._node, Point, "/point_node/point")
        assert self._action.wait_for_server(timeout_sec=60)
        self.ended, self.positions, self.took = {}, {}, []

    def _result(self, future: Any) -> Any:
        self._executor.spin_until_future_complete(future, 30)
        assert future.done(), "no answer within 30 s"
        return future.result()

    def ask(self, number: Any) -> Any:
        goal = self._goal(query="ball", compute_position=True)
        if number % 10 == 3:
            goal.image, goal.camera_info = self._image, self._info
        begun = time.monotonic()
        handle = self._result(self._action.send_goal_async(goal))
        assert handle.accepted
        if number % 10 == 7:
            handle.cancel_goal_async()
        answer = self._result(handle.get_result_async()).result
        self.took.append(time.monotonic() - begun)
        self.ended[Code(answer.code)] = self.ended.get(Code(answer.code), 0) + 1
        if answer.code == Code.SUCCEEDED and number % 10 != 3:
            found = answer.answer.points[0]
            status = PositionStatus(found.position_status)
            self.positions[status] = self.positions.get(status, 0) + 1
            if status is PositionStatus.OK:
                at = found.position
                assert np.linalg.norm(BALL_ODOM - [at.x, at.y, at.z]) < 0.002, answer.answer
        return answer.code


def memory_mb(process: Any) -> Any:
    """Resident memory of a process in MB."""
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.slow
@pytest.mark.timeout(int(SOAK_S) + 600)
def test_a_soak_loses_no_answer_and_no_memory(ros: Any) -> None:
    from molmo_point_msgs.msg import PointArray

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{found.getsockname()[1]}"
    values = {**CAMERA, "server_endpoint": address}
    options = [part for name, value in values.items() for part in ("-p", f"{name}:={value}")]
    helper, heard, stop = ros.create_node("helper"), [], threading.Event()
    service = Service(
        lambda: FakePointer(find_ball, delay_s=0.02),
        ServeOptions(zmq=address, publish=None, http=None),
    )
    with service, spinning(helper), running(*EXECUTABLE, *options) as (process, output):
        helper.create_subscription(PointArray, "/point_node/points", heard.append, 10)
        camera = Camera(helper)
        client = Client(ros, camera.scene)
        wait_for(lambda: "answers with fake" in output(), 60, "the node")

        def film() -> None:
            while not stop.wait(1 / 30):
                camera.show()

        filming = threading.Thread(target=film)
        filming.start()
        try:
            wait_for(lambda: client.ask(0) == Code.SUCCEEDED, 30, "the first answer")
            memory = _soak(client, process, output)
        finally:
            stop.set()
            filming.join(10)
    assert process.returncode == 0, output()
    print(
        f"{sum(client.ended.values())} goals in {SOAK_S:.0f} s: "
        + ", ".join(f"{code.name} {count}" for code, count in client.ended.items())
        + "; positions "
        + ", ".join(f"{status.name} {count}" for status, count in client.positions.items())
        + f"; goal to result median {np.median(client.took) * 1e3:.0f} ms, 99 % "
        f"{np.percentile(client.took, 99) * 1e3:.0f} ms; {len(heard)} answers heard; "
        f"memory after {WARM_S:.0f} s {memory[0]:.1f} MB, at the end {memory[-1]:.1f} MB, most {max(memory):.1f} MB"
    )
    assert set(client.ended) <= {Code.SUCCEEDED, Code.CANCELED}
    assert len(client.took) > 100
    assert client.positions[PositionStatus.OK] > 0.99 * sum(client.positions.values())
    assert memory[-1] < 1.1 * memory[0]


def _soak(client: Any, process: Any, output: Any) -> Any:
    begun, memory, number = time.monotonic(), [], 0
    while (now := time.monotonic() - begun) < SOAK_S:
        number += 1
        client.ask(number)
        if now > WARM_S + len(memory) * SOAK_S / 40:
            memory.append(memory_mb(process))
            print(f"{now:.0f} s: {memory[-1]:.1f} MB, {number} goals", flush=True)
            output()
    return memory
