"""`point` and `count`: results on stdout, talk on stderr, exit codes, drawings."""

from __future__ import annotations

import base64
import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest
from PIL import Image

from molmo_point import Point, PointError, Pointing, Status
from molmo_point.errors import ServerGone
from molmo_point.image_like import ImageLike
from molmo_point.pointer import TextStream
from molmo_point.testing import FakePointer

if TYPE_CHECKING:
    from tests.cli.conftest import Run, Stage
TWO = [Point(x=0.25, y=0.5, label="mug", score=0.91), Point(x=0.75, y=0.1, label="mug", index=1)]


def _pointing(status: Status, points: int = 0, **fields: Any) -> Pointing:
    return Pointing(
        query="mug", points=tuple(TWO[:points]), status=status, image_size=(80, 60), **fields
    )


def test_a_table_of_points(run: Run, stage: Stage, photo: Path) -> None:
    stage.pointer = FakePointer({"mug": TWO})
    ran = run("point", photo, "mug")
    assert ran.code == 0
    assert f"{photo}: 2 × mug" in ran.out
    rows = [
        line.replace("│", " ").split() for line in ran.out.splitlines() if line.startswith("│")
    ]
    assert rows[0] == ["1", "0.250", "0.500", "20.0", "30.0", "91", "%", "mug"]
    assert rows[1] == ["2", "0.750", "0.100", "60.0", "6.0", "mug"]
    assert ran.err == ""
    assert stage.opened == [
        ("load", "nano", {"device": "auto", "dtype": "auto", "quantize": None})
    ]
    assert stage.pointer.closed


def test_json_is_one_pointing_per_line_and_nothing_else(
    run: Run, stage: Stage, photo: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.png"
    Image.new("RGB", (8, 8)).save(other)
    stage.pointer = FakePointer(lambda image, _: TWO if image.shape[1] == 80 else [])
    ran = run("point", "--json", photo, other, "mug", "--out", tmp_path / "drawn")
    first, second = map(json.loads, ran.out.splitlines())
    assert (first["status"], first["image"], first["count"]) == ("found", str(photo), 2)
    assert (first["image_size"], first["query"]) == ([80, 60], "mug")
    assert first["points"][0]["score"] == 0.91
    assert (second["status"], second["image"], second["count"]) == ("not_found", str(other), 0)
    fields = {name: value for name, value in first.items() if name in Pointing.model_fields}
    assert Pointing.model_validate(fields).points == tuple(TWO)
    assert "nothing there that fits 'mug'" in ran.err
    assert ran.code == 0


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (_pointing(Status.FOUND, 2), 0, ""),
        (_pointing(Status.NOT_FOUND), 3, "nothing there that fits 'mug'"),
        (_pointing(Status.TRUNCATED, 1), 1, "cut short"),
        (_pointing(Status.TRUNCATED), 1, "cut short"),
        (_pointing(Status.MALFORMED, text="<point x="), 1, "could not be read: '<point x='"),
        (_pointing(Status.FOUND, 2, stated_count=5), 0, "wrote 5 and pointed to 2"),
        (ServerGone("nobody answers at tcp://gpu:5555"), 1, "nobody answers at tcp://gpu:5555"),
    ],
)
def test_exit_codes(
    run: Run, stage: Stage, photo: Path, answer: Pointing | PointError, code: int, said: str
) -> None:
    stage.pointer = FakePointer({"mug": answer})
    ran = run("point", photo, "mug")
    assert ran.code == code
    assert said in ran.err
    assert "Traceback" not in ran.err
    assert stage.pointer.closed


def test_quiet_leaves_the_result(run: Run, stage: Stage, photo: Path) -> None:
    stage.pointer = FakePointer({"mug": _pointing(Status.TRUNCATED, 1)})
    assert run("point", "-q", photo, "mug").err == ""


def test_count_prints_a_number(run: Run, stage: Stage, photo: Path, tmp_path: Path) -> None:
    stage.pointer = FakePointer({"mugs": TWO})
    assert run("count", photo, "mugs") == (0, "2\n", "")
    assert stage.pointer.calls == [("count", "mugs")]
    copy = tmp_path / "copy.png"
    copy.write_bytes(photo.read_bytes())
    assert run("count", photo, copy, "mugs").out == f"2\t{photo}\tfound\n2\t{copy}\tfound\n"
    assert run("count", photo, "cats").code == 3


