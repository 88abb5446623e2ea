"""Points carried from frame to frame: what a slow model's answer is worth, and what a dropped frame must not do."""

import threading

import numpy as np
import pytest
from molmo_robot.codes import PositionStatus
from molmo_robot.continuous_query import StandingQuery
from molmo_robot.session import Session
from molmo_robot.settings import Settings
from molmo_robot.types import Request
from robot_scene import SECOND, Scene, find_ball
from ros_world import wait_for

from molmo_point.errors import ServerGone
from molmo_point.points import Status
from molmo_point.testing import FakePointer

pytest.importorskip("cv2", reason='following needs: pip install "molmo-point[tracking]"')

from molmo_robot.flow_follower import FlowFollower

from molmo_point.tracking import Tracker


@pytest.fixture
def scene(types):
    return Scene(types)


def picture(scene, stamp_ns):
    return scene.image(stamp_ns).data.reshape(scene.height, scene.width, 3)


def drive(follower, scene, stamps):
    return [follower.frame(stamp, picture(scene, stamp)) for stamp in stamps]


def stamps_of(scene, count, gap_ns=SECOND // 30):
    return [scene.start_ns + i * gap_ns for i in range(count)]


@pytest.mark.parametrize("expected", [True, False])
def test_a_frame_is_kept_while_its_answer_is_expected(types, expected):
    """The model takes longer than frames are kept, and more of them come than are kept."""
    scene = Scene(types, speed=(0.02, 0.1, 0.0))
    follower = FlowFollower(lambda: Tracker(keep=12, keep_s=0.5))
    first, *rest = stamps_of(scene, 40)
    image = picture(scene, first)
    follower.frame(first, image)
    if expected:
        follower.expect(first)
    drive(follower, scene, rest)
    why_not = follower.answer(first, FakePointer(find_ball).point(image, "ball"))
    follower.release(first)
    assert ("not kept any more" in why_not) is not expected
    (later,) = drive(follower, scene, [rest[-1] + SECOND // 30])
    assert (later is not None) is expected
    if later is not None:
        point = later.pointing.points[0]
        truth = scene.ball_uv(rest[-1] + SECOND // 30)
        where = np.array([point.x, point.y]) * (scene.width, scene.height) - 0.5
        assert np.linalg.norm(where - truth) < 1.0
        assert later.evidence_stamp_ns == first


def test_a_released_frame_is_let_go_and_one_of_another_time_disturbs_nothing(scene):
    made = []

    def tracker():
        made.append(Tracker(keep=4, keep_s=0.1))
        return made[-1]

    follower = FlowFollower(tracker)
    first, *rest = stamps_of(scene, 20)
    drive(follower, scene, [first])
    follower.expect(first)
    drive(follower, scene, rest[:9])
    assert made[-1].catch_up(1, FakePointer(find_ball).point(picture(scene, first), "ball"))
    follower.release(first)
    drive(follower, scene, rest[9:])
    assert not made[-1].catch_up(1, FakePointer(find_ball).point(picture(scene, first), "ball"))
    # Time is set back: a frame of the tracker before is neither expected nor released any more.
    follower.expect(rest[-1])
    back = scene.start_ns - 100 * SECOND
    drive(follower, scene, [back])
    follower.expect(back)
    follower.release(rest[-1])
    drive(follower, scene, [back + i * SECOND // 30 for i in range(1, 12)])
    assert follower.answer(back, FakePointer(find_ball).point(picture(scene, back), "ball")) == ""


def test_a_point_that_a_frame_does_not_show_again_is_not_published_for_it(scene):
    """Frames were dropped: the ball has moved by more than flow can follow, and where it was there is only wall."""
    follower = FlowFollower(Tracker)
    stamps = [scene.start_ns, scene.start_ns + SECOND // 30]
    drive(follower, scene, stamps)
    pointing = FakePointer(find_ball).point(picture(scene, stamps[1]), "ball")
    assert follower.answer(stamps[1], pointing) == ""
    late = [stamps[1] + SECOND, stamps[1] + SECOND + SECOND // 30]
    assert drive(follower, scene, late) == [None, None]
    (lost,) = drive(follower, scene, [late[1] + SECOND // 30])
    assert (lost.pointing.status, lost.pointing.points) == (Status.PENDING, ())
    pointing = FakePointer(find_ball).point(picture(scene, late[1]), "ball")
    assert follower.answer(late[1], pointing) == ""


def test_whatever_frames_are_dropped_every_point_is_where_the_ball_is(scene):
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(4):
        follower = FlowFollower(Tracker)
        stamp = scene.start_ns + int(rng.integers(0, 30)) * SECOND // 10
        drive(follower, scene, [stamp])
        follower.answer(stamp, FakePointer(find_ball).point(picture(scene, stamp), "ball"))
        for _ in range(10):
            stamp += int(rng.integers(1, 7)) * SECOND // 10
            (tracked,) = drive(follower, scene, [stamp])
            for point in tracked.pointing.points if tracked else ():
                found += 1
                where = np.array([point.x, point.y]) * (scene.width, scene.height) - 0.5
                assert np.linalg.norm(where - scene.ball_uv(stamp)) < 2.0
            if tracked is None or not tracked.pointing.points:
                follower.answer(stamp, FakePointer(find_ball).point(picture(scene, stamp), "ball"))
    assert found > 5


class Noted:
    """A follower that writes down what it is told to keep."""

    def __init__(self):
        self.said = []

    def frame(self, stamp_ns, image):
        return None

    def expect(self, stamp_ns):
        self.said.append(("expect", stamp_ns))

    def release(self, stamp_ns):
        self.said.append(("release", stamp_ns))

    def answer(self, stamp_ns, pointing):
        self.said.append(("answer", stamp_ns))
        return ""


@pytest.mark.parametrize("fails", [False, True])
def test_the_frame_of_a_question_is_expected_until_it_ends(scene, fails):
    settings = Settings.of(
        {"camera.image_topic": "/image", "camera.info_topic": "", "camera.depth_topic": ""}
    )
    noted, published, asked = Noted(), [], threading.Event()

    def answer(image, query):
        asked.set()
        return ServerGone("gone") if fails else find_ball(image, query)

    session = Session(settings, FakePointer(answer), clock=lambda: scene.start_ns)
    standing = StandingQuery(session, published.append, lambda: noted)
    standing.set(Request("ball", compute_position=False))
    try:
        standing.offer("camera", scene.image(scene.start_ns))
        assert asked.wait(10)
        wait_for(lambda: any(word == "release" for word, _ in noted.said))
    finally:
        standing.stop()
    words = ["expect", "release"] if fails else ["expect", "answer", "release"]
    assert noted.said[: len(words)] == [(word, scene.start_ns) for word in words]
    assert all(p.position.status is not PositionStatus.OK for a in published for p in a.points)
