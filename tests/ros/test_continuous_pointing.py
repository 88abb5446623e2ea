"""Continuous pointing: frames at camera rate, answers when the model has them, and what is published about both."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from molmo_robot.codes import PositionStatus
from molmo_robot.continuous_pointing import ContinuousPointing, tracker_factory
from molmo_robot.dds.types import RosTypes
from molmo_robot.errors import RequestError
from molmo_robot.session import Session
from molmo_robot.settings import Settings
from molmo_robot.types import Request
from robot_scene import BALL_ODOM, SECOND, Drive, Scene, find_ball
from ros_world import wait_for

from molmo_point.errors import ServerGone
from molmo_point.images import Array
from molmo_point.points import Status
from molmo_point.testing import FakePointer

CAMERA = {
    "camera.image_topic": "/camera/image",
    "camera.info_topic": "/camera/camera_info",
    "camera.depth_topic": "/camera/depth",
    "target_frame": "odom",
    "tf_timeout_s": 0.0,
}


class Stage:
    """A session on a moving camera with a continuous query, and what it published."""

    def __init__(
        self, types: RosTypes, answers: Any = find_ball, make_tracker: Any = None
    ) -> None:
        self.drive = Drive(Scene(types))
        # Transforms reach beyond each image, as they have when it was waited for them.
        self.drive.late_ns = -SECOND // 20
        session = Session(Settings.of(CAMERA), FakePointer(answers), clock=self.drive.clock)
        self.drive.session = session
        self.drive.begin()
        self.published = []
        self.continuous = ContinuousPointing(session, self.published.append, make_tracker)

    def frames(self, count: int) -> None:
        """Show frames one by one, each after the one before was worked on."""
        buffer = self.drive.session.buffers["camera"]
        for _ in range(count):
            before = buffer.newest_stamp_ns()
            while buffer.newest_stamp_ns() == before:
                self.drive.advance(1 / 90)
            self.continuous.offer("camera", buffer._images.newest()[1])
            time.sleep(0.02)


@pytest.fixture
def stage(types: RosTypes) -> Iterator[Any]:
    made = []

    def make(*arguments: Any, **options: Any) -> Any:
        made.append(Stage(types, *arguments, **options))
        return made[-1]

    yield make
    for one in made:
        one.continuous.stop()


def show_until(stage: Any, condition: Any) -> None:
    end = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        stage.frames(1)


def test_without_a_tracker_every_answer_is_published_with_its_own_stamp(stage: Any) -> None:
    stage = stage()
    stage.continuous.set(Request("ball"))
    show_until(stage, lambda: len(stage.published) >= 2)
    for answer in stage.published:
        assert answer.evidence_stamp_ns == answer.snapshot.stamp_ns
        assert np.linalg.norm(answer.points[0].position.xyz - BALL_ODOM) < 0.002


def test_optical_flow_carries_points_to_every_frame_while_the_model_thinks(stage: Any) -> None:
    pytest.importorskip("cv2", reason='tracking needs: pip install "molmo-point[tracking]"')
    asked, release = [], threading.Event()

    def slow(image: Array, query: str) -> Any:
        asked.append(query)
        if len(asked) > 1:
            release.wait(20)
        return find_ball(image, query)

    stage = stage(slow, tracker_factory())
    stage.continuous.set(Request("ball"))
    try:
        show_until(stage, lambda: len(stage.published) >= 12)
    finally:
        release.set()
    followed = stage.published[-8:]
    assert len({a.evidence_stamp_ns for a in followed}) == 1, "the model was not asked in between"
    assert {a.points[0].track_id for a in followed} == {followed[0].points[0].track_id}
    assert followed[0].points[0].track_id >= 0
    stamps = [a.snapshot.stamp_ns for a in followed]
    assert stamps == sorted(set(stamps))
    assert stamps[-1] - followed[-1].evidence_stamp_ns >= 8 * SECOND // 31
    for answer in followed:
        placed = answer.points[0]
        truth = stage.drive.scene.ball_uv(answer.snapshot.stamp_ns)
        assert np.linalg.norm(placed.uv - truth) < 1.0
        assert placed.position.status is PositionStatus.OK
        assert np.linalg.norm(placed.position.xyz - BALL_ODOM) < 0.01
    spreads = [np.trace(a.points[0].uv_covariance) for a in followed]
    assert spreads == sorted(spreads), "covariance grows with time"


def test_nothing_there_is_published_too(stage: Any) -> None:
    stage = stage({})
    stage.continuous.set(Request("cat"))
    show_until(stage, lambda: stage.published)
    assert stage.published[0].pointing.status is Status.NOT_FOUND


def test_the_query_survives_a_server_that_goes_and_comes_back(stage: Any) -> None:
    gone = [True]
    stage = stage(lambda image, query: ServerGone("gone") if gone[0] else find_ball(image, query))
    stage.continuous.set(Request("ball"))
    health = stage.drive.session.health
    show_until(stage, lambda: health.server_problem)
    gone[0] = False
    show_until(stage, lambda: stage.published)
    assert not health.server_problem


def test_a_bug_in_a_tracker_is_noted_and_the_query_goes_on(stage: Any) -> None:
    pytest.importorskip("cv2", reason='tracking needs: pip install "molmo-point[tracking]"')
    from molmo_point.tracking.tracker import Tracker

    class Broken(Tracker):
        calls = 0

        def add_frame(self, image: Array, time_s: Any, stamp_ns: int | None = None) -> Any:
            self.calls += 1
            if self.calls == 1:
                raise ZeroDivisionError("oops")
            return super().add_frame(image, time_s, stamp_ns)

    stage = stage(find_ball, Broken)
    stage.continuous.set(Request("ball"))
    show_until(stage, lambda: any(a.points for a in stage.published))
    assert "ZeroDivisionError" in stage.drive.session.health.problems()["continuous query"]


def test_another_query_takes_the_place_of_the_one_before_and_an_empty_one_stops(
    stage: Any,
) -> None:
    stage = stage()
    stage.continuous.set(Request("ball"))
    stage.continuous.set(Request("red ball"))
    show_until(stage, lambda: stage.published)
    assert {a.pointing.query for a in stage.published} == {"red ball"}
    stage.continuous.set(Request(""))
    assert stage.continuous.request is None
    count = len(stage.published)
    stage.frames(3)
    assert len(stage.published) == count


def test_an_unknown_camera_is_refused_and_the_query_before_stands(stage: Any) -> None:
    stage = stage()
    stage.continuous.set(Request("ball"))
    with pytest.raises(RequestError, match="expected a camera out of camera, got 'rear'"):
        stage.continuous.set(Request("ball", camera="rear"))
    assert stage.continuous.request.query == "ball"


def test_the_rate_is_limited_to_what_was_asked(stage: Any) -> None:
    stage = stage()
    stage.continuous.set(Request("ball"), max_rate_hz=0.01)
    show_until(stage, lambda: stage.published)
    stage.frames(5)
    assert len(stage.drive.session.pointer.calls) == 1


def test_a_frame_that_comes_too_fast_takes_the_place_of_the_one_that_waits(stage: Any) -> None:
    pytest.importorskip("cv2", reason='tracking needs: pip install "molmo-point[tracking]"')
    from molmo_point.tracking.tracker import Tracker

    begun, release, seen = threading.Event(), threading.Event(), []

    class Slow(Tracker):
        def add_frame(self, image: Array, time_s: Any, stamp_ns: int | None = None) -> Any:
            seen.append(stamp_ns)
            begun.set()
            release.wait(10)
            return super().add_frame(image, time_s, stamp_ns)

    stage = stage(find_ball, Slow)
    stage.continuous.set(Request("ball"))
    scene = stage.drive.scene
    stamps = [scene.start_ns + i * SECOND // 30 for i in range(5)]
    stage.continuous.offer("camera", scene.image(stamps[0]))
    assert begun.wait(10)
    for stamp in stamps[1:]:
        stage.continuous.offer("camera", scene.image(stamp))
    release.set()
    wait_for(lambda: len(seen) == 2)
    assert seen == [stamps[0], stamps[4]]