def test_options_reach_the_library(run: Run, stage: Stage, photo: Path, tmp_path: Path) -> None:
    here = ("--device", "cuda:1", "--dtype", "float16", "--quantize", "int8")
    run("point", photo, "a", "--model", "molmo-7b-d", *here)
    options = {"device": "cuda:1", "dtype": "float16", "quantize": "int8"}
    assert stage.opened.pop() == ("load", "molmo-7b-d", options)
    key = tmp_path / "key.json"
    run("point", photo, "a", "--connect", "tcp://gpu:5555", "--key", key)
    assert stage.opened.pop() == ("connect", "tcp://gpu:5555", {"key": key})
    run("point", photo, "a", "--connect", "http://gpu:8000", "--token", "abc")
    assert stage.opened.pop() == ("connect", "http://gpu:8000", {"token": "abc"})


def test_timeout_reaches_the_pointer(run: Run, stage: Stage, photo: Path) -> None:
    stage.pointer = FakePointer({"mug": TWO}, delay_s=30.0)
    ran = run("point", photo, "mug", "--timeout", "0.01")
    assert ran.code == 1
    assert "cut short" in ran.err


def test_query_and_images_in_either_order(run: Run, stage: Stage, photo: Path) -> None:
    stage.pointer = FakePointer({"red mug": TWO})
    for words in ((photo, "red mug"), ("red mug", photo), (photo, "--query", "red mug")):
        assert run("count", *words).out == "2\n"


def test_images_from_everywhere(run: Run, stage: Stage, photo: Path, tmp_path: Path) -> None:
    stage.pointer = FakePointer({"mug": TWO})
    data = photo.read_bytes()
    url = "data:image/png;base64," + base64.b64encode(data).decode()
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("b.PNG", "a.png"):
        (folder / name).write_bytes(data)
    (folder / "notes.txt").write_text("no image")
    assert run("count", "-", "mug", stdin=data).out == "2\n"
    assert run("count", "-", "mug", stdin=url.encode() + b"\n").out == "2\n"
    assert run("count", url, "mug").out == "2\n"
    both = f"2\t{folder}/a.png\tfound\n2\t{folder}/b.PNG\tfound\n"
    assert run("count", folder, "mug").out == both
    assert run("count", folder / "?.*", "mug").out == both
    # A pattern may match many files: the format is that of many, even where it matches one.
    assert run("count", tmp_path / "**" / "a.png", "mug").out == f"2\t{folder}/a.png\tfound\n"


def test_a_file_whose_name_looks_like_a_glob(run: Run, stage: Stage, photo: Path) -> None:
    stage.pointer = FakePointer({"mug": TWO})
    odd = photo.with_name("photo [1].png")
    photo.rename(odd)
    assert run("count", odd, "mug").out == "2\n"


def test_one_drawing(run: Run, stage: Stage, photo: Path, tmp_path: Path) -> None:
    stage.pointer = FakePointer({"mug": TWO})
    out = tmp_path / "made" / "points.png"
    ran = run("point", photo, "mug", "--out", out)
    assert ran.err == f"wrote {out}\n"
    assert Image.open(out).size == (640, 480)
    assert [path.name for path in out.parent.iterdir()] == ["points.png"]
    for suffix, kind in ((".jpg", "JPEG"), (".webp", "WEBP")):
        run("point", photo, "mug", "-q", "-o", out.with_suffix(suffix))
        assert Image.open(out.with_suffix(suffix)).format == kind


def test_several_drawings_keep_apart(run: Run, stage: Stage, photo: Path, tmp_path: Path) -> None:
    stage.pointer = FakePointer({"mug": TWO})
    twin = tmp_path / "sub" / "table.png"
    twin.parent.mkdir()
    twin.write_bytes(photo.read_bytes())
    run("point", photo, twin, "mug", "--out", tmp_path / "drawn")
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == [
        "table-2.jpg",
        "table.jpg",
    ]
    run("point", "-", "mug", "--out", f"{tmp_path / 'new'}/", stdin=photo.read_bytes())
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["stdin.jpg"]


