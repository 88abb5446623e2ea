"""Everything a robot gets wrong: a status or an error that names the topic, what was expected and what came."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from molmo_calibration import Transform
from molmo_robot.codes import Code, PositionStatus
from molmo_robot.dds.types import RosTypes
from molmo_robot.errors import MessageError, ParameterError
from molmo_robot.session import Session
from molmo_robot.settings import Settings
from molmo_robot.types import Request
from robot_scene import HEIGHT, SECOND, WIDTH, Drive, Scene, find_ball

from molmo_point.points import Status
from molmo_point.testing import FakePointer

CAMERA = {
    "camera.image_topic": "/camera/image",
    "camera.info_topic": "/camera/camera_info",
    "camera.depth_topic": "/camera/depth",
}


@pytest.fixture
def scene(types: RosTypes) -> Scene:
    return Scene(types)


def ready(scene: Scene, **values: Any) -> Any:
    """A session that has seen one good image with all that belongs to it."""
    drive = Drive(scene)
    settings = Settings.of({**CAMERA, "target_frame": "odom", "tf_timeout_s": 0.0, **values})
    drive.session = Session(settings, FakePointer(find_ball), clock=drive.clock)
    drive.begin()
    drive.advance(0.2)
    return drive.session


def position(session: Any, request: Any = None) -> Any:
    outcome = session.point(request or Request("ball"))
    assert outcome.answer is not None, outcome.message
    found = outcome.answer.points[0].position
    if found.status is not PositionStatus.OK:
        assert np.isnan(found.xyz).all()
        assert np.isnan(found.covariance).all()
        assert found.message
        assert outcome.answer.position_message == found.message
    return found


def test_the_good_case_is_good(scene: Scene) -> None:
    assert position(ready(scene)).status is PositionStatus.OK


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        (
            {"info": None},
            PositionStatus.NO_CAMERA_INFO,
            "/camera/camera_info: expected a sensor_msgs/CameraInfo",
        ),
        ({"info": "uncalibrated"}, PositionStatus.NOT_CALIBRATED, "K\\[0\\] is 0"),
        (
            {"info": "other size"},
            PositionStatus.NOT_CALIBRATED,
            "320x240 pixels .* got one for 640x480",
        ),
        (
            {"info": "unknown lens"},
            PositionStatus.NOT_CALIBRATED,
            "/camera/camera_info: expected a usable",
        ),
        (
            {"depth": None},
            PositionStatus.NO_DEPTH,
            "/camera/depth: expected a depth image within 0.02 s",
        ),
        (
            {"depth": "cropped"},
            PositionStatus.DEPTH_MISMATCH,
            "registered to 320x240 .* got 320x200",
        ),
        ({"depth": "colour"}, PositionStatus.INVALID_DEPTH, "/camera/depth: .*16UC1"),
        ({"depth": "truncated"}, PositionStatus.INVALID_DEPTH, "/camera/depth: .*bytes"),
        ({"depth": "holes"}, PositionStatus.INVALID_DEPTH, "no valid reading around pixel"),
        ({"depth": "far"}, PositionStatus.OUT_OF_RANGE, "depth_min_m"),
        ({"depth": "edge"}, PositionStatus.AMBIGUOUS, "more than one surface"),
    ],
)
def test_a_missing_or_wrong_piece_is_a_status_with_a_sentence(
    scene: Scene, changes: Any, status: Status, words: Any
) -> None:
    import re

    session = ready(scene)
    buffer = session.buffers["camera"]
    stamp = buffer.newest_stamp_ns()
    if "info" in changes:
        wrong = bad_info(scene, changes["info"])
        if wrong is None:
            buffer.infos.clear()
        else:
            buffer.add_info(wrong)
    if "depth" in changes:
        buffer._depths.clear()
        wrong = bad_depth(scene, changes["depth"], stamp)
        if wrong is not None:
            buffer.add_depth(wrong)
    found = position(session)
    assert found.status is status
    assert re.search(words, found.message), found.message


def bad_info(scene: Scene, kind: str) -> Any:
    if kind is None:
        return None
    if kind == "uncalibrated":
        return dataclasses.replace(scene.info(), k=np.zeros(9))
    if kind == "other size":
        return scene.info(size=(640, 480))
    return dataclasses.replace(scene.info(distortion="double_sphere"), d=np.full(5, 0.1))


def bad_depth(scene: Scene, kind: str, stamp: int) -> Any:
    good = np.full((HEIGHT, WIDTH), 2.0, np.float32)
    if kind is None:
        return scene.depth(stamp - SECOND // 2)
    if kind == "cropped":
        return scene.image_message(stamp, good[:200], "32FC1", 4 * WIDTH, size=(WIDTH, 200))
    if kind == "colour":
        return scene.image(stamp)
    if kind == "truncated":
        return dataclasses.replace(scene.depth(stamp), data=np.zeros(1000, np.uint8))
    if kind == "holes":
        good[:] = np.nan
    if kind == "far":
        good[:] = 50.0
    if kind == "edge":
        good[::2] = 0.8
    return scene.image_message(stamp, good, "32FC1", 4 * WIDTH)


def test_depth_that_is_not_registered_is_read_through_its_own_camera(scene: Scene) -> None:
    session = ready(scene, **{"camera.depth_info_topic": "/camera/depth_info"})
    buffer = session.buffers["camera"]
    stamp = buffer.newest_stamp_ns()
    beside = Transform.from_parts(np.eye(3), [0.05, 0.0, 0.0], "camera_optical", "depth_optical")
    session.add_transforms(
        scene.make("tf2_msgs/msg/TFMessage", transforms=[scene.transform(stamp, beside)]),
        static=True,
    )
    buffer.add_depth_info(scene.info(focal=250.0, frame_id="depth_optical"))
    buffer._depths.clear()
    buffer.add_depth(scene.depth(stamp, frame_id="depth_optical"))
    found = position(session)
    assert found.status is PositionStatus.OK
    assert np.linalg.norm(found.xyz - [2.0, 0.1, 0.4]) < 0.003


def test_depth_that_is_not_registered_needs_its_camera_info_and_its_frame(scene: Scene) -> None:
    session = ready(scene, **{"camera.depth_info_topic": "/camera/depth_info"})
    assert position(session).status is PositionStatus.NO_CAMERA_INFO
    buffer = session.buffers["camera"]
    stamp = buffer.newest_stamp_ns()
    buffer.add_depth_info(scene.info(focal=250.0, frame_id="depth_optical"))
    buffer._depths.clear()
    buffer.add_depth(scene.depth(stamp, frame_id="depth_optical"))
    found = position(session)
    assert found.status is PositionStatus.NO_TRANSFORM
    assert "depth_optical" in found.message


def test_an_unknown_frame_is_named_with_those_that_are_there(scene: Scene) -> None:
    found = position(ready(scene), Request("ball", target_frame="map"))
    assert found.status is PositionStatus.NO_TRANSFORM
    assert "'map'" in found.message
    assert "camera_optical" in found.message


def test_an_old_image_is_no_image_and_says_how_old(scene: Scene) -> None:
    session = ready(scene, max_image_age_s=0.05)
    session.clock = session.snapshots._clock = lambda: scene.start_ns + 10 * SECOND
    outcome = session.point(Request("ball", timeout_s=0.2))
    assert outcome.code is Code.NO_IMAGE
    assert "/camera/image" in outcome.message
    assert "s old" in outcome.message


def test_no_image_at_all_names_the_topic(types: RosTypes) -> None:
    session = Session(Settings.of(CAMERA), FakePointer())
    outcome = session.point(Request("ball", timeout_s=0.05))
    assert outcome.code is Code.NO_IMAGE
    assert "/camera/image: expected an image, none has come" in outcome.message


def test_an_image_nobody_can_read_is_no_image(scene: Scene) -> None:
    session = ready(scene)
    stamp = session.buffers["camera"].newest_stamp_ns() + 1
    session.buffers["camera"].add_image(
        scene.image_message(stamp, np.zeros(9), "bayer_rggb8", WIDTH)
    )
    outcome = session.point(Request("ball"))
    assert outcome.code is Code.NO_IMAGE
    assert "/camera/image: expected an encoding out of" in outcome.message
    assert "debayer" in outcome.message


@pytest.mark.parametrize("query", ["", "  \n"])
def test_an_empty_query_is_an_invalid_request(scene: Scene, query: str) -> None:
    outcome = ready(scene).point(Request(query))
    assert outcome.code is Code.INVALID_REQUEST
    assert "query" in outcome.message


def test_an_unknown_camera_is_told_which_there_are(scene: Scene) -> None:
    outcome = ready(scene).point(Request("ball", camera="rear"))
    assert outcome.code is Code.INVALID_REQUEST
    assert "expected a camera out of camera, got 'rear'" in outcome.message


def test_a_broken_image_in_the_request_is_the_clients_mistake(scene: Scene) -> None:
    session = ready(scene)
    image = dataclasses.replace(scene.image(scene.start_ns), data=np.zeros(10, np.uint8))
    outcome = session.point(Request("ball", image=image))
    assert outcome.code is Code.INVALID_REQUEST
    assert "the request's image" in outcome.message


def test_a_transform_with_an_unset_quaternion_is_named_and_the_others_are_kept(
    scene: Scene,
) -> None:
    session = ready(scene)
    good = scene.transform(scene.start_ns, scene.base_from_optical())
    nothing = scene.make("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=0.0)
    bad = dataclasses.replace(
        good,
        child_frame_id="gripper",
        transform=dataclasses.replace(good.transform, rotation=nothing),
    )
    message = scene.make("tf2_msgs/msg/TFMessage", transforms=[bad, good])
    session.add_transforms(message, static=True)
    assert "gripper" in session.health.problems()["transforms"]
    with pytest.raises(MessageError, match="/tf_static holds unusable transforms: 'gripper'"):
        session.transforms.add(message, static=True)
    assert position(session).status is PositionStatus.OK


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"depth_strategy": "mean"},
            "depth_strategy: expected one of pixel, median, cluster, plane, got 'mean'",
        ),
        ({"tf_timeout_s": -1.0}, "tf_timeout_s: expected 0 to 10, got -1"),
        ({"tf_timeout_s": "soon"}, "tf_timeout_s: expected float, got 'soon'"),
        ({"max_queue": True}, "max_queue: expected int"),
        ({"plane_normal": [0.0, 0.0, 0.0]}, "plane_normal: expected a direction"),
        ({"plane_point": [1.0, float("nan"), 0.0]}, "plane_point: expected 3 finite numbers"),
        ({"depth_min_m": 3.0, "depth_max_m": 2.0}, "depth_min_m must be less than depth_max_m"),
        ({"request_timeout_s": 100.0}, "tf_cache_s .* must be at least request_timeout_s"),
        ({"server_endpoint": "gpu:5555"}, "server_endpoint: expected tcp://host:port"),
        ({"cameras": []}, "cameras: expected at least one name"),
        ({"cameras": ["a", "a"]}, "cameras: expected different names"),
        ({"camera.rotation": 45}, "camera.rotation: expected one of 0, 90, 180, 270, got 45"),
        (
            {"camera.depth_registered": "false"},
            "camera.depth_info_topic: depth that is not registered",
        ),
        ({"rear.image_topic": "x"}, "there is no parameter 'rear.image_topic'"),
        ({"speling": 1}, "there is no parameter 'speling'"),
    ],
)
def test_wrong_parameters_are_refused_with_what_was_expected(values: Any, words: Any) -> None:
    with pytest.raises(ParameterError, match=words):
        Settings.of(values)
