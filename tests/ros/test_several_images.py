"""Questions about several cameras together and about the last frames of one: in the session, at the node's doors, in messages."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from molmo_robot.camera_buffers import CameraBuffer
from molmo_robot.codes import Code, PositionStatus
from molmo_robot.dds.types import RosTypes
from molmo_robot.image_groups import ImagesRequest
from molmo_robot.messages.image_groups import images_answer
from molmo_robot.settings import Settings
from robot_scene import BALL_ODOM, HEIGHT, SECOND, WIDTH, find_ball
from ros_world import result, wait_for
from test_session import make_drive

from molmo_point.errors import UsageError
from molmo_point.pointer import Video
from molmo_point.points import Point, Pointing, Status
from molmo_point.testing import FakePointer


class SeesSeveral(FakePointer):
    """Finds the ball in every image that it is shown, one after the other; through a video it is object 7."""

    def __init__(self) -> None:
        super().__init__(find_ball)
        self.shown: list[Any] = []
        self.hold = threading.Event()
        self.hold.set()

    def stream(self, image: Any, query: str, **options: Any) -> Iterator[Any]:
        self.shown.append(image)
        video = isinstance(image, Video)
        if not video and not isinstance(image, list):
            return (yield from super().stream(image, query, **options))
        images = image.frames if video else image
        points: list[Point] = []
        for number, array in enumerate(images):
            for x, y in find_ball(array, query):
                time_s = image.times_s[number] if video else None
                point = Point(x=x, y=y, label=query, index=len(points), image_index=number, time_s=time_s,
                              track=7 if video else None, score=0.5 + 0.1 * number)  # fmt: skip
                points.append(point)
                yield point
        assert self.hold.wait(20)
        size = (images[0].shape[1], images[0].shape[0])
        return Pointing(
            query=query,
            points=tuple(points),
            status=Status.FOUND if points else Status.NOT_FOUND,
            image_size=size,
            image_sizes=() if video else tuple((a.shape[1], a.shape[0]) for a in images),
            model="several",
            text="<points/>",
        )


TWO = {
    "cameras": ["camera", "side"],
    "side.image_topic": "/side/image",
    "side.info_topic": "/side/camera_info",
    "side.rotation": 90,
}


def two_cameras(types: RosTypes, pointer: Any) -> Any:
    """A drive with a second camera that is mounted sideways; it looks from where the first one is, and has no depth."""
    drive = make_drive(types, pointer, **TWO)
    drive.advance(0.3)
    side = drive.session.buffers["side"]
    side.add_info(drive.scene.info())
    side.add_image(drive.scene.image(drive.session.buffers["camera"].newest_stamp_ns()))
    return drive


def test_the_newest_images_of_two_cameras_are_one_question(types: RosTypes) -> None:
    pointer = SeesSeveral()
    drive = two_cameras(types, pointer)
    outcome = drive.session.point_images(ImagesRequest("ball", request_id="r7"))
    assert outcome.code is Code.SUCCEEDED, outcome.message
    (shown,) = pointer.shown
    assert [a.shape[:2] for a in shown] == [(HEIGHT, WIDTH), (WIDTH, HEIGHT)], (
        "one is upright only when turned"
    )
    answer = outcome.answer
    assert [p.point.image_index for p in answer.points] == [0, 1]
    ball = drive.scene.ball_uv(answer.group.snapshots[0].stamp_ns)
    for point in answer.points:
        assert np.abs(point.uv - ball).max() < 0.2, "each in its own image as published"
    first, second = (p.position for p in answer.points)
    assert np.linalg.norm(first.xyz - BALL_ODOM) < 0.002
    assert second.status is PositionStatus.NO_DEPTH
    assert "side" in answer.position_message
    message = images_answer(types.make, outcome)
    assert (message.request_id, message.code, message.status) == ("r7", 0, 0)
    assert [i.camera for i in message.images] == ["camera", "side"]
    assert [i.position_header.frame_id for i in message.images] == ["odom", "odom"]
    assert all(np.isnan(i.time_s) for i in message.images)
    assert [(p.image_index, p.pointed.index, p.pointed.track_id) for p in message.points] == [(0, 0, -1), (1, 1, -1)]  # fmt: skip
    name = "molmo_point_msgs/msg/ImagesAnswer"
    assert types.from_cdr(types.to_cdr(message, name), name).query == "ball"


def test_the_last_frames_of_a_camera_are_a_video_with_times_and_tracks(types: RosTypes) -> None:
    pointer = SeesSeveral()
    drive = make_drive(types, pointer)
    drive.advance(1.75)
    outcome = drive.session.point_images(ImagesRequest("ball", frames=3))
    assert outcome.code is Code.SUCCEEDED, outcome.message
    (video,) = pointer.shown
    newest = drive.session.buffers["camera"].newest_stamp_ns()
    # Frames at 1.0 and 1.5 s of the drive, and the newest, which stands at 1.73.
    stamps = [s.stamp_ns for s in outcome.answer.group.snapshots]
    assert stamps == [
        drive.scene.start_ns + SECOND,
        drive.scene.start_ns + 3 * SECOND // 2,
        newest,
    ]
    assert list(video.times_s) == pytest.approx([0.0, 0.5, (newest - stamps[0]) / SECOND])
    for located, stamp_ns in zip(outcome.answer.points, stamps, strict=True):
        assert np.abs(located.uv - drive.scene.ball_uv(stamp_ns)).max() < 0.2
        assert np.linalg.norm(located.position.xyz - BALL_ODOM) < 0.002, (
            "with depth and transform of its own stamp"
        )
        assert located.track_id == 7
    message = images_answer(types.make, outcome)
    assert [p.time_s for p in message.points] == pytest.approx(list(video.times_s))
    assert [i.time_s for i in message.images] == pytest.approx(list(video.times_s))
    assert {p.pointed.track_id for p in message.points} == {7}


def test_one_camera_is_asked_as_by_point_so_that_every_model_answers(types: RosTypes) -> None:
    drive = make_drive(types)
    drive.advance(0.3)
    outcome = drive.session.point_images(ImagesRequest("ball"))
    alone = drive.session.point(ImagesRequest("ball").about("camera"))
    assert outcome.answer.points[0].uv.tolist() == alone.answer.points[0].uv.tolist()
    assert outcome.answer.pointing.stamp_ns == alone.answer.pointing.stamp_ns


def test_the_best_points_of_all_images_together(types: RosTypes) -> None:
    drive = two_cameras(types, SeesSeveral())
    outcome = drive.session.point_images(ImagesRequest("ball", max_points=1))
    assert [p.point.image_index for p in outcome.answer.points] == [1], (
        "the second has the higher score"
    )


@pytest.mark.parametrize(
    ("request_", "code", "words"),
    [
        (ImagesRequest(" "), Code.INVALID_REQUEST, "expected a few words"),
        (ImagesRequest("ball", ("nose",)), Code.INVALID_REQUEST, "expected a camera out of camera, side, got 'nose'"),
        (ImagesRequest("ball", ("side", "side")), Code.INVALID_REQUEST, "expected each once"),
        (ImagesRequest("ball", ("camera", "side"), frames=2), Code.INVALID_REQUEST, "expected one camera for a video"),
        (ImagesRequest("ball", frames=9), Code.INVALID_REQUEST, "expected at most 8, got 9.*video_frames"),
    ],
)  # fmt: skip
def test_questions_that_cannot_be_asked_say_why(
    types: RosTypes, request_: Any, code: Code, words: str
) -> None:
    drive = two_cameras(types, SeesSeveral())
    outcome = drive.session.point_images(request_)
    assert outcome.code is code
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(outcome.message)
    message = images_answer(types.make, outcome)
    assert (message.status, message.code, list(message.points)) == (4, code, [])


def test_a_camera_without_an_image_is_named(types: RosTypes) -> None:
    drive = make_drive(types, SeesSeveral(), max_image_age_s=0.1, **TWO)
    drive.advance(0.3)
    outcome = drive.session.point_images(ImagesRequest("ball"))
    assert outcome.code is Code.NO_IMAGE
    assert "/side/image" in outcome.message


def test_a_model_that_takes_one_image_and_one_that_miscounts_are_failures(types: RosTypes) -> None:
    class One(FakePointer):
        def stream(self, image: Any, query: str, **options: Any) -> Iterator[Any]:
            if isinstance(image, list):
                raise UsageError("fake takes one image a question")
            return (yield from super().stream(image, query, **options))

    class Miscounts(SeesSeveral):
        def stream(self, image: Any, query: str, **options: Any) -> Iterator[Any]:
            yield Point(x=0.5, y=0.5, image_index=2)
            raise AssertionError

    for pointer, words in ((One(), "takes one image"), (Miscounts(), "one in image 2")):
        outcome = two_cameras(types, pointer).session.point_images(ImagesRequest("ball"))
        assert outcome.code is Code.MODEL_ERROR
        assert words in outcome.message


def test_frames_are_kept_at_the_period_and_forgotten_when_the_clock_is_set_back(
    types: RosTypes,
) -> None:
    drive = make_drive(types)
    buffer = CameraBuffer(Settings.of({}).cameras["camera"], video_frames=3, video_period_s=0.5)
    start = drive.scene.start_ns
    for step in range(60):
        buffer.add_image(drive.scene.image(start + step * SECOND // 30))
    newest = buffer.newest_stamp_ns()
    kept = [(s - start) / SECOND for s, _ in buffer.frames_before(newest, 8)]
    assert kept == pytest.approx([0.5, 1.0, 1.5])
    assert len(buffer.frames_before(newest, 2)) == 2
    for step in range(4):
        buffer.add_image(drive.scene.image(start - 50 * SECOND + step * SECOND // 30))
    assert [s for s, _ in buffer.frames_before(newest, 8)] == [
        start - 50 * SECOND + 2 * SECOND // 30
    ]
    none = CameraBuffer(Settings.of({}).cameras["camera"])
    none.add_image(drive.scene.image(start))
    assert none.frames_before(newest, 8) == []


# The node: the same tests on a real rclpy, where it is sourced.


def images_goal(robot: Any, feedback: Any = None, **question: Any) -> Any:
    from molmo_point_msgs.action import PointImages as Action
    from molmo_point_msgs.msg import ImagesQuery
    from rclpy.action import ActionClient

    client = ActionClient(robot.helper, Action, "/point_node/point_images")
    assert client.wait_for_server(timeout_sec=10)
    goal = Action.Goal(question=ImagesQuery(**{"query": "ball", **question}))
    return result(client.send_goal_async(goal, feedback_callback=feedback))


def test_the_action_streams_points_of_a_video_and_gives_the_answer(robot: Any) -> None:
    pointer = SeesSeveral()
    pointer.hold.clear()
    robot = robot(pointer, video_period_s=0.2).up()
    for _ in range(5):
        robot.show()
    heard = robot.listen("molmo_point_msgs/msg/ImagesAnswer", "/point_node/points_in_images")
    seen: list[Any] = []
    handle = images_goal(robot, lambda m: seen.append(m.feedback), frames=3, compute_position=True)
    wait_for(lambda: any(len(f.partial.points) == 3 for f in seen), what="three points")
    partial = next(f.partial for f in seen if len(f.partial.points) == 3)
    assert (partial.status, partial.query) == (2, "ball")
    pointer.hold.set()
    response = result(handle.get_result_async())
    answer = response.result.answer
    assert (response.status, answer.code, answer.model) == (4, Code.SUCCEEDED, "several")
    # Images every 0.1 s: frames are kept at 0.1 and 0.3, the newest stands at 0.5.
    assert [round(p.time_s, 3) for p in answer.points] == [0.0, 0.2, 0.4]
    assert [p.pointed.track_id for p in answer.points] == [7, 7, 7]
    last = answer.points[2].pointed
    assert last.position_status == PositionStatus.OK
    assert np.linalg.norm(BALL_ODOM - [last.position.x, last.position.y, last.position.z]) < 0.002
    assert len(answer.request_id) == 32, "of the goal"
    wait_for(lambda: heard)
    assert heard[0].request_id == answer.request_id


def test_a_goal_about_images_is_cancelled_at_the_model(robot: Any) -> None:
    pointer = SeesSeveral()
    pointer.hold.clear()
    robot = robot(pointer, video_period_s=0.2).up()
    for _ in range(5):
        robot.show()
    handle = images_goal(robot, frames=2)
    wait_for(lambda: pointer.shown)
    result(handle.cancel_goal_async())
    response = result(handle.get_result_async())
    pointer.hold.set()
    assert (response.status, response.result.answer.code) == (5, Code.CANCELED)


def test_the_service_and_the_topic_answer_alike_and_refuse_alike(robot: Any) -> None:
    from molmo_point_msgs.msg import ImagesQuery
    from molmo_point_msgs.srv import PointImages

    robot = robot(SeesSeveral()).up()
    robot.show()
    heard = robot.listen("molmo_point_msgs/msg/ImagesAnswer", "/point_node/points_in_images")
    ask = robot.publisher("molmo_point_msgs/msg/ImagesQuery", "/point_node/images_query")
    wait_for(lambda: ask.get_subscription_count() >= 1)
    request = PointImages.Request(question=ImagesQuery(query="ball", request_id="s1"))
    answer = robot.call(PointImages, "/point_node/query_images", request).answer
    assert (answer.code, len(answer.points)) == (Code.SUCCEEDED, 1)
    ask.publish(ImagesQuery(query="ball", request_id="t1"))
    ask.publish(ImagesQuery(query="ball", request_id="t2", cameras=["nose"]))
    wait_for(lambda: {m.request_id for m in heard} >= {"s1", "t1", "t2"})
    by_id = {m.request_id: m for m in heard}
    assert by_id["t1"].points[0].pointed.u == answer.points[0].pointed.u
    assert by_id["t2"].code == Code.INVALID_REQUEST
    assert "nose" in by_id["t2"].message
    robot.node.trigger_deactivate()
    refused = robot.call(PointImages, "/point_node/query_images", request).answer
    assert refused.code == Code.CANCELED