def test_a_drawing_that_fails_leaves_nothing(
    run: Run, stage: Stage, photo: Path, tmp_path: Path
) -> None:
    stage.pointer = FakePointer({"mug": TWO})
    before = photo.read_bytes()
    blocked = tmp_path / "file"
    blocked.write_text("x")
    for out, said in (
        (photo, "would replace the image itself"),
        (tmp_path / "points.txt", "expected --out to end with .png"),
        (blocked / "points.png", "cannot be written"),
    ):
        ran = run("point", photo, "mug", "--out", out)
        assert ran.code == 2
        assert said in ran.err
    ran = run("point", photo, photo, "mug", "--out", tmp_path / "one.png")
    assert (ran.code, ran.out) == (2, "")
    assert "is one file, and there are 2 images: give a folder" in ran.err
    assert photo.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "table.png"]
    # Writing over images in place is refused before any is drawn.
    assert run("point", tmp_path, "mug", "--out", tmp_path).code == 2
    assert photo.read_bytes() == before


def test_a_full_disk_leaves_the_old_drawing(
    run: Run, stage: Stage, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.pointer = FakePointer({"mug": TWO})
    out = tmp_path / "drawn" / "points.png"
    run("point", photo, "mug", "-o", out)
    before = out.read_bytes()

    def save(_: Image.Image, file: IO[bytes], *args: Any, **options: Any) -> None:
        file.write(b"half a pic")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", save)
    ran = run("point", photo, "mug", "-o", out)
    assert ran.code == 1
    assert "2 × mug" in ran.out
    assert f"{out} cannot be written: No space left on device" in ran.err
    assert [path.name for path in out.parent.iterdir()] == ["points.png"]
    assert out.read_bytes() == before


def test_one_bad_image_does_not_lose_the_others(
    run: Run, stage: Stage, photo: Path, tmp_path: Path
) -> None:
    stage.pointer = FakePointer({"mug": TWO})
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"not an image")
    ran = run("count", bad, photo, "mug")
    assert ran.out == f"NA\t{bad}\terror\n2\t{photo}\tfound\n"
    assert ran.code == 2
    assert f"{bad} is not an image" in ran.err
    assert ran.err.count("\n") == 1


class _Writer(FakePointer):
    """Answers in the pieces that a tokenizer makes: words with the space before them."""

    def stream_text(
        self, image: ImageLike, question: str, *, timeout_s: float | None = None
    ) -> TextStream:
        text = self.ask(image, question, timeout_s=timeout_s)
        yield from re.findall(r" *[^ ]*", text)
        return text


def test_ask(run: Run, stage: Stage, photo: Path, tmp_path: Path) -> None:
    stage.pointer = _Writer(texts={"What is it?": " A photo with two mugs."})
    assert run("ask", photo, "What is it?") == (0, "A photo with two mugs.\n", "")
    line = run("ask", "--json", photo, "What is it?").out
    assert '"text": " A photo with two mugs."' in line
    assert f'"image": "{photo}"' in line
    copy = tmp_path / "copy.png"
    copy.write_bytes(photo.read_bytes())
    assert run("ask", photo, copy, "What is it?").out.startswith(f"{photo}: A photo")
    assert run("ask", photo, "Anything else?").code == 3


def test_an_answer_cannot_steer_the_terminal(run: Run, stage: Stage, photo: Path) -> None:
    stage.pointer = _Writer(texts={"Read it.": " \x1b[2Jclear \x07ümlaut\tand\nmore"})
    assert run("ask", photo, "Read it.").out == "[2Jclear ümlaut\tand\nmore\n"
    assert "\\u001b[2J" in run("ask", "--json", photo, "Read it.").out


ON_A_TERMINAL = """
import sys
from molmo_point import api, cli
from molmo_point.testing import FakePointer
api.load = lambda *_, **__: FakePointer({"mug": [(0.5, 0.5)]}, delay_s=0.2)
cli.main(sys.argv[1:])
"""


def test_results_stay_in_the_pipe_while_a_bar_is_on_the_terminal(
    photo: Path, tmp_path: Path
) -> None:
    """Rich sends what is printed under a bar to the bar's own stream unless it is told not to."""
    pty = pytest.importorskip("pty")
    copy = tmp_path / "copy.png"
    copy.write_bytes(photo.read_bytes())
    ours, theirs = pty.openpty()
    words = [sys.executable, "-c", ON_A_TERMINAL, "point", "--json", str(photo), str(copy), "mug"]
    terminal = {**os.environ, "TERM": "xterm"}
    ran = subprocess.run(words, stdout=subprocess.PIPE, stderr=theirs, env=terminal, timeout=60)
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    lines = ran.stdout.decode().splitlines()
    assert [json.loads(line)["image"] for line in lines] == [str(photo), str(copy)]
    assert "point" in shown
    assert re.search(r"[012]/2", shown)
    assert "image_size" not in shown
