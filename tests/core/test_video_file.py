"""Frames of a video file: those that the checkpoints' own processor takes, at their times."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import molmo_point as mp
from molmo_point.errors import ImageError, UsageError
from molmo_point.video_file import frame_numbers

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")

GOLDEN = Path(__file__).parents[1] / "golden/molmo2/preproc/frame_sampling.json"
CASES = json.loads(GOLDEN.read_text())["cases"]


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: "{total_num_frames}-{fps}-{num_frames}".format(**case)
)
def test_frames_are_those_of_the_reference(case: dict[str, object]) -> None:
    total, rate, most, fps = (
        case[key] for key in ("total_num_frames", "fps", "num_frames", "max_fps")
    )
    taken = frame_numbers(total, rate, fps=fps, frames=most)  # type: ignore[arg-type]
    assert taken == case["hub_code_uniform_last_frame"]


def test_there_are_cases_of_every_kind() -> None:
    assert len(CASES) == 22


def written(path: Path, frames: int, rate: float) -> Path:
    """Write a video whose frames get brighter."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), rate, (32, 24))
    for number in range(frames):
        writer.write(np.full((24, 32, 3), 5 * number, np.uint8))
    writer.release()
    return path


def test_a_file_is_read_at_its_times(tmp_path: Path) -> None:
    video = mp.read_video(written(tmp_path / "a.avi", 32, 10.0))
    numbers = [0, 5, 10, 15, 20, 25, 30, 31]
    assert video.times_s == pytest.approx([number / 10 for number in numbers])
    levels = [float(np.asarray(frame).mean()) for frame in video.frames]
    np.testing.assert_allclose(levels, [5 * number for number in numbers], atol=3)
    assert np.asarray(video.frames[0]).shape == (24, 32, 3)
    assert len(mp.read_video(tmp_path / "a.avi", frames=4).frames) == 4
    assert len(mp.read_video(tmp_path / "a.avi", fps=1).frames) == 5
    slow = mp.read_video(written(tmp_path / "slow.avi", 7, 1.0))
    assert list(slow.times_s) == [0, 1, 2, 3, 4, 5, 6]


def test_the_last_frame_may_share_its_name(tmp_path: Path) -> None:
    video = mp.read_video(written(tmp_path / "a.avi", 32, 30.0))
    assert [f"{time_s:.1f}" for time_s in video.times_s] == ["0.0", "0.5", "1.0", "1.0"]


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(ImageError, match="video"):
        mp.read_video(tmp_path / "text.mp4")
    with pytest.raises(ImageError, match="no file"):
        mp.read_video(tmp_path / "none.mp4")
    path = written(tmp_path / "a.avi", 3, 10.0)
    for wrong in ({"fps": 0}, {"frames": 0}, {"fps": float("nan")}):
        with pytest.raises(UsageError, match="above 0"):
            mp.read_video(path, **wrong)
