"""Continuous pointing on images that are repeated, late, or not stamped."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from molmo_robot.continuous_pointing import ContinuousPointing, tracker_factory
from molmo_robot.dds.types import RosTypes
from molmo_robot.frame_order import FrameOrder
from molmo_robot.session import Session
from molmo_robot.settings import Settings
from molmo_robot.types import Request
from robot_scene import SECOND, Scene, find_ball
from ros_world import wait_for

from molmo_point.images import Array
from molmo_point.points import Status
from molmo_point.testing import FakePointer

CAMERA = {"camera.image_topic": "/image", "camera.info_topic": "", "camera.depth_topic": ""}


@pytest.fixture
def scene(types: RosTypes) -> Scene:
    return Scene(types)


class Clock:
    now_ns = 0

    def __call__(self) -> Any:
        self.now_ns += SECOND // 30
        return self.now_ns


def keys_of(scene: Scene, *images: Any) -> Any:
    """Keys of images (stamp in ns, which place of the scene it shows), and the order that gave them."""
    order = FrameOrder("/image", Clock())
    keys = []
    for stamp_ns, shown_s in images:
        message = scene.image(scene.start_ns + round(shown_s * SECOND))
        message.header = scene.header(stamp_ns, "camera_optical")
        keys.append(order.key(message))
    return keys, order


def test_stamps_that_go_on_are_the_keys(scene: Scene) -> None:
    stamps = [5 * SECOND + i * 33_000_000 for i in range(5)]
    keys, order = keys_of(scene, *((s, i / 30) for i, s in enumerate(stamps)))
    assert keys == stamps
    assert not order.problem


def test_an_image_that_comes_twice_is_taken_once(scene: Scene) -> None:
    keys, order = keys_of(scene, (SECOND, 0), (SECOND, 0), (2 * SECOND, 1))
    assert keys == [SECOND, None, 2 * SECOND]
    assert not order.problem


def test_a_late_image_is_let_go_and_named(scene: Scene) -> None:
    keys, order = keys_of(scene, (SECOND, 0), (SECOND - 33_000_000, 1))
    assert keys == [SECOND, None]
    assert "0.033 s before an earlier one" in order.problem


def test_images_without_stamps_are_taken_in_the_order_they_come(scene: Scene) -> None:
    keys, order = keys_of(scene, *((0, i / 10) for i in range(6)))
    assert all(b - a == SECOND // 30 for a, b in itertools.pairwise(keys))
    assert "carry the same stamp (0 ns)" in order.problem


def test_an_odd_old_image_is_let_go_and_a_clock_set_back_is_taken(scene: Scene) -> None:
    odd = [(100 * SECOND, 0), (SECOND, 1), (101 * SECOND, 2), (0, 3), (102 * SECOND, 4)]
    keys, _ = keys_of(scene, *odd)
    assert keys == [100 * SECOND, None, 101 * SECOND, None, 102 * SECOND]
    back = [(100 * SECOND, 0), *((SECOND + i, i / 10) for i in range(4))]
    keys, _ = keys_of(scene, *back)
    assert keys == [100 * SECOND, None, None, SECOND + 2, SECOND + 3]


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 5)), max_size=40))
def test_keys_only_grow_within_a_second(types: RosTypes, images: Any) -> None:
    scene = Scene(types)
    keys, _ = keys_of(
        scene, *((SECOND + 10_000_000 * stamp, shown / 10) for stamp, shown in images)
    )
    taken = [key for key in keys if key is not None]
    assert taken == sorted(set(taken))
    newest_ns = 0
    for key, (stamp, _) in zip(keys, images, strict=True):
        stamp_ns = SECOND + 10_000_000 * stamp
        assert (key is None) or stamp_ns >= newest_ns, "an image from before the newest one"
        newest_ns = max(newest_ns, stamp_ns)


class Stage:
    """A continuous query with optical flow on a camera that stamps its images as it likes."""

    def __init__(self, scene: Scene, answers: Any = find_ball, **values: Any) -> None:
        pytest.importorskip("cv2", reason="following needs OpenCV")
        self.scene = scene
        self.published = []
        self.session = Session(Settings.of({**CAMERA, **values}), FakePointer(answers))
        self.continuous = ContinuousPointing(
            self.session, self.published.append, tracker_factory()
        )
        self.shown = 0

    def show(self, stamp_ns: int, again: bool = False) -> None:
        self.shown += not again
        message = self.scene.image(self.scene.start_ns + self.shown * SECOND // 30)
        message.header = self.scene.header(stamp_ns, "camera_optical")
        self.session.add_image("camera", message)
        self.continuous.offer("camera", message)
        time.sleep(0.03)

    def found(self) -> list[Any]:
        return [a for a in self.published if a.pointing.status is Status.FOUND]

    @property
    def problem(self) -> Any:
        return self.session.health.problems().get("continuous query", "")


@pytest.fixture
def stage(scene: Scene) -> Iterator[Any]:
    made = []

    def make(*arguments: Any, **values: Any) -> Any:
        made.append(Stage(scene, *arguments, **values))
        made[-1].continuous.set(Request("ball", compute_position=False))
        return made[-1]

    yield make
    for one in made:
        one.continuous.stop()


def stamp_at(i: Any) -> Any:
    return 100 * SECOND + i * SECOND // 30


@pytest.mark.parametrize("habit", ["twice", "late", "unset"])
def test_points_are_published_whatever_the_stamps(stage: Any, habit: str) -> None:
    stage = stage()
    for i in range(1, 100):
        stage.show(0 if habit == "unset" else stamp_at(i))
        if habit == "twice":
            stage.show(stamp_at(i), again=True)
        if habit == "late" and i % 5 == 0:
            stage.show(stamp_at(i - 1), again=True)
        if len(stage.found()) >= 10:
            break
    found = stage.found()
    assert len(found) >= 10
    assert {a.points[0].track_id for a in found[-5:]} == {found[-1].points[0].track_id}
    if habit == "unset":
        assert {(a.snapshot.stamp_ns, a.evidence_stamp_ns) for a in found} == {(0, 0)}
        assert "same stamp (0 ns)" in stage.problem
    else:
        stamps = [a.snapshot.stamp_ns for a in found]
        assert stamps == sorted(stamps)
    if habit == "twice":
        assert not stage.problem


def test_before_the_first_answer_the_status_is_pending(stage: Any) -> None:
    stage = stage(lambda image, query: time.sleep(0.5) or find_ball(image, query))
    stage.show(stamp_at(1))
    wait_for(lambda: stage.published)
    first = stage.published[0]
    assert (first.pointing.status, first.points) == (Status.PENDING, ())
    assert first.snapshot.stamp_ns == stamp_at(1)


def test_an_answer_about_the_only_image_is_published(stage: Any) -> None:
    """No later frame will ever carry it."""
    stage = stage()
    stage.show(stamp_at(1))
    wait_for(stage.found)
    assert stage.found()[0].snapshot.stamp_ns == stamp_at(1)


def test_points_that_are_lost_are_pending_and_never_absent(stage: Any, types: RosTypes) -> None:
    release = []

    def once(image: Array, query: str) -> Any:
        if release:
            time.sleep(0.2)
            raise RuntimeError("busy")
        release.append(query)
        return find_ball(image, query)

    stage = stage(once)
    for i in range(1, 60):
        stage.show(stamp_at(i))
        if len(stage.found()) > 3:
            break
    wall = np.random.default_rng(1)
    for k in range(12):
        noise = wall.integers(0, 255, (240, 320, 3), np.uint8)
        message = stage.scene.image_message(stamp_at(i + 1 + k), noise, "rgb8", 960)
        stage.continuous.offer("camera", message)
        time.sleep(0.05)
    statuses = [a.pointing.status for a in stage.published]
    assert statuses[-1] is Status.PENDING
    assert Status.NOT_FOUND not in statuses
    assert statuses.count(Status.PENDING) == 2, "once at the start, once when all were lost"


def test_an_answer_that_cannot_be_tracked_is_published_and_noted(scene: Scene) -> None:
    pytest.importorskip("cv2", reason="tracking needs OpenCV")
    from molmo_point.tracking.tracker import Tracker

    class Forgetful(Tracker):
        """Has let the frame of every answer go."""

        def catch_up(self, frame: Any, pointing: Any) -> Any:
            return None

    published = []
    session = Session(Settings.of(CAMERA), FakePointer(find_ball))
    continuous = ContinuousPointing(session, published.append, Forgetful)
    continuous.set(Request("ball", compute_position=False))
    try:
        message = scene.image(stamp_at(1))
        session.add_image("camera", message)
        continuous.offer("camera", message)
        wait_for(lambda: [a for a in published if a.points])
    finally:
        continuous.stop()
    assert "no longer kept" in session.health.problems()["continuous query"]


@pytest.mark.parametrize("change", ["clock", "size"])
def test_a_clock_set_back_or_another_size_loses_the_points_once(stage: Any, change: str) -> None:
    """The model answers once; after that nothing brings the points back."""
    asked, over = [], threading.Event()

    def once(image: Array, query: str) -> Any:
        asked.append(query)
        if len(asked) > 1:
            over.wait(20)
        return find_ball(image, query)

    stage = stage(once)
    try:
        for i in range(1, 60):
            stage.show(stamp_at(i))
            if len(stage.found()) > 3:
                break
        before = len(stage.published)
        for k in range(6):
            if change == "size":
                scene = stage.scene
                rgb = np.zeros((120, 160, 3), np.uint8)
                message = scene.image_message(
                    stamp_at(i + 1 + k), rgb, "rgb8", 480, size=(160, 120)
                )
                stage.continuous.offer("camera", message)
                time.sleep(0.03)
            else:
                stage.show(stamp_at(k) - 50 * SECOND)
        wait_for(lambda: stage.published[-1].pointing.status is Status.PENDING)
        statuses = [a.pointing.status for a in stage.published[before:]]
        assert statuses.count(Status.PENDING) == 1
        assert "lost until the model finds it again" in stage.problem
        size = stage.published[-1].pointing.image_size
        assert size == ((160, 120) if change == "size" else (320, 240))
    finally:
        over.set()
