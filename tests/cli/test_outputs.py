"""`--out` replaces nothing of the user's, fails before a model is loaded where it can, and never loses answers."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from molmo_point.drawing_mark import is_our_drawing
from molmo_point.points import Point
from molmo_point.testing import FakePointer

if TYPE_CHECKING:
    from tests.cli.conftest import Run, Stage


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """cam.jpg beside cam.png, of different content."""
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("RGB", (80, 60), (90, 20, 20)).save(folder / "cam.jpg")
    Image.new("RGB", (80, 60), (20, 20, 90)).save(folder / "cam.png")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_drawings_never_lie_among_the_images(run: Run, stage: Stage, photos: Path) -> None:
    before = contents(photos)
    for words in ((photos,), (photos / "cam.jpg",), (photos / "*.jpg",)):
        ran = run("point", *words, "circle", "--out", f"{photos}/")
        assert (ran.code, ran.out) == (2, "")
        assert "drawings would lie among the images" in ran.err
    assert contents(photos) == before
    assert stage.opened == []


@pytest.mark.parametrize("name", ["mask.png", "notes.jpg", "art.webp"])
def test_a_file_that_is_no_drawing_stays(
    run: Run, stage: Stage, photos: Path, tmp_path: Path, name: str
) -> None:
    stage.pointer = FakePointer({"circle": [(0.5, 0.5)]})
    mine = tmp_path / name
    mine.write_bytes(b"my own work")
    ran = run("point", photos / "cam.png", "circle", "--out", mine)
    assert (ran.code, ran.out) == (2, "")
    assert "is no drawing of molmo-point" in ran.err
    assert mine.read_bytes() == b"my own work"
    assert stage.opened == []
    assert run("point", photos / "cam.png", "circle", "--out", mine, "--overwrite").code == 0
    assert is_our_drawing(mine)
    # A drawing of ours is replaced without a word.
    assert run("point", photos / "cam.png", "circle", "--out", mine).code == 0


def test_in_a_folder_another_name_is_taken(
    run: Run, stage: Stage, photos: Path, tmp_path: Path
) -> None:
    stage.pointer = FakePointer({"circle": [(0.5, 0.5)]})
    out = tmp_path / "out"
    out.mkdir()
    (out / "cam.jpg").write_bytes(b"mine")
    for _ in range(2):
        ran = run("point", photos, "circle", "--out", out)
        assert "wrote 2 drawings in" in ran.err
        assert sorted(path.name for path in out.iterdir()) == ["cam-2.jpg", "cam-3.jpg", "cam.jpg"]
    assert (out / "cam.jpg").read_bytes() == b"mine"


def test_drawings_are_not_asked_about_in_folders(
    run: Run, stage: Stage, photos: Path, tmp_path: Path
) -> None:
    stage.pointer = FakePointer({"circle": [(0.5, 0.5)]})
    assert run("count", photos, "circle", "--out", photos / "drawn").code == 0
    ran = run("count", photos, "circle", "--recursive")
    assert len(ran.out.splitlines()) == 2
    assert "a drawing of molmo-point" in ran.err


def test_a_full_disk_does_not_end_the_run(
    run: Run, stage: Stage, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.pointer = FakePointer({"circle": [(0.5, 0.5)]})

    def save(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", save)
    ran = run("count", photos, "circle", "--out", tmp_path / "drawn")
    assert len(ran.out.splitlines()) == 2
    assert ran.code == 1
    assert ran.err.count("No space left on device") == 1


def test_large_images_are_drawn_small(run: Run, stage: Stage, tmp_path: Path) -> None:
    stage.pointer = FakePointer({"circle": [(0.5, 0.5)]})
    large = tmp_path / "large.png"
    Image.new("RGB", (4000, 1000)).save(large)
    run("point", large, "circle", "--out", tmp_path / "drawn.png")
    assert Image.open(tmp_path / "drawn.png").size == (2048, 512)


def test_the_demo_replaces_no_file(
    run: Run, stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo.png").write_text("mine")
    ran = run("demo")
    assert ran.code == 2
    assert (tmp_path / "demo.png").read_text() == "mine"
    assert stage.opened == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such file names")
@pytest.mark.parametrize("command", ["point", "count"])
def test_names_and_words_do_not_steer_the_terminal(
    run: Run, stage: Stage, photo: Path, tmp_path: Path, command: str
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("plain.png", "e\033]0;title\a\u202e.png"):
        shutil.copy(photo, folder / name)
    (folder / "b\033[2J.png").write_bytes(b"no image")
    stage.pointer = FakePointer({"mug": [Point(x=0.5, y=0.5, label="m\033[31mug")]})
    ran = run(command, folder, "mug")
    said = ran.out + ran.err
    assert "\\x1b]0;title\\x07\\u202e.png" in said
    assert "b\\x1b[2J.png" in said
    assert not {"\033", "\a", "\u202e"} & set(said)
