"""What tracking may claim: nothing before an answer, nothing that only moved by, no id for two things."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from molmo_point.points import Point, Pointing, Status
from molmo_point.testing import FakePointer

cv2 = pytest.importorskip("cv2", exc_type=ImportError)

from molmo_point.errors import UsageError  # noqa: E402
from molmo_point.tracking import frame_sources  # noqa: E402
from molmo_point.tracking.camera_watch import CameraWatch  # noqa: E402
from molmo_point.tracking.tracker import Tracker  # noqa: E402

SIZE = (320, 240)
UV = np.array([(u, v) for u in (60.0, 130.0, 200.0, 270.0) for v in (60.0, 120.0, 180.0)])


def texture(seed: int) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(seed)
    total = np.full((SIZE[1], SIZE[0], 3), 128, np.float32)
    for cell, strength in ((4, 20), (12, 40), (40, 40)):
        small = rng.normal(0, 1, (SIZE[1] // cell + 2, SIZE[0] // cell + 2, 3)).astype(np.float32)
        total += strength * cv2.resize(small, SIZE, interpolation=cv2.INTER_CUBIC)
    return np.clip(total, 0, 255).astype(np.uint8)


def answer(uv: Any, status: Status | None = None, absent: float | None = None) -> Pointing:
    points = tuple(
        Point(x=(u + 0.5) / SIZE[0], y=(v + 0.5) / SIZE[1], label=str(i))
        for i, (u, v) in enumerate(uv)
    )
    status = status or (Status.FOUND if points else Status.NOT_FOUND)
    return Pointing(
        query="q", points=points, status=status, image_size=SIZE, absent_probability=absent
    )


def errors_px(tracker: Tracker) -> list[float]:
    pointing, _ = tracker.answer("q")
    return [
        float(np.hypot(p.x * SIZE[0] - 0.5 - UV[int(p.label)][0], p.y * SIZE[1] - 0.5 - UV[int(p.label)][1]))
        for p in pointing.points
    ]  # fmt: skip


def test_before_the_first_answer_the_status_is_pending() -> None:
    tracker = Tracker()
    number = tracker.add_frame(texture(0), 0.0)
    assert tracker.answer("q")[0].status is Status.PENDING
    assert tracker.evidence("q") is None
    tracker.add_answer(number, answer([], absent=0.9))
    pointing = tracker.answer("q")[0]
    assert (pointing.status, pointing.absent_probability) == (Status.NOT_FOUND, 0.9)


@pytest.mark.parametrize("status", [Status.TRUNCATED, Status.MALFORMED])
def test_half_an_answer_is_no_absence(status: Status) -> None:
    tracker = Tracker()
    number = tracker.add_frame(texture(0), 0.0)
    tracker.add_answer(number, answer([]))
    tracker.add_answer(number, answer([], status))
    assert tracker.answer("q")[0].status is Status.PENDING


def test_a_failed_question_takes_back_what_was_said_before() -> None:
    tracker = Tracker()
    tracker.add_answer(tracker.add_frame(texture(0), 0.0), answer([]))
    tracker.answer_failed("q")
    assert tracker.answer("q")[0].status is Status.PENDING


def test_points_that_tracking_lost_are_not_absent() -> None:
    tracker = Tracker()
    tracker.add_answer(tracker.add_frame(texture(0), 0.0), answer(UV[:2]))
    for t in range(1, 8):
        tracker.add_frame(texture(50 + t), t / 30)
    assert len(tracker) == 0
    assert tracker.answer("q")[0].status is Status.PENDING


def test_the_edge_of_a_shadow_does_not_carry_points_away() -> None:
    tracker, image = Tracker(), texture(0)
    tracker.add_answer(tracker.add_frame(image, 0.0), answer(UV))
    worst = []
    for t in range(1, 60):
        shadowed = image.astype(np.float32)
        edge = 8 * t - 80
        shadowed[:, max(0, edge) : max(0, edge + 80)] *= 0.35
        tracker.add_frame(shadowed.astype(np.uint8), t / 30)
        worst += errors_px(tracker)
    assert max(worst) < 3.0
    assert len(tracker) == len(UV)  # recognized again behind the shadow


@pytest.mark.parametrize("fill", ["flat", "textured"])
def test_what_covers_a_point_does_not_take_it_along(fill: str) -> None:
    tracker, image = Tracker(), texture(0)
    cover = np.full_like(image, 127) if fill == "flat" else texture(9)
    tracker.add_answer(tracker.add_frame(image, 0.0), answer(UV))
    worst = []
    for t in range(1, 60):
        frame, left = image.copy(), 7 * t - 80
        frame[:, max(0, left) : max(0, left + 80)] = cover[:, max(0, left) : max(0, left + 80)]
        tracker.add_frame(frame, t / 30)
        worst += errors_px(tracker)
    assert max(worst) < 8.0  # the cover moves 7 pixels a frame
    assert len(tracker) >= len(UV) - 1  # the others are recognized again behind it


def test_a_covered_point_is_shown_again_when_several_frames_show_it() -> None:
    """One frame is no proof: the surroundings of a point without texture can look right past the edge of what covers it."""
    tracker, image, cover = Tracker(), texture(0), texture(9)
    tracker.add_answer(tracker.add_frame(image, 0.0), answer(UV))
    ids = {track.id for track in tracker.answer("q")[1]}
    shown = []
    for t, frame in enumerate([cover] * 4 + [image] * 2 + [cover] * 4 + [image] * 3, 1):
        tracker.add_frame(frame, t / 30)
        shown.append(len(tracker.answer("q")[0].points))
    assert shown[2:-1] == [0] * 10
    assert {track.id for track in tracker.answer("q")[1]} == ids


def test_a_lamp_that_goes_out_and_on_again_leaves_every_point_its_id() -> None:
    tracker, image = Tracker(), texture(0)
    tracker.add_answer(tracker.add_frame(image, 0.0), answer(UV))
    ids = [track.id for track in tracker.answer("q")[1]]
    for t in range(1, 40):
        gain = 0.02 if 10 <= t < 20 else 1.0
        tracker.add_frame((image * gain).astype(np.uint8), t / 30)
    assert sorted(track.id for track in tracker.answer("q")[1]) == sorted(ids)


def test_another_thing_in_the_old_place_gets_an_id_of_its_own() -> None:
    things = [texture(20 + j)[:40, :40] for j in range(4)]
    tracker, ids = Tracker(), []
    for j, thing in enumerate(things):
        # The place is empty for a moment, then holds something else.
        for still in range(4):
            frame = texture(0)
            if still:
                frame[100:140, 100:140] = thing
            number = tracker.add_frame(frame, j + still / 30)
        tracker.add_answer(number, answer([(120.0, 120.0)]))
        ids.append(tracker.answer("q")[1][-1].id)
    assert len(set(ids)) == len(things)


def test_a_thing_that_is_asked_about_late_is_found_again_after_many_frames() -> None:
    tracker, image = Tracker(keep=40, keep_s=1.0), texture(0)
    first = tracker.add_frame(image, 0.0)
    tracker.expect(first)
    for t in range(1, 240):
        tracker.add_frame(np.roll(image, t // 6, axis=1), t / 30)
    assert tracker.add_answer(first, answer([(120.0, 120.0)]))
    ((u, v),) = [(p.x * SIZE[0] - 0.5, p.y * SIZE[1] - 0.5) for p in tracker.answer("q")[0].points]
    assert (u, v) == pytest.approx((120 + 239 // 6, 120), abs=0.5)


def slow(seconds: float) -> FakePointer:
    def find(image: Any, query: str) -> list[Point]:
        time.sleep(seconds)
        return [Point(x=0.5, y=0.5, label=query)]

    return FakePointer(find)


def test_a_clip_that_ends_before_the_answer_waits_for_it() -> None:
    heard: list[Any] = []
    with CameraWatch(slow(0.2), ["q"], publish=heard.append) as watch:
        watch.frame(texture(0), time_s=0.0)
        (last,) = watch.finish(5.0)
    assert [p.pointing.status for p in heard] == [Status.PENDING, Status.FOUND]
    assert last is heard[-1]
    assert (last.evidence_age_s, watch.answered) == (0.0, 1)


def test_a_server_that_fails_every_question_publishes_pending() -> None:
    def fail(image: Any, query: str) -> list[Point]:
        raise RuntimeError("no model")

    heard: list[Any] = []
    with CameraWatch(FakePointer(fail), ["q"], publish=heard.append) as watch:
        watch.frame(texture(0), time_s=0.0)
        assert watch.finish(1.0) == []
    assert {p.pointing.status for p in heard} == {Status.PENDING}
    assert (watch.failed, watch.answered) == (1, 0)


def test_frames_of_another_size_start_the_points_again() -> None:
    heard: list[Any] = []
    with CameraWatch(slow(0.0), ["q"], publish=heard.append) as watch:
        watch.frame(texture(0), time_s=0.0)
        watch.finish(5.0)
        watch.frame(cv2.resize(texture(0), (160, 120)), time_s=0.1)
        watch.finish(5.0)
    assert heard[-1].pointing.image_size == (160, 120)
    assert heard[-1].tracks[0].id > heard[1].tracks[0].id


def test_stamps_come_from_the_file_not_from_its_nominal_rate(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told_ms = [0.0, 50.0, 100.0, 300.0, 500.0]

    class Capture:
        at = -1

        def read(self) -> tuple[bool, Any]:
            self.at += 1
            return self.at < len(told_ms), np.zeros((4, 4, 3), np.uint8)

        def get(self, what: int) -> float:
            return told_ms[self.at] if what == cv2.CAP_PROP_POS_MSEC and self.at >= 0 else 10.0

        def release(self) -> None: ...

    monkeypatch.setattr(frame_sources, "_open", lambda source: Capture())
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"")
    stamps = [frame.stamp_ns for frame in frame_sources.frames(str(clip), paced=False)]
    assert stamps == [round(ms * 1e6) for ms in told_ms]


def test_a_file_without_a_frame_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "text.png"
    path.write_text("not an image")
    with pytest.raises(UsageError):
        list(frame_sources.frames(str(path), paced=False))


class _Stream:
    """A live source that gives two frames and stops."""

    def __init__(self) -> None:
        self.left = 2

    def read(self) -> tuple[bool, Any]:
        self.left -= 1
        return self.left >= 0, np.zeros((4, 4, 3), np.uint8)

    def get(self, what: int) -> float:
        return 0.0

    def release(self) -> None: ...


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    monkeypatch.setattr(frame_sources, "RETRY_S", (0.01, 0.02))
    opened: list[str] = []

    def open_(source: str) -> _Stream:
        opened.append(source)
        if len(opened) == 2:
            raise frame_sources.ServerGone("not yet")
        return _Stream()

    monkeypatch.setattr(frame_sources, "_open", open_)
    return opened  # type: ignore[return-value]


def test_a_stream_that_stops_is_opened_again(quick: list[str]) -> None:
    stop = threading.Event()
    seen = 0
    for _ in frame_sources.frames("rtsp://camera/1", reconnect=True, stop=stop):
        seen += 1
        if seen == 6:
            stop.set()
    assert seen == 6
    assert len(quick) == 4  # the second try failed


def test_without_reconnect_a_stream_ends(quick: list[str]) -> None:
    assert len(list(frame_sources.frames("rtsp://camera/1"))) == 2
