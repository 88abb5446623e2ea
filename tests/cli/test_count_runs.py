"""`count ... --out DIR`: tables, points and drawings of many images; resumed without a row lost or doubled."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from molmo_point.count_runs.items import file_item
from molmo_point.count_runs.journal import Entry, Journal, RunStopped, lock_folder, read_run
from molmo_point.count_runs.run import Counter
from molmo_point.drawing_mark import is_our_drawing
from molmo_point.errors import ImageError, ServerGone, TimedOut, UsageError
from molmo_point.images import Array
from molmo_point.points import Point, Pointing, Status
from molmo_point.testing import FakePointer

if TYPE_CHECKING:
    from tests.cli.conftest import Run, Stage


def bright(image: Array, query: str) -> list[tuple[float, float]]:
    """As many points as the first pixel's red channel says."""
    return [(0.1 + 0.02 * n, 0.5) for n in range(int(image[0, 0, 0]) % 30)]


def draw(path: Path, number: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (60, 40), (number, 0, 0)).save(path)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two files of one name in different folders, a third, and a damaged one."""
    folder = tmp_path / "photos"
    for name, number in (("a/cam.png", 1), ("b/cam.png", 2), ("c.png", 3)):
        draw(folder / name, number)
    (folder / "d.png").write_bytes((folder / "c.png").read_bytes()[:60])
    return folder


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "counts.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_folder_becomes_tables_points_and_drawings(
    run: Run, stage: Stage, photos: Path, tmp_path: Path
) -> None:
    stage.pointer = FakePointer(bright)
    out = tmp_path / "out"
    ran = run("count", photos, "--query", "cups", "--query", "pens", "--recursive", "--out", out)
    assert ran.code == 2  # one image is damaged
    assert ran.out.splitlines()[0] == f"1\t{photos}/a/cam.png\tcups\tfound"
    found = rows(out)
    assert [(Path(row["file"]).name, row["query"], row["count"], row["status"]) for row in found] == [
        ("cam.png", "cups", "1", "found"), ("cam.png", "pens", "1", "found"),
        ("cam.png", "cups", "2", "found"), ("cam.png", "pens", "2", "found"),
        ("c.png", "cups", "3", "found"), ("c.png", "pens", "3", "found"),
        ("d.png", "cups", "", "error"), ("d.png", "pens", "", "error"),
    ]  # fmt: skip
    assert "damaged or cut short" in found[-1]["error"]
    assert [row["low"] for row in found] == [""] * 8
    lines = [json.loads(line) for line in (out / "counts.jsonl").read_text().splitlines()]
    assert [line["count"] for line in lines] == [1, 1, 2, 2, 3, 3, None, None]
    assert [entry.pointing and entry.pointing.count for entry in read_run(out)] == [1, 1, 2, 2, 3, 3, None, None]  # fmt: skip
    drawings = sorted((out / "images").iterdir())
    assert len(drawings) == 3
    assert all(is_our_drawing(path) for path in drawings)
    assert is_our_drawing(out / "contact-sheet-001.jpg")
    assert "cups: 6 in 3 images (mean 2.0, 1 to 3)" in ran.err
    assert "not known in 1 (1 error)" in ran.err
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra 'count' is not installed")
    table = parquet.read_table(out / "counts.parquet").to_pylist()
    assert table == lines


def test_a_second_run_asks_only_what_is_new(
    run: Run, stage: Stage, photos: Path, tmp_path: Path
) -> None:
    stage.pointer = FakePointer(bright)
    words = ("count", photos, "cups", "-r", "--out", tmp_path / "out")
    first = run(*words)
    before = (tmp_path / "out" / "counts.csv").read_bytes()
    asked = len(stage.pointer.calls)
    again = run(*words)
    assert len(stage.pointer.calls) == asked
    assert (tmp_path / "out" / "counts.csv").read_bytes() == before
    assert again.out == first.out
    draw(photos / "c.png", 9)
    os.utime(photos / "c.png", ns=(1, 1))
    draw(photos / "e.png", 4)
    assert run(*words).out.count("\tfound\n") == 4
    assert len(stage.pointer.calls) == asked + 2
    assert [row["count"] for row in rows(tmp_path / "out")] == ["1", "2", "9", "", "4"]


def test_errors_that_pass_are_asked_again(
    run: Run, stage: Stage, photos: Path, tmp_path: Path
) -> None:
    stage.pointer = FakePointer(lambda image, _: TimedOut("too late"))
    words = (
        "count",
        photos / "c.png",
        photos / "a" / "cam.png",
        "cups",
        "--out",
        tmp_path / "out",
    )
    assert run(*words).code == 1
    assert [row["error"] for row in rows(tmp_path / "out")] == ["too late"] * 2
    stage.pointer = FakePointer(bright)
    assert run(*words).code == 0
    assert [row["count"] for row in rows(tmp_path / "out")] == ["3", "1"]
    assert len(read_run(tmp_path / "out")) == 2


def test_a_server_that_is_gone_ends_the_run_and_loses_nothing(
    run: Run, stage: Stage, photos: Path, tmp_path: Path
) -> None:
    def gone_at_two(image: Array, query: str) -> Any:
        return ServerGone("nobody answers") if image[0, 0, 0] == 2 else bright(image, query)

    stage.pointer = FakePointer(gone_at_two)
    words = ("count", photos / "a" / "cam.png", photos / "b" / "cam.png", photos / "c.png", "cups")
    ran = run(*words, "--out", tmp_path / "out")
    assert ran.code == 1
    assert "stopped: 1 of 3 rows are in" in ran.err
    assert "nobody answers" in ran.err
    assert [row["count"] for row in rows(tmp_path / "out")] == ["1"]
    stage.pointer = FakePointer(bright)
    ran = run(*words, "--out", tmp_path / "out")
    assert ran.code == 0
    assert "1 of them from before" in ran.err
    assert len(stage.pointer.calls) == 2


def test_tables_lists_and_queries_of_rows(
    run: Run, stage: Stage, photos: Path, tmp_path: Path
) -> None:
    stage.pointer = FakePointer(bright)
    table = tmp_path / "images.csv"
    table.write_text(
        "image,query\nphotos/c.png,cups\nphotos/a/cam.png,pens\nphotos/none.png,cups\n"
    )
    ran = run("count", table, "--out", tmp_path / "one")
    assert [(row["query"], row["count"]) for row in rows(tmp_path / "one")] == [
        ("cups", "3"), ("pens", "1"), ("cups", ""),
    ]  # fmt: skip
    assert ran.code == 2
    listed = tmp_path / "files.txt"
    listed.write_text(f"# mine\n{photos}/c.png\n\n{photos}/b/cam.png\n{photos}/c.png\n")
    run("count", f"@{listed}", "cups", "--out", tmp_path / "two")
    assert [row["count"] for row in rows(tmp_path / "two")] == ["3", "2"]
    pa = pytest.importorskip("pyarrow", reason="the extra 'count' is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {"picture": [str(photos / "c.png")], "what": ["cups"]}
    parquet.write_table(pa.table(columns), tmp_path / "images.parquet")
    named = ("--image-column", "picture", "--query-column", "what")
    run("count", tmp_path / "images.parquet", *named, "--out", tmp_path / "three")
    assert [row["count"] for row in rows(tmp_path / "three")] == ["3"]


def test_frames_of_a_video(run: Run, stage: Stage, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2", reason="the extra 'tracking' is not installed")
    path = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (64, 48))
    for number in range(25):
        writer.write(np.full((48, 64, 3), 10 * number, np.uint8))
    writer.release()
    stage.pointer = FakePointer(lambda image, _: [(0.5, 0.5)] * (int(image.mean()) > 100))
    run("count", path, "cups", "--every", "10", "--out", tmp_path / "frames")
    assert [(row["frame"], row["count"]) for row in rows(tmp_path / "frames")] == [
        ("0", "0"), ("10", "0"), ("20", "1"),
    ]  # fmt: skip
    run("count", path, "cups", "--every", "0.5s", "--out", tmp_path / "seconds")
    assert [row["frame"] for row in rows(tmp_path / "seconds")] == ["0", "5", "10", "15", "20"]
    assert [row["time_s"] for row in rows(tmp_path / "seconds")][:3] == ["0.0", "0.5", "1.0"]
    assert len(list((tmp_path / "frames" / "images").iterdir())) == 3


def test_bad_inputs_are_one_message(run: Run, stage: Stage, photos: Path, tmp_path: Path) -> None:
    stage.pointer = FakePointer(bright)
    (tmp_path / "empty").mkdir()
    (tmp_path / "video.mp4").write_bytes(b"no video")
    (tmp_path / "list.txt").write_text("\n")
    (tmp_path / "wrong.csv").write_text("picture,query\na.png,cups\n")
    (tmp_path / "blank.csv").write_text("image,query\na.png, \n")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "counts.csv").write_text("mine")
    run("count", photos / "c.png", photos / "a", "cups", "--out", tmp_path / "cups")
    asked = len(stage.pointer.calls)
    out = ("--out", tmp_path / "out")
    pair = (photos / "c.png", photos / "a")
    cases: list[tuple[tuple[Any, ...], str]] = [
        ((tmp_path / "empty", "cups", *out), "there is no image in the folder"),
        ((photos / "*.gif", "cups", *out), "no file matches"),
        ((f"@{tmp_path}/list.txt", "cups", *out), "the list is empty"),
        ((f"@{tmp_path}/none.txt", "cups", *out), "cannot be read"),
        ((tmp_path / "wrong.csv", *out), "has no column 'image'"),
        ((tmp_path / "blank.csv", *out), "row 2, column 'query': the query is empty"),
        ((tmp_path / "wrong.csv",), "add --out DIR"),
        ((tmp_path / "video.mp4", "cups", *out), "--every 30 (frames)"),
        ((tmp_path / "video.mp4", "cups", "--every", "soon", *out), "expected every how many frames"),
        ((*pair, "cups", "--out", tmp_path / "other"), "already holds counts.csv"),
        ((*pair, "pens", "--out", tmp_path / "cups"), "holds another run (queries was ['cups'], now ['pens'])"),
        ((*pair, "cups", "--tiles", "4", "--out", tmp_path / "cups"), "tiles was None, now 4"),
        ((*pair, "cups", "--jobs", "3", *out), "--jobs asks a server"),
        ((*pair, "cups", "--tiles", "few", *out), "expected tiles to be 'auto'"),
        ((*pair, "cups", "--out", photos / "c.png"), "is a file: give a folder"),
    ]  # fmt: skip
    for words, said in cases:
        ran = run("count", *words)
        assert ran.code == 2, (words, ran)
        assert said in ran.err, (said, ran.err)
        assert ran.err.count("\n") == 1
    assert (tmp_path / "other" / "counts.csv").read_text() == "mine"
    assert len(stage.pointer.calls) == asked


def test_another_model_is_another_run(
    run: Run, stage: Stage, photos: Path, tmp_path: Path
) -> None:
    words = ("count", photos / "c.png", photos / "a", "cups", "--connect", "tcp://gpu:5555")
    run(*words, "--out", tmp_path / "out")
    stage.pointer.model = "another"
    ran = run(*words, "--out", tmp_path / "out")
    assert ran.code == 2
    assert "model was ['tcp://gpu:5555', 'fake'], now ['tcp://gpu:5555', 'another']" in ran.err


def test_several_at_a_time_give_the_same_rows(run: Run, stage: Stage, tmp_path: Path) -> None:
    for number in range(12):
        draw(tmp_path / "photos" / f"{number:02}.png", number)
    stage.pointer = FakePointer(bright, delay_s=0.01)
    where = ("--connect", "tcp://gpu:5555", "--jobs", "5", "--out", tmp_path / "out")
    ran = run("count", tmp_path / "photos", "cups", *where)
    assert [line.split("\t")[0] for line in ran.out.splitlines()] == [str(n) for n in range(12)]
    assert [row["count"] for row in rows(tmp_path / "out")] == [str(n) for n in range(12)]


def test_one_image_and_its_interval_in_json(run: Run, stage: Stage, photos: Path) -> None:
    points = [Point(x=0.5, y=0.5)]
    answer = Pointing(query="cups", points=points, status=Status.FOUND, image_size=(60, 40), count_interval=(1, 2))  # fmt: skip
    stage.pointer = FakePointer({"cups": answer})
    assert json.loads(run("count", photos / "c.png", "cups", "--json").out)["count_interval"] == [
        1,
        2,
    ]
    stage.pointer = FakePointer(lambda image, _: [(0.5, 0.5)])
    assert run("count", photos / "c.png", "cups", "--tiles", "2").out == "1\n"
    Image.new("RGB", (200, 100)).save(photos / "wide.png")
    assert run("count", photos / "wide.png", "cups", "--tiles", "2").out == "2\n"


def test_a_full_disk_keeps_what_was_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = file_item("a.png", str(draw(tmp_path / "a.png", 3)), ("cups",))
    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        real(descriptor, data[:20])
        raise OSError(28, "No space left on device")

    with Journal(tmp_path / "out", {"queries": ["cups"]}) as journal:
        journal.add(Entry("x", "/x", "cups", 0.1))
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(
            RunStopped, match="No space left on device; 1 answers are kept: make room"
        ):
            list(Counter(FakePointer(bright), journal).run([item]))
        monkeypatch.undo()
    assert [entry.file for entry in read_run(tmp_path / "out")] == ["x"]
    with Journal(tmp_path / "out", {"queries": ["cups"]}) as journal:
        assert len(list(Counter(FakePointer(bright), journal).run([item]))) == 1
    assert [entry.file for entry in read_run(tmp_path / "out")] == ["x", "a.png"]


def test_two_processes_do_not_write_into_one_folder(tmp_path: Path) -> None:
    with Journal(tmp_path, {}), pytest.raises(UsageError, match="another process counts into"):
        Journal(tmp_path, {})
    assert lock_folder(tmp_path) is not None


def test_drawings_never_replace_files_of_the_user(tmp_path: Path) -> None:
    item = file_item("a.png", str(draw(tmp_path / "a.png", 3)), ("cups",))
    mine = tmp_path / "out" / "images" / item.drawing
    draw(mine, 1)
    before = mine.read_bytes()
    with Journal(tmp_path / "out", {}) as journal:
        (counted,) = Counter(FakePointer(bright), journal).run([item])
    assert "is no drawing of molmo-point" in counted.undrawn
    assert mine.read_bytes() == before


def test_entries_survive_their_line(tmp_path: Path) -> None:
    with Journal(tmp_path, {}) as journal:
        for entry in (
            Entry("é\\x80.png", "/caf\udce9.png", "tasses à café", 0.25, 3, 1.5, (9, 8)),
            Entry("b", "/b", "q", 1.0, error={"kind": "image", "message": "no\nimage"}),
        ):
            journal.add(entry)
            assert journal.get(entry.key) == entry
    answers = [entry.answer for entry in read_run(tmp_path)]
    assert isinstance(answers[1], ImageError)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_run_that_is_killed_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """kill -9 at ten random moments; then the rows are those of an unbroken run."""
    items = [
        file_item(f"{n}.png", str(draw(tmp_path / "photos" / f"{n:03}.png", n)), ("cups", "pens"))
        for n in range(60)
    ]

    def count(folder: Path) -> None:
        with Journal(folder, {"queries": ["cups", "pens"]}) as journal:
            # 0.48 s in all: more than the kills wait together, so that most of them find it running.
            pointer = FakePointer(bright, delay_s=0.012)
            done = list(Counter(pointer, journal, jobs=3, draw=False).run(items))
            journal.sort(entry.key for one in done for entry in one.entries)

    def compared(folder: Path) -> list[tuple[Any, ...]]:
        return [(*e.key, e.pointing and e.pointing.replace(timing={})) for e in read_run(folder)]

    rng = random.Random(22)
    kills = 0
    for _ in range(10):
        child = os.fork()
        if child == 0:
            try:
                count(tmp_path / "killed")
            finally:
                os._exit(0)
        time.sleep(rng.uniform(0.01, 0.08))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        kills += os.WIFSIGNALED(status)
    assert kills > 5
    path = tmp_path / "killed" / "points.jsonl"
    with path.open("ab") as file:
        file.write(b'{"file": "cut in the mid')
    count(tmp_path / "killed")
    count(tmp_path / "whole")
    assert len(path.read_bytes().splitlines()) == 120
    assert compared(tmp_path / "killed") == compared(tmp_path / "whole")
