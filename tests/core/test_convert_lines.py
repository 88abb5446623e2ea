"""Pointings as JSON lines, rows and CSV, and as one printed line."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import molmo_point as mp
from molmo_point import Point, PointError, Pointing, Status
from molmo_point.convert import from_jsonl, to_csv, to_jsonl, to_rows

MUG = Point(x=0.25, y=0.5, label='the "red" mug, big\n', score=0.75, covariance=(1e-4, 0.0, 4e-4))
FOUND = Pointing(
    query="mug",
    points=(MUG, Point(x=1, y=0, index=1)),
    status=Status.FOUND,
    image_size=(800, 400),
    model="nano",
    frame_id="a.png",
)
LOST = Pointing(query="cup", status=Status.TRUNCATED, image_size=(80, 40))
NONE = LOST.replace(status=Status.NOT_FOUND)


@given(st.lists(st.sampled_from([FOUND, LOST, NONE]), max_size=4), st.booleans())
def test_lines_come_back(pointings: list[Pointing], as_bytes: bool) -> None:
    text = to_jsonl(pointings)
    for source in (text.encode() if as_bytes else text, io.StringIO(text), text.splitlines()):
        assert from_jsonl(source) == pointings


def test_lines_of_the_command_line_and_publications(tmp_path: Path) -> None:
    lines = [
        {"image": "b.png", "query": "mug", "status": "found", "count": 1, "count_agrees": None, "other_labels": [],
         "points": [{"x": 0.5, "y": 0.5, "label": "mug", "news": 1}], "image_size": [8, 6], "timing": {"total_s": 0.1}},
        {"image": "c.png", "query": "mug", "status": "error", "count": None, "error": {"kind": "image", "message": "cut short"}},
        {"v": 1, "camera": "front", "pointing": json.loads(LOST.model_dump_json()), "tracks": []},
    ]  # fmt: skip
    path = tmp_path / "points.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines) + '\n{"query": "cut\n\n[1]\n')
    read = from_jsonl(path)
    assert [(p.frame_id, p.status, p.count) for p in read] == [
        ("b.png", Status.FOUND, 1),
        (None, Status.TRUNCATED, 0),
    ]
    assert [skipped.annotation for skipped in read.skipped] == ["2", "4", "6"]
    assert "cut short" in read.skipped[0].reason


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hello", "annotation 1: expected a JSON object, got 'hello'"),
        ('{"query": "a"}', "status: Field required"),
        ('{"query": "a", "status": "lost", "image_size": [1, 1]}', "status: Input should be"),
    ],
)
def test_no_line_at_all(text: str, words: str) -> None:
    with pytest.raises(PointError) as caught:
        from_jsonl(text)
    assert words in str(caught.value)
    assert from_jsonl("") == []


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(PointError, match="cannot be read: No such file"):
        from_jsonl(tmp_path / "none.jsonl")


def test_rows_and_csv() -> None:
    rows = to_rows([FOUND, LOST, NONE])
    first = rows[0]
    assert (first["image"], first["x_px"], first["y_px"], first["score"]) == (
        "a.png",
        200,
        200,
        0.75,
    )
    assert (first["sd_x_px"], first["sd_y_px"]) == (pytest.approx(8.0), pytest.approx(8.0))
    assert [(row["status"], row["count"], row["index"]) for row in rows] == [
        ("found", 2, 0),
        ("found", 2, 1),
        ("truncated", None, None),
        ("not_found", 0, None),
    ]
    back = list(csv.DictReader(io.StringIO(to_csv([FOUND, LOST]), newline="")))
    assert back[0]["label"] == MUG.label
    assert (back[2]["status"], back[2]["count"], back[2]["x"]) == ("truncated", "", "")


def test_a_printed_answer_is_one_short_line() -> None:
    many = FOUND.replace(points=tuple(MUG.model_copy(update={"index": n}) for n in range(300)))
    for pointing in (FOUND, LOST, many, many.replace(query="x" * 4000)):
        assert len(str(pointing)) < 400
        assert "\n" not in str(pointing)
    assert str(LOST) == "<Pointing 'cup' truncated, 0 points in 80x40>"
    assert "(800.0, 0.0)" in repr(FOUND)
    assert "and 296 more" in repr(many)
    assert bool(LOST) is True


def test_they_are_offered_at_the_top() -> None:
    names = (
        "from_coco",
        "from_gemini",
        "from_jsonl",
        "from_qwen",
        "to_csv",
        "to_jsonl",
        "to_qwen",
        "to_rows",
    )
    for name in names:
        assert callable(getattr(mp, name))
        assert name in mp.__all__
