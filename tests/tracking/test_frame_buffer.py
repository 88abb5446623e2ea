"""Which frames are kept for answers to come: by time, by expectation, and never more than a stated number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("cv2", exc_type=ImportError)

from molmo_point.tracking.frame import Frame
from molmo_point.tracking.frame_buffer import BufferedFrame, FrameBuffer

PIXELS = Frame(np.zeros((4, 4), np.uint8))


def fill(buffer: FrameBuffer, times: list[float], first: int = 1) -> None:
    for number, time_s in enumerate(times, first):
        buffer.add(BufferedFrame(number, PIXELS, None, time_s))


def test_frames_are_kept_by_time_not_by_number() -> None:
    for rate in (5, 30, 100):
        buffer = FrameBuffer(keep_s=1.0, most=1000)
        fill(buffer, [i / rate for i in range(3 * rate)])
        assert rate <= len(buffer) <= rate + 1


def test_an_expected_frame_is_kept_however_long_its_answer_takes() -> None:
    buffer = FrameBuffer(keep_s=1.0, most=50)
    fill(buffer, [0.0])
    buffer.expect(1)
    fill(buffer, [i / 30 for i in range(1, 1800)], first=2)  # a minute
    kept = buffer.since(1)
    assert kept[0].number == 1
    assert kept[-1].number == 1800
    assert len(kept) <= 50
    buffer.release(1)
    fill(buffer, [60.5], first=1801)
    assert buffer.since(1) == []


@given(st.lists(st.floats(0.001, 2.0), min_size=2, max_size=120), st.integers(2, 20))
@settings(max_examples=40, deadline=None)
def test_thinning_keeps_the_newest_and_no_gap_larger_than_needed(
    gaps: list[float], most: int
) -> None:
    buffer = FrameBuffer(keep_s=1e9, most=most)
    buffer.expect(1)
    times = list(np.cumsum(gaps))
    fill(buffer, times)
    kept = buffer.since(1)
    assert len(kept) <= most
    assert kept[0].number == 1
    assert kept[-1].number == len(times)
    assert [f.number for f in kept] == sorted(f.number for f in kept)
