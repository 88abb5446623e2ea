"""Two publishers of one fact: calibrations or images of two cameras on one topic, and other clocks."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from molmo_robot.codes import PositionStatus
from molmo_robot.dds.types import RosTypes
from molmo_robot.diagnostics import diagnostics
from molmo_robot.session import Session
from molmo_robot.types import Request
from robot_scene import SECOND, Scene
from test_bad_input import position, ready


@pytest.fixture
def scene(types: RosTypes) -> Scene:
    return Scene(types)


def statuses(session: Session, scene: Scene) -> dict[str, tuple[int, str]]:
    """{name: (level, message)} of what goes to /diagnostics."""
    return {
        s.name.partition(": ")[2]: (int(s.level), s.message)
        for s in diagnostics(scene.make, session, "node").status
    }


def test_each_image_takes_the_calibration_of_its_own_frame(scene: Scene) -> None:
    session = ready(scene)
    before = position(session).xyz
    for _ in range(3):
        session.add_info("camera", scene.info())
        session.add_info("camera", scene.info(focal=150.0, frame_id="other_optical"))
    np.testing.assert_allclose(position(session).xyz, before)
    level, words = statuses(session, scene)["camera camera"]
    assert level == 1
    assert "calibrations of 'camera_optical' (320x240, fx 300.0) and 'other_optical'" in words


def test_a_calibration_of_another_frame_is_used_and_named(scene: Scene) -> None:
    session = ready(scene)
    session.buffers["camera"].infos.clear()
    session.add_info("camera", scene.info(frame_id="/camera_optical"))
    assert position(session).status is PositionStatus.OK
    assert not session.health.problems()
    session.buffers["camera"].infos.clear()
    session.add_info("camera", scene.info(frame_id="depth_optical"))
    assert position(session).status is PositionStatus.OK
    level, words = statuses(session, scene)["camera camera"]
    assert level == 1
    assert "the calibration is of the frame 'depth_optical'" in words
    assert "are of 'camera_optical'" in words


@pytest.mark.parametrize("field", ["k", "d"])
def test_one_calibration_that_is_no_number_costs_nothing(scene: Scene, field: str) -> None:
    session = ready(scene)
    wrong = dataclasses.replace(
        scene.info(), **{field: np.full_like(getattr(scene.info(), field), np.nan)}
    )
    session.add_info("camera", wrong)
    assert position(session).status is PositionStatus.OK
    assert "numbers that are not finite was dropped" in session.health.problems()["camera"]
    session.buffers["camera"].infos.clear()
    session.add_info("camera", wrong)
    assert position(session).status is PositionStatus.NOT_CALIBRATED


@pytest.mark.parametrize("factor", [2.0, 0.5])
def test_a_calibration_of_another_resolution_is_named(scene: Scene, factor: float) -> None:
    """The driver scales the image and its size, and forgets K."""
    session = ready(scene)
    k = np.array(scene.info().k) * factor
    k[8] = 1.0
    session.add_info("camera", dataclasses.replace(scene.info(), k=k))
    session.point(Request("ball"))
    assert "far from the middle of 320 x 240" in session.health.problems()["camera"]


def test_images_of_two_cameras_on_one_topic_are_named(scene: Scene) -> None:
    session = ready(scene)
    newest = session.buffers["camera"].newest_stamp_ns()
    assert newest is not None
    black = np.zeros((240, 320, 3), np.uint8)
    for i in range(1, 5):
        frame = "camera_optical" if i % 2 else "other_optical"
        stamp = newest + i * SECOND // 100
        session.add_image("camera", scene.image_message(stamp, black, "rgb8", 960, frame))
    assert (
        "images of the frames 'camera_optical' and 'other_optical' come by turns"
        in (session.health.problems()["camera"])
    )


def test_an_image_of_another_clock_is_named(scene: Scene) -> None:
    session = ready(scene)
    newest = session.buffers["camera"].newest_stamp_ns()
    assert newest is not None
    session.clock = session.snapshots._clock = lambda: newest - 50 * SECOND
    level, words = statuses(session, scene)["camera camera"]
    assert (level, "50.0 s ahead of this computer's clock" in words) == (1, True)
    session.transforms.clear()
    missing = position(session)
    assert missing.status is PositionStatus.NO_TRANSFORM
    assert "50.0 s ahead of this computer's clock" in missing.message


def test_a_plane_in_millimetres_is_named(scene: Scene) -> None:
    plane: dict[str, Any] = {
        "position_source": "plane",
        "plane_frame": "camera_optical",
        "plane_point": [0.0, 0.0, 800.0],
    }
    session = ready(scene, **plane)
    assert position(session).status is PositionStatus.OK
    assert "the plane is met 800 m away" in session.health.problems()["camera"]


def test_two_problems_of_one_camera_are_each_new_once(scene: Scene) -> None:
    health = ready(scene).health
    told = [health.note("camera", words) for words in ("late by 3 s", "far", "late by 4 s", "far")]
    assert told == [True, True, False, False]
    assert health.noted == ("late by 3 s", "far")
