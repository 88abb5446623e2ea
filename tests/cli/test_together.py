"""One question about several images, and about a video."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import molmo_point as mp
from molmo_point.points import Point, Pointing, Status
from molmo_point.testing import FakePointer

if TYPE_CHECKING:
    from tests.cli.conftest import Run, Stage

SIZE = (80, 60)


class Several(FakePointer):
    """Points to the middle of each image, and of each frame."""

    asked: list[Any]

    def point(self, image: Any, query: str, **options: Any) -> Pointing:
        self.asked = [*getattr(self, "asked", []), image]
        video = isinstance(image, mp.Video)
        times = image.times_s if video else [None] * len(image)
        points = [
            Point(
                x=0.5,
                y=0.5,
                label=query,
                index=n,
                image_index=n,
                time_s=t,
                track=4 if video else None,
            )
            for n, t in enumerate(times)
        ]
        sizes = () if video else (SIZE,) * len(times)
        return Pointing(
            query=query,
            points=tuple(points),
            status=Status.FOUND,
            image_size=SIZE,
            image_sizes=sizes,
        )


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, SIZE)
    for number in range(21):
        writer.write(np.full((60, 80, 3), 10 * number, np.uint8))
    writer.release()
    return path


def test_several_images_are_one_question(run: Run, stage: Stage, photo: Path) -> None:
    stage.pointer = Several()
    other = photo.with_name("other.png")
    other.write_bytes(photo.read_bytes())
    ran = run("point", photo, other, "--query", "mug", "--together", "--json")
    assert ran.code == 0
    (line,) = ran.out.splitlines()
    answer = json.loads(line)
    assert [point["image_index"] for point in answer["points"]] == [0, 1]
    assert answer["image_sizes"] == [[80, 60], [80, 60]]
    assert stage.pointer.asked == [[str(photo), str(other)]]
    table = run("point", photo, other, "mug", "--together").out
    assert "image" in table


def test_drawings_have_their_own_points(
    run: Run, stage: Stage, photo: Path, clip: Path, tmp_path: Path
) -> None:
    stage.pointer = Several()
    ran = run("point", clip, "mug", "--out", tmp_path / "drawn", "--fps", "1")
    assert ran.code == 0
    names = sorted(path.name for path in (tmp_path / "drawn").iterdir())
    assert names == ["clip-0.00s.jpg", "clip-1.00s.jpg", "clip-2.00s.jpg"]


def test_frames_of_a_video(run: Run, stage: Stage, clip: Path) -> None:
    stage.pointer = Several()
    ran = run("point", clip, "mug", "--json")
    assert ran.code == 0
    points = json.loads(ran.out)["points"]
    assert [point["time_s"] for point in points] == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert {point["track"] for point in points} == {4}
    table = run("point", clip, "mug", "--frames", "2").out
    assert "track" in table
    assert len(stage.pointer.asked[-1].frames) == 2


def test_mistakes_are_named(run: Run, stage: Stage, photo: Path, clip: Path) -> None:
    for words, reason in (
        ((photo, "mug", "--fps", "2"), "frames of a video"),
        ((photo, clip, "--query", "mug"), "one video"),
        ((clip, "mug", "--frames", "0"), "above 0"),
    ):
        ran = run("point", *words)
        assert ran.code == 2, ran
        assert reason in ran.err


def test_one_image_together_is_an_ordinary_question(run: Run, stage: Stage, photo: Path) -> None:
    stage.pointer = FakePointer({"mug": [(0.25, 0.5)]})
    assert run("point", photo, "mug", "--together").code == 0
