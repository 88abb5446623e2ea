"""One continuous query: frames are kept for slow answers, restarts lose nothing but points, failures are told and asked again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from molmo_point.errors import QueryError
from molmo_point.images import Array
from molmo_point.points import Point, Pointing, Status
from molmo_point.tracking.continuous import (
    NOT_KEPT,
    NOT_TRACKED,
    CameraFrame,
    ContinuousQuery,
)

cv2 = pytest.importorskip("cv2", reason="OpenCV (the extra 'tracking') is not installed")

from molmo_point.tracking.tracker import Tracker  # noqa: E402

SIZE = (320, 240)
START = (120.0, 120.0)


def texture(seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (40, 54, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(small, SIZE, interpolation=cv2.INTER_CUBIC))


def frame(t: int, image: Array | None = None, time_s: float | None = None) -> CameraFrame[int]:
    """The texture, moved by t / 6 pixels to the right."""
    shown = np.roll(texture(), t // 6, axis=1) if image is None else image
    return CameraFrame(shown, t / 30 if time_s is None else time_s, t, t)


def answer(status: Status = Status.FOUND) -> Pointing:
    points = (Point(x=(START[0] + 0.5) / SIZE[0], y=(START[1] + 0.5) / SIZE[1]),)
    return Pointing(
        query="q", points=points if status is Status.FOUND else (), status=status, image_size=SIZE
    )


class Run:
    """A query whose model answers when the test says so."""

    def __init__(self, tracker: Tracker | None = None, **options: Any) -> None:
        self.asked: list[int] = []
        self.answers: list[tuple[int, Status, str]] = []
        self.failures: list[Exception] = []
        self.release = threading.Event()
        self.next: Callable[[], Pointing] = answer
        self.query: ContinuousQuery[int] = ContinuousQuery(
            self._ask,
            ["q"],
            tracker=tracker,
            on_answer=lambda f, p, why: self.answers.append((f.data, p.status, why)),
            on_failure=self.failures.append,
            **options,
        )
        self.query.start()

    def _ask(self, frame: CameraFrame[int]) -> Iterator[Pointing]:
        self.asked.append(frame.data)
        assert self.release.wait(20)
        yield self.next()


@pytest.fixture
def run() -> Iterator[Callable[..., Run]]:
    made: list[Run] = []

    def make(*arguments: Any, **options: Any) -> Run:
        made.append(Run(*arguments, **options))
        return made[-1]

    yield make
    for one in made:
        one.release.set()
        one.query.stop()


def wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.005)


def test_a_frame_is_kept_while_the_model_thinks_and_let_go_afterwards(
    run: Callable[..., Run],
) -> None:
    """The model takes longer than frames are kept, and more of them come than are kept."""
    tracker = Tracker(keep=12, keep_s=0.5)
    one = run(tracker, every_s=60.0)
    one.query.add_frame(frame(0))
    wait_for(lambda: one.asked == [0])
    for t in range(1, 40):
        one.query.add_frame(frame(t))
    one.release.set()
    wait_for(lambda: one.answers == [(0, Status.FOUND, "")])
    (tracked,) = one.query.add_frame(frame(40))
    (point,) = tracked.pointing.points
    u, v = point.x * SIZE[0] - 0.5, point.y * SIZE[1] - 0.5
    assert (u, v) == pytest.approx((START[0] + 40 // 6, START[1]), abs=0.7)
    assert tracked.tracks[0].evidence_stamp_ns == 0
    for t in range(41, 80):
        one.query.add_frame(frame(t))
    assert tracker.catch_up(1, answer()) is None


@pytest.mark.parametrize("change", ["size", "time"])
def test_an_answer_about_a_frame_before_a_restart_is_not_tracked(
    run: Callable[..., Run], change: str
) -> None:
    one = run(Tracker(), every_s=60.0)
    one.query.add_frame(frame(0, time_s=100.0))
    wait_for(lambda: one.asked == [0])
    if change == "size":
        one.query.add_frame(frame(1, np.asarray(cv2.resize(texture(), (640, 480))), 100.1))
    else:
        one.query.add_frame(frame(1, time_s=50.0))
    one.release.set()
    wait_for(lambda: one.answers == [(0, Status.FOUND, NOT_KEPT)])
    assert one.query.finish(0.0)[0].pointing.status is Status.PENDING


def test_a_point_that_the_newest_frame_does_not_show_is_left_out_and_counted(
    run: Callable[..., Run],
) -> None:
    one = run(Tracker(), doubtful=False, every_s=60.0)
    one.release.set()
    one.query.add_frame(frame(0))
    wait_for(lambda: one.answers)
    (shown,) = one.query.add_frame(frame(1))
    assert (shown.pointing.status, shown.in_doubt) == (Status.FOUND, 0)
    (hidden,) = one.query.add_frame(frame(2, texture(9)))
    assert (hidden.pointing.status, hidden.tracks, hidden.in_doubt) == (Status.PENDING, (), 1)


def test_points_that_cannot_be_carried_to_the_newest_frame_are_named(
    run: Callable[..., Run],
) -> None:
    one = run(Tracker(), every_s=60.0)
    one.query.add_frame(frame(0))
    wait_for(lambda: one.asked)
    for t in range(1, 6):
        one.query.add_frame(frame(t, texture(t)))
    one.release.set()
    wait_for(lambda: one.answers == [(0, Status.FOUND, NOT_TRACKED)])


def test_the_newest_frame_is_asked_about_and_those_before_it_are_not(
    run: Callable[..., Run],
) -> None:
    one = run(None)
    for t in range(5):
        assert one.query.add_frame(frame(t)) == []
        wait_for(lambda: one.asked)
    one.release.set()
    wait_for(lambda: len(one.answers) == 2)
    assert one.asked == [0, 4]


def test_waiting_for_a_newer_frame_ends_with_the_frame_or_in_time(run: Callable[..., Run]) -> None:
    one, first = run(None), frame(0)
    one.query.add_frame(first)
    assert not one.query.wait_newer(first, 0.01)
    threading.Timer(0.05, one.query.add_frame, (frame(1),)).start()
    assert one.query.wait_newer(first, 10.0)


def test_failures_are_told_and_the_pauses_between_them_grow(run: Callable[..., Run]) -> None:
    one = run(None, retry_s=(0.05, 0.2))
    one.release.set()

    def fail() -> Pointing:
        raise RuntimeError("no model")

    one.next = fail
    times: list[float] = []
    while len(times) < 4:
        one.query.add_frame(frame(0))
        if len(one.asked) > len(times):
            times.append(time.monotonic())
        time.sleep(0.005)
    gaps = np.diff(times)
    assert gaps[0] >= 0.04
    assert gaps[1] >= 0.09
    assert gaps[2] >= 0.18
    one.next = answer
    wait_for(lambda: one.query.add_frame(frame(0)) or one.answers)


def test_a_fatal_error_ends_the_asking_and_reaches_the_source_of_frames(
    run: Callable[..., Run],
) -> None:
    one = run(None)

    def refuse() -> Pointing:
        raise QueryError("too long")

    one.next = refuse
    one.release.set()
    one.query.add_frame(frame(0))
    with pytest.raises(QueryError, match="too long"):
        one.query.finish(10.0)
    with pytest.raises(QueryError, match="too long"):
        one.query.add_frame(frame(1))
    assert (one.asked, one.failures) == ([0], [])
