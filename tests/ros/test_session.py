"""The session without ROS: what belongs to an image's stamp stays with it, and everything that is missing has a name."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from molmo_robot.codes import Code, PositionStatus, Stage
from molmo_robot.dds.types import RosTypes
from molmo_robot.session import Session
from molmo_robot.settings import Settings
from molmo_robot.types import Request
from robot_scene import BALL_ODOM, HEIGHT, SECOND, WIDTH, Drive, Scene, find_ball

from molmo_point.errors import ServerGone
from molmo_point.images import Array
from molmo_point.points import Point, Pointing, Status
from molmo_point.testing import FakePointer

CAMERA = {
    "camera.image_topic": "/camera/image",
    "camera.info_topic": "/camera/camera_info",
    "camera.depth_topic": "/camera/depth",
}


def make_drive(
    types: RosTypes,
    answers: Any = find_ball,
    speed: tuple[float, float, float] = (0.1, 0.5, 0.0),
    **values: Any,
) -> Any:
    scene = Scene(types, speed)
    drive = Drive(scene)
    settings = Settings.of({**CAMERA, "target_frame": "odom", "tf_timeout_s": 0.0, **values})
    pointer = answers if hasattr(answers, "stream") else FakePointer(answers)
    drive.session = Session(settings, pointer, clock=drive.clock)
    drive.begin()
    return drive


def position_of(outcome: Any) -> Any:
    assert outcome.code is Code.SUCCEEDED, outcome.message
    placed = outcome.answer.points[0]
    assert placed.position.status is PositionStatus.OK, placed.position.message
    return placed.position


def test_a_slow_model_and_a_moving_camera_give_the_point_at_the_images_stamp(
    types: RosTypes,
) -> None:
    """0.5 m/s and 1.5 s of thinking are 0.75 m of error where depth or transform are taken when the answer comes."""

    def think(image: Array, query: str) -> Any:
        drive.advance(1.5)
        return find_ball(image, query)

    drive = make_drive(types, think)
    drive.late_ns = 40_000_000
    drive.advance(0.2)
    errors = []
    for _ in range(10):
        asked_ns = drive.now_ns
        outcome = drive.session.point(Request("ball"))
        position = position_of(outcome)
        snapshot = outcome.answer.snapshot
        assert asked_ns - snapshot.stamp_ns <= SECOND // 30
        assert drive.now_ns - snapshot.stamp_ns >= 1.5 * SECOND
        assert snapshot.depth[0] == snapshot.stamp_ns, "depth of another image"
        errors.append(np.linalg.norm(position.xyz - BALL_ODOM))
    assert max(errors) < 0.002
    assert drive.session.buffers["camera"].counts.sync_misses == 0


def test_the_latest_transform_would_be_wrong_by_far_more(types: RosTypes) -> None:
    """The test above has teeth: the camera really moved on while the model thought."""
    scene = Scene(types)
    before, after = (
        scene.odom_from_camera(scene.start_ns + round(s * SECOND)) for s in (0.2, 1.7)
    )
    assert np.linalg.norm(before.translation - after.translation) > 0.5


def test_the_answer_carries_the_images_header_and_says_which_frame_its_positions_are_in(
    types: RosTypes,
) -> None:
    drive = make_drive(types)
    drive.advance(0.3)
    answer = drive.session.point(Request("ball", request_id="r1")).answer
    stamp = drive.session.buffers["camera"].newest_stamp_ns()
    assert (answer.snapshot.stamp_ns, answer.snapshot.frame_id) == (stamp, "camera_optical")
    assert (answer.position_frame, answer.evidence_stamp_ns, answer.request_id) == (
        "odom",
        stamp,
        "r1",
    )
    assert answer.pointing.stamp_ns == stamp


@pytest.mark.parametrize("encoding", ["32FC1", "16UC1"])
def test_depth_in_metres_and_in_millimetres(types: RosTypes, encoding: str) -> None:
    drive = make_drive(types)
    drive.depth_encoding = encoding
    drive.advance(0.3)
    position = position_of(drive.session.point(Request("ball")))
    assert np.linalg.norm(position.xyz - BALL_ODOM) < 0.002
    assert position.depth_samples > 0
    assert np.linalg.eigvalsh(position.covariance).min() > 0


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_a_camera_mounted_sideways_gives_the_same_position(types: RosTypes, rotation: int) -> None:
    seen = []

    def upright(image: Array, query: str) -> Any:
        seen.append(image.shape[:2])
        return find_ball(image, query)

    drive = make_drive(types, upright, **{"camera.rotation": rotation})
    drive.advance(0.3)
    position = position_of(drive.session.point(Request("ball")))
    assert np.linalg.norm(position.xyz - BALL_ODOM) < 0.002
    assert seen == [(WIDTH, HEIGHT) if rotation in (90, 270) else (HEIGHT, WIDTH)]


def test_a_plane_gives_positions_without_depth(types: RosTypes) -> None:
    drive = make_drive(
        types,
        position_source="plane",
        plane_point=[2.0, 0.0, 0.0],
        plane_normal=[1.0, 0.0, 0.0],
        **{"camera.depth_topic": ""},
    )
    drive.advance(0.3)
    position = position_of(drive.session.point(Request("ball")))
    assert np.linalg.norm(position.xyz - BALL_ODOM) < 0.002


def test_a_plane_behind_the_camera_is_no_intersection(types: RosTypes) -> None:
    drive = make_drive(
        types,
        position_source="plane",
        plane_point=[-1.0, 0.0, 0.0],
        plane_normal=[1.0, 0.0, 0.0],
    )
    drive.advance(0.3)
    placed = drive.session.point(Request("ball")).answer.points[0]
    assert placed.position.status is PositionStatus.NO_INTERSECTION
    assert "behind" in placed.position.message
    assert np.isnan(placed.position.xyz).all()


def test_several_views_give_positions_without_depth_once_the_camera_has_moved(
    types: RosTypes,
) -> None:
    drive = make_drive(types, position_source="views", **{"camera.depth_topic": ""})
    drive.advance(0.3)
    first = drive.session.point(Request("ball")).answer.points[0].position
    assert first.status is PositionStatus.NO_VIEWS
    drive.advance(0.8)
    position = position_of(drive.session.point(Request("ball")))
    assert np.linalg.norm(position.xyz - BALL_ODOM) < 0.005


def test_points_stream_to_the_caller_before_the_answer(types: RosTypes) -> None:
    answers = {"cups": [Point(x=0.2, y=0.3, index=0), Point(x=0.6, y=0.7, index=1)]}
    drive = make_drive(types, answers)
    drive.advance(0.2)
    seen = []
    drive.session.point(
        Request("cups"),
        progress=lambda stage, before, partial: seen.append(
            (stage, len(partial.points) if partial else None)
        ),
    )
    assert seen == [
        (Stage.WAITING_FOR_IMAGE, None),
        (Stage.ASKING, None),
        (Stage.ASKING, 1),
        (Stage.ASKING, 2),
    ]


def test_max_points_keeps_the_best(types: RosTypes) -> None:
    points = [Point(x=0.1 * i, y=0.5, score=s, index=i) for i, s in enumerate((0.2, 0.9, 0.5))]
    drive = make_drive(types, {"cups": points})
    drive.advance(0.2)
    answer = drive.session.point(Request("cups", max_points=2)).answer
    assert [p.point.score for p in answer.points] == [0.9, 0.5]


def test_not_before_waits_for_an_image_taken_after_the_arm_moved(types: RosTypes) -> None:
    drive = make_drive(types)
    drive.advance(0.2)
    wanted = drive.now_ns + SECOND // 10
    threading.Timer(0.1, drive.advance, (0.3,)).start()
    outcome = drive.session.point(Request("ball", not_before_ns=wanted, timeout_s=5))
    assert outcome.answer.snapshot.stamp_ns >= wanted


def test_an_image_in_the_request_is_used_instead_of_the_cameras(types: RosTypes) -> None:
    drive = make_drive(types)
    stamp = drive.scene.start_ns + 7 * SECOND // 50
    drive.session.add_transforms(drive.scene.tf(stamp))
    request = Request(
        "ball",
        image=drive.scene.image(stamp),
        camera_info=drive.scene.info(),
        compute_position=False,
    )
    answer = drive.session.point(request).answer
    assert answer.snapshot.stamp_ns == stamp
    assert np.allclose(answer.points[0].uv, drive.scene.ball_uv(stamp), atol=0.05)
    assert answer.points[0].position.status is PositionStatus.NOT_REQUESTED


class Stubborn(FakePointer):
    """Answers only when it is closed: to be cancelled, and to run out of time."""

    def __init__(self) -> None:
        super().__init__()
        self.cancelled = threading.Event()
        self.asked = threading.Event()

    def stream(self, image: Array, query: str, **options: Any) -> Iterator[Any]:
        self.asked.set()
        try:
            for index in range(2000):
                time.sleep(0.005)
                yield Point(x=0.5, y=0.5, index=index)
        finally:
            self.cancelled.set()


def test_cancelling_ends_the_request_and_reaches_the_model(types: RosTypes) -> None:
    pointer = Stubborn()
    drive = make_drive(types, pointer)
    drive.advance(0.2)
    outcome = drive.session.point(Request("ball"), cancelled=pointer.asked.is_set)
    assert outcome.code is Code.CANCELED
    assert pointer.cancelled.wait(5), "the model was never told"


def test_closing_the_session_cancels_what_is_under_way(types: RosTypes) -> None:
    pointer = Stubborn()
    drive = make_drive(types, pointer)
    drive.advance(0.2)
    outcomes = []
    asking = threading.Thread(target=lambda: outcomes.append(drive.session.point(Request("ball"))))
    asking.start()
    assert pointer.asked.wait(5)
    drive.session.close()
    asking.join(5)
    assert outcomes[0].code is Code.CANCELED


def test_a_full_queue_says_busy_and_a_place_is_kept_until_the_model_is_done(
    types: RosTypes,
) -> None:
    release = threading.Event()

    def slow(image: Array, query: str) -> Any:
        assert release.wait(10)
        return find_ball(image, query)

    drive = make_drive(types, slow, max_queue=1)
    drive.advance(0.2)
    first = threading.Thread(target=drive.session.point, args=(Request("ball"),))
    first.start()
    while len(drive.session.counter) == 0:
        time.sleep(0.005)
    outcome = drive.session.point(Request("ball"))
    assert outcome.code is Code.BUSY
    assert "max_queue" in outcome.message
    release.set()
    first.join(10)
    assert drive.session.point(Request("ball")).code is Code.SUCCEEDED


def test_a_server_that_never_answers_times_out(types: RosTypes) -> None:
    class Mute(FakePointer):
        def stream(self, image: Array, query: str, **options: Any) -> Iterator[Any]:
            time.sleep(2.0)
            yield Point(x=0.5, y=0.5)
            raise AssertionError("not reached")

    drive = make_drive(types, Mute())
    drive.advance(0.2)
    outcome = drive.session.point(Request("ball", timeout_s=0.1))
    assert outcome.code is Code.TIMED_OUT
    assert "0.10 s" in outcome.message


def test_a_server_that_is_gone_and_comes_back(types: RosTypes) -> None:
    gone = [True]

    def answers(image: Array, query: str) -> Any:
        return (
            ServerGone("nobody answers at tcp://gpu:5555") if gone[0] else find_ball(image, query)
        )

    drive = make_drive(types, answers)
    drive.advance(0.2)
    outcome = drive.session.point(Request("ball"))
    assert outcome.code is Code.MODEL_ERROR
    assert "tcp://gpu:5555" in outcome.message
    assert drive.session.health.server_problem
    gone[0] = False
    assert drive.session.point(Request("ball")).code is Code.SUCCEEDED
    assert not drive.session.health.server_problem


def test_a_bug_in_a_pointer_is_a_model_error_not_a_crash(types: RosTypes) -> None:
    def broken(image: Array, query: str) -> None:
        raise ZeroDivisionError("oops")

    drive = make_drive(types, broken)
    drive.advance(0.2)
    outcome = drive.session.point(Request("ball"))
    assert outcome.code is Code.MODEL_ERROR
    assert "ZeroDivisionError: oops" in outcome.message


@pytest.mark.parametrize(
    ("status", "points", "code"),
    [
        (Status.NOT_FOUND, (), Code.NO_POINTS),
        (Status.MALFORMED, (), Code.MALFORMED),
        (Status.TRUNCATED, (Point(x=0.5, y=0.5),), Code.TRUNCATED),
    ],
)
def test_every_status_of_the_model_has_its_code(
    types: RosTypes, status: Status, points: Any, code: Any
) -> None:
    pointing = Pointing(
        query="ball", status=status, points=points, image_size=(WIDTH, HEIGHT), text="raw"
    )
    drive = make_drive(types, {"ball": pointing})
    drive.advance(0.2)
    outcome = drive.session.point(Request("ball"))
    assert outcome.code is code
    assert len(outcome.answer.points) == len(points)
    assert outcome.answer.pointing.text == "raw"


def test_a_clock_set_back_drops_what_was_before(types: RosTypes) -> None:
    drive = make_drive(types)
    drive.advance(20.0)
    drive.now_ns = drive.scene.start_ns
    drive._image = drive._transform = 0
    drive.advance(0.4)
    assert drive.session.health.jumps >= 1
    position = position_of(drive.session.point(Request("ball")))
    assert np.linalg.norm(position.xyz - BALL_ODOM) < 0.002
