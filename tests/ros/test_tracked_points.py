"""Points carried from frame to frame: what a slow model's answer is worth, and what a dropped frame must not do."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from molmo_robot.codes import PositionStatus
from molmo_robot.continuous_pointing import ContinuousPointing
from molmo_robot.dds.types import RosTypes
from molmo_robot.session import Session
from molmo_robot.settings import Settings
from molmo_robot.types import Request
from robot_scene import SECOND, Scene, find_ball
from ros_world import wait_for

from molmo_point.errors import ServerGone
from molmo_point.images import Array
from molmo_point.points import Status
from molmo_point.testing import FakePointer

pytest.importorskip("cv2", reason='tracking needs: pip install "molmo-point[tracking]"')

from molmo_point.tracking.tracker import Tracker


@pytest.fixture
def scene(types: RosTypes) -> Scene:
    return Scene(types)


def rgb(scene: Scene, stamp_ns: int) -> Any:
    return scene.image(stamp_ns).data.reshape(scene.height, scene.width, 3)


def show(tracker: Any, scene: Scene, stamps: Any) -> Any:
    """Add frames; return what the newest one shows of the ball."""
    for stamp in stamps:
        number = tracker.add_frame(rgb(scene, stamp), stamp / SECOND, stamp)
    return number, tracker.answer("ball", doubtful=False)[0]


def find(scene: Scene, stamp_ns: int) -> Any:
    return FakePointer(find_ball).point(rgb(scene, stamp_ns), "ball")


def error_px(point: Any, scene: Scene, stamp_ns: int) -> Any:
    where = np.array([point.x, point.y]) * (scene.width, scene.height) - 0.5
    return np.linalg.norm(where - scene.ball_uv(stamp_ns))


def test_a_point_that_a_frame_does_not_show_again_is_not_given_for_it(scene: Scene) -> None:
    """Frames were dropped: the ball has moved by more than flow can track, and where it was there is only wall."""
    tracker = Tracker()
    stamps = [scene.start_ns, scene.start_ns + SECOND // 30]
    number, _ = show(tracker, scene, stamps)
    tracker.add_answer(number, find(scene, stamps[1]))
    late = [
        stamps[1] + SECOND,
        stamps[1] + SECOND + SECOND // 30,
        stamps[1] + SECOND + SECOND // 15,
    ]
    for stamp, in_doubt in zip(late, (1, 1, 0), strict=True):
        number, pointing = show(tracker, scene, [stamp])
        assert (pointing.status, pointing.points) == (Status.PENDING, ())
        assert tracker.doubtful("ball") == in_doubt
    tracker.add_answer(number, find(scene, late[2]))
    assert tracker.answer("ball", doubtful=False)[0].status is Status.FOUND


def test_whatever_frames_are_dropped_every_point_is_where_the_ball_is(scene: Scene) -> None:
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(4):
        tracker = Tracker()
        stamp = scene.start_ns + int(rng.integers(0, 30)) * SECOND // 10
        number, _ = show(tracker, scene, [stamp])
        tracker.add_answer(number, find(scene, stamp))
        for _ in range(10):
            stamp += int(rng.integers(1, 7)) * SECOND // 10
            number, pointing = show(tracker, scene, [stamp])
            for point in pointing.points:
                found += 1
                assert error_px(point, scene, stamp) < 2.0
            if not pointing.points:
                tracker.add_answer(number, find(scene, stamp))
    assert found > 5


class Noted(Tracker):
    """A tracker that writes down what it is told to keep."""

    def __init__(self) -> None:
        super().__init__()
        self.said = []

    def expect(self, frame: Any) -> None:
        self.said.append(("expect", frame))
        super().expect(frame)

    def release(self, frame: Any) -> None:
        self.said.append(("release", frame))
        super().release(frame)

    def merge(self, catch_up: Any) -> Any:
        self.said.append(("merge", catch_up.asked.number))
        return super().merge(catch_up)


@pytest.mark.parametrize("fails", [False, True])
def test_the_frame_of_a_question_is_expected_until_it_ends(scene: Scene, fails: bool) -> None:
    settings = Settings.of(
        {"camera.image_topic": "/image", "camera.info_topic": "", "camera.depth_topic": ""}
    )
    noted, published, asked = Noted(), [], threading.Event()

    def answer(image: Array, query: str) -> Any:
        asked.set()
        return ServerGone("gone") if fails else find_ball(image, query)

    session = Session(settings, FakePointer(answer), clock=lambda: scene.start_ns)
    continuous = ContinuousPointing(session, published.append, lambda: noted)
    continuous.set(Request("ball", compute_position=False))
    try:
        continuous.offer("camera", scene.image(scene.start_ns))
        assert asked.wait(10)
        wait_for(lambda: any(word == "release" for word, _ in noted.said))
    finally:
        continuous.stop()
    words = ["expect", "release"] if fails else ["expect", "merge", "release"]
    assert noted.said[: len(words)] == [(word, 1) for word in words]
    assert all(p.position.status is not PositionStatus.OK for a in published for p in a.points)
