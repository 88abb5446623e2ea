"""Which images the words name: folders say what they leave out, links lead nowhere twice, and streams have an end."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from molmo_point import images
from molmo_point.cli.inputs import _why_not, collect_images
from molmo_point.errors import ImageError
from molmo_point.install import install_line
from molmo_point.testing import FakePointer

if TYPE_CHECKING:
    from tests.cli.conftest import Run, Stage


@pytest.fixture
def tree(photo: Path, tmp_path: Path) -> Path:
    """A folder with images, other files and a folder with one more image."""
    data = photo.read_bytes()
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    for name in ("a.png", "b", "sub/c.PNG", ".hidden/d.png", ".e.png"):
        (folder / name).write_bytes(data)
    Image.open(photo).save(folder / "f.jfif", "JPEG")
    (folder / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0")
    (folder / "notes.txt").write_text("no image")
    return folder


def names(folder: Path, *, recursive: bool = False) -> list[str]:
    found = collect_images([str(folder)], recursive=recursive)
    return [os.path.relpath(image.name, folder) for image in found.images]


def test_a_folder_names_what_it_leaves_out(run: Run, stage: Stage, tree: Path) -> None:
    assert names(tree) == ["a.png", "b", "f.jfif"]
    skipped = collect_images([str(tree)]).skipped
    assert skipped[0][0] == str(tree / "IMG_1.HEIC")
    assert install_line("heic") in skipped[0][1]
    assert "or convert it to JPEG or PNG" in skipped[0][1]
    assert "not an image that can be read (.txt)" in skipped[1][1]
    ran = run("count", tree, "mug")
    assert "IMG_1.HEIC: HEIC: " in ran.err
    assert "notes.txt" in ran.err
    assert run("count", tree, "mug", "--quiet").err == ""


def test_recursive_enters_folders_and_no_hidden_ones(tree: Path) -> None:
    assert names(tree, recursive=True) == ["a.png", "b", "f.jfif", "sub/c.PNG"]


def test_a_folder_of_folders_says_how_to_enter_them(tmp_path: Path, tree: Path) -> None:
    (tmp_path / "table.png").unlink()
    with pytest.raises(ImageError, match="--recursive"):
        collect_images([str(tmp_path)])


def test_links_that_lead_in_a_circle_count_nothing_twice(tree: Path) -> None:
    (tree / "sub" / "up").symlink_to("..")
    (tree / "again").symlink_to("sub")
    (tree / "same.png").symlink_to("a.png")
    assert names(tree, recursive=True) == ["a.png", "again/c.PNG", "b", "f.jfif"]
    found = collect_images([str(tree / "**" / "*.png")])
    assert [Path(image.name).name for image in found.images] == ["a.png"]
    assert found.several


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems refuse such names")
def test_names_that_are_no_utf8(run: Run, stage: Stage, photo: Path, tmp_path: Path) -> None:
    stage.pointer = FakePointer({"mug": [(0.5, 0.5)]})
    odd = os.fsencode(tmp_path) + b"/caf\xe9.png"
    os.rename(photo, odd)
    ran = run("count", tmp_path, "mug", "--json", "--out", tmp_path / "drawn")
    assert ran.code == 0
    line = json.loads(ran.out.encode("utf-8"))
    assert Path(line["image"]).name == "caf\\xe9.png"
    (drawing,) = os.listdir(os.fsencode(tmp_path / "drawn" / "images"))
    assert drawing.startswith(b"caf\\xe9-")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("", "mug"), "is empty (a variable that is not set?)"),
        (("table.png", "", "--query", "mug"), "is empty"),
        (("table.png", "the", "red", "mug"), 'put several words in quotes: "the red mug"'),
        (("the", "red", "mug", "table.png"), 'put several words in quotes: "the red mug"'),
        (("https://example.org/table.png", "mug"), "curl -sL 'https://example.org/table.png'"),
        (("file:///home/me/my%20photo.png", "mug"), "give /home/me/my photo.png"),
        (("/dev/zero", "mug"), "is no file but a device"),
        (("table.png", "mug", "--out", ""), "--out is empty"),
        (("table.png", "mug", "--token", "abc"), "--token is for a server"),
    ],
)
def test_mistakes_say_what_to_do(
    run: Run,
    stage: Stage,
    photo: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.chdir(photo.parent)
    ran = run("count", *words)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert ran.err.count("\n") == 1
    assert stage.opened == []


def test_streams_end_at_the_limit(
    run: Run, stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MAX_FILE_BYTES", 1 << 20)
    ran = run("count", "-", "mug", stdin=bytes(3 << 20))
    assert ran.code == 2
    assert "stdin holds more than the limit of 1,048,576 bytes" in ran.err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_is_read_as_a_stream(run: Run, stage: Stage, photo: Path, tmp_path: Path) -> None:
    import threading

    stage.pointer = FakePointer({"mug": [(0.5, 0.5)]})
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(photo.read_bytes()), daemon=True)
    writer.start()
    assert run("count", pipe, "mug").out == "1\n"
    writer.join(10)


def test_heic_is_asked_about_where_it_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0")
    (tmp_path / "b.heic").write_bytes(b"text")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert _why_not(str(tmp_path / "a.heic")) is None
    assert "does not begin like it" in str(_why_not(str(tmp_path / "b.heic")))


@pytest.mark.parametrize(
    ("words", "again"),
    [
        (("point", "blue cup"), "molmo-point point - --query 'blue cup'"),
        (("count", "boats", "--query", "it's"), "molmo-point count - "),
        (("ask", "What is $HOME?"), "molmo-point ask - 'What is $HOME?'"),
    ],
)
def test_the_advice_for_an_address_asks_what_was_asked(
    run: Run, words: tuple[str, ...], again: str
) -> None:
    verb, text, *more = words
    if more:
        ran = run(verb, "https://example.org/a b.png", "--query", text, *more)
        assert ran.err.rstrip().endswith("""count - --query boats --query 'it'"'"'s'""")
    else:
        ran = run(verb, "https://example.org/a b.png", text)
        assert ran.err.rstrip().endswith(again)
    assert ran.code == 2
    assert f"curl -sL 'https://example.org/a b.png' | {again}" in ran.err
    assert "red mug" not in ran.err
