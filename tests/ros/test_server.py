"""The session and a real server on a real socket: found late, gone, back again, cancelled, encrypted keys refused early."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from molmo_robot.codes import Code
from molmo_robot.dds.types import RosTypes
from molmo_robot.reconnecting_pointer import connect
from molmo_robot.session import Session
from molmo_robot.settings import Settings
from molmo_robot.types import Request
from robot_scene import BALL_ODOM, Drive, Scene, find_ball
from ros_world import wait_for

from molmo_point.errors import Cancelled, UsageError
from molmo_point.images import Array
from molmo_point.points import Point
from molmo_point.service.run import ServeOptions, Service
from molmo_point.testing import FakePointer


def free_address() -> str:
    """A tcp:// address that nobody listens on now."""
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{found.getsockname()[1]}"


@pytest.fixture
def serve() -> Iterator[Any]:
    running = []

    def begin(address: Any, pointer: Any) -> Any:
        service = Service(lambda: pointer, ServeOptions(zmq=address, publish=None, http=None))
        service.start()
        running.append(service)
        return service

    yield begin
    for service in running:
        service.stop()


@pytest.fixture
def drive(types: RosTypes) -> Iterator[Any]:
    """A session whose server is at an address where nobody listens yet."""
    address = free_address()
    settings = Settings.of(
        {
            "server_endpoint": address,
            "camera.image_topic": "/camera/image",
            "camera.info_topic": "/camera/camera_info",
            "camera.depth_topic": "/camera/depth",
            "target_frame": "odom",
            "tf_timeout_s": 0.0,
        }
    )
    drive = Drive(Scene(types))
    pointer = connect(settings)
    drive.session = Session(settings, pointer, clock=drive.clock)
    drive.begin()
    drive.advance(0.2)
    yield drive
    pointer.close()


def test_a_server_that_comes_late_is_found_by_the_next_request(drive: Drive, serve: Any) -> None:
    address = drive.session.settings.server_endpoint
    early = drive.session.point(Request("ball", timeout_s=3))
    assert early.code is Code.MODEL_ERROR
    assert address in early.message
    serve(address, FakePointer(find_ball))
    outcome = drive.session.point(Request("ball", timeout_s=10))
    assert outcome.code is Code.SUCCEEDED, outcome.message
    assert np.linalg.norm(outcome.answer.points[0].position.xyz - BALL_ODOM) < 0.002


def test_a_server_that_goes_and_comes_back_is_used_again(drive: Drive, serve: Any) -> None:
    address = drive.session.settings.server_endpoint
    first = serve(address, FakePointer(find_ball))
    assert drive.session.point(Request("ball", timeout_s=10)).code is Code.SUCCEEDED
    first.stop()
    gone = drive.session.point(Request("ball", timeout_s=1))
    assert gone.code in (Code.MODEL_ERROR, Code.TIMED_OUT), gone
    assert gone.message
    serve(address, FakePointer(find_ball))
    assert drive.session.point(Request("ball", timeout_s=10)).code is Code.SUCCEEDED


class Endless(FakePointer):
    """Gives points until it is closed, and tells that it was."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.cancelled = threading.Event(), threading.Event()

    def stream(self, image: Array, query: str, **options: Any) -> Iterator[Any]:
        try:
            for index in range(2500):
                self.begun.set()
                time.sleep(0.01)
                yield Point(x=0.5, y=0.5, index=index)
        except GeneratorExit:
            self.cancelled.set()
            raise
        return self.point(image, query)


def test_cancelling_reaches_the_model_behind_the_socket(drive: Drive, serve: Any) -> None:
    pointer = Endless()
    serve(drive.session.settings.server_endpoint, pointer)
    outcome = drive.session.point(Request("ball", timeout_s=29), cancelled=pointer.begun.is_set)
    assert outcome.code is Code.CANCELED
    wait_for(pointer.cancelled.is_set, 20, "the model's cancellation")


class Thinking(FakePointer):
    """Thinks until its stream is cancelled, as a model that looks up between two tokens; gives no point before."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.stopped = threading.Event(), threading.Event()

    def stream(self, image: Array, query: str, **options: Any) -> Thought:
        self.begun.set()
        return Thought(self.stopped)


class Thought:
    def __init__(self, stopped: Any) -> None:
        self.cancel = stopped.set
        self._stopped = stopped

    def __next__(self) -> None:
        assert self._stopped.wait(60), "nobody stopped the model"
        raise Cancelled("stopped")

    def close(self) -> None:
        pass


def test_cancelling_stops_a_model_that_has_not_given_a_point_yet(drive: Drive, serve: Any) -> None:
    """Nothing comes from the server that could wake the thread which asks: the cancellation itself has to."""
    pointer = Thinking()
    serve(drive.session.settings.server_endpoint, pointer)
    outcome = drive.session.point(Request("ball", timeout_s=29), cancelled=pointer.begun.is_set)
    assert outcome.code is Code.CANCELED
    wait_for(pointer.stopped.is_set, 20, "the model's end")
    wait_for(lambda: len(drive.session.counter) == 0, 20, "the place in the line")


def test_a_key_needs_an_endpoint_that_knows_keys() -> None:
    settings = Settings.of({"server_endpoint": "http://gpu:8000", "server_key": "robot.key"})
    with pytest.raises(UsageError, match="server_key: only tcp:// endpoints"):
        connect(settings)
