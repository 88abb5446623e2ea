"""What stands in a line of `count` and in its JSON: an answer that is not whole is never a count."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molmo_point import Point, Pointing, Status
from molmo_point.cli.answers import Answer, other_labels, overall_code
from molmo_point.errors import ImageError, ModelFailed, ServerGone, TimedOut
from molmo_point.testing import FakePointer

if TYPE_CHECKING:
    from tests.cli.conftest import Run, Stage

MUGS = (Point(x=0.25, y=0.5, label="mug"), Point(x=0.75, y=0.1, label="mug", index=1))


def pointing(status: Status, points: int = 0, **fields: Any) -> Pointing:
    fields = {"query": "mug", "image_size": (80, 60), **fields}
    return Pointing(points=MUGS[:points], status=status, **fields)


@pytest.mark.parametrize(
    ("answer", "row", "count", "code"),
    [
        (pointing(Status.FOUND, 2), "2\ta.png\tfound", 2, 0),
        (pointing(Status.NOT_FOUND), "0\ta.png\tnot_found", 0, 3),
        (pointing(Status.TRUNCATED, 2), "NA\ta.png\ttruncated", None, 1),
        (pointing(Status.TRUNCATED), "NA\ta.png\ttruncated", None, 1),
        (pointing(Status.MALFORMED, 1), "NA\ta.png\tmalformed", None, 1),
        (pointing(Status.PENDING), "NA\ta.png\tpending", None, 1),
        (pointing(Status.FOUND, 2, stated_count=5), "2\ta.png\tdisagrees", 2, 0),
        (pointing(Status.FOUND, 2, stated_count=2), "2\ta.png\tfound", 2, 0),
        (ImageError("damaged"), "NA\ta.png\terror", None, 2),
        (ModelFailed("NaN"), "NA\ta.png\terror", None, 1),
    ],
)
def test_rows(answer: Pointing | Exception, row: str, count: int | None, code: int) -> None:
    fields = {"pointing" if isinstance(answer, Pointing) else "error": answer}
    made = Answer("a.png", "mug", **fields)  # type: ignore[arg-type]
    assert (made.row(False), made.code) == (row, code)
    line = json.loads(json.dumps(made.as_json()))
    assert line["count"] == count
    assert line["status"] in (row.split("\t")[-1], "found")
    assert (line["image"], line["query"]) == ("a.png", "mug")


def test_the_worst_answer_gives_the_exit_code() -> None:
    found = Answer("a", "q", pointing(Status.FOUND, 1))
    nothing = Answer("a", "q", pointing(Status.NOT_FOUND))
    cut = Answer("a", "q", pointing(Status.TRUNCATED, 1))
    bad = Answer("a", "q", error=ImageError("x"))
    assert overall_code([nothing, nothing]) == 3
    assert overall_code([nothing, found]) == 0
    assert overall_code([found, bad]) == 2
    assert overall_code([found, bad, cut]) == 1


def test_one_number_alone_is_na_where_it_is_not_known(run: Run, stage: Stage, photo: Path) -> None:
    for answer in (pointing(Status.TRUNCATED, 2), pointing(Status.MALFORMED, 1)):
        # What `count` of the fake states is what it points: the answer itself is what matters here.
        stage.pointer = FakePointer({"mug": answer})
        ran = run("count", photo, "mug")
        assert (ran.out, ran.code) == ("NA\n", 1)


def test_what_json_says_of_an_answer_that_disagrees(run: Run, stage: Stage, photo: Path) -> None:
    stage.pointer = FakePointer({"mug": pointing(Status.FOUND, 2, stated_count=5, duplicates=3)})
    ran = run("point", photo, "mug", "--json")
    line = json.loads(ran.out)
    assert (line["count"], line["stated_count"], line["count_agrees"]) == (2, 5, False)
    assert line["duplicates"] == 3
    assert "wrote 5 and pointed to 2" in ran.err
    assert "the model repeated 3 points; each is counted once" in ran.err


def test_the_format_follows_what_was_asked(
    run: Run, stage: Stage, photo: Path, tmp_path: Path
) -> None:
    stage.pointer = FakePointer({"mug": MUGS})
    assert run("count", photo, "mug").out == "2\n"
    # A folder and a pattern may hold any number of images.
    assert run("count", tmp_path, "mug").out == f"2\t{photo}\tfound\n"
    assert run("count", tmp_path / "*.png", "mug").out == f"2\t{photo}\tfound\n"
    rows = f"2\t{photo}\tmug\tfound\n0\t{photo}\tcat\tnot_found\n"
    assert run("count", photo, "mug, cat").out == rows
    assert run("count", photo, "--query", "mug", "--query", "cat").out == rows


def test_commas_part_queries_but_for_questions_and_the_option(
    run: Run, stage: Stage, photo: Path
) -> None:
    stage.pointer = FakePointer()
    run("count", photo, "burgers, triangle,, burgers")
    assert [query for _, query in stage.pointer.calls] == ["burgers", "triangle"]
    stage.pointer.calls.clear()
    run("count", photo, "--query", "small, red mug")
    run("count", photo, "Where is the mug, if any?")
    assert [query for _, query in stage.pointer.calls] == [
        "small, red mug",
        "Where is the mug, if any?",
    ]


def test_instructions_are_asked_for_their_noun_phrase(run: Run, stage: Stage, photo: Path) -> None:
    stage.pointer = FakePointer({"burgers": MUGS})
    line = json.loads(run("point", photo, "Point to the burgers", "--json").out)
    assert stage.pointer.calls == [("point", "burgers")]
    assert (line["count"], line["query"]) == (2, "Point to the burgers")


def test_errors_of_one_image_leave_the_others(
    run: Run, stage: Stage, photo: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    stage.pointer = FakePointer({"mug": MUGS, "late": TimedOut("no answer in 5 s")})
    ran = run("count", tmp_path, "mug, late", "--json")
    lines = [json.loads(line) for line in ran.out.splitlines()]
    told = [(Path(line["image"]).name, line["query"], line["status"]) for line in lines]
    assert told == [
        ("bad.png", "mug", "error"),
        ("bad.png", "late", "error"),
        ("table.png", "mug", "found"),
        ("table.png", "late", "error"),
    ]
    assert lines[0]["error"]["kind"] == "image"
    assert lines[3]["error"]["message"] == "no answer in 5 s"
    assert ran.code == 1
    stage.pointer = FakePointer({"mug": ServerGone("nobody answers")})
    ran = run("count", tmp_path / "table.png", tmp_path / "table.png", "mug")
    assert (ran.code, ran.out) == (1, "")


@pytest.mark.parametrize(
    ("query", "label", "other"),
    [
        ("dog", "puppies", True),
        ("castle", "monday", True),
        ("squirrel", "leftmost", True),
        ("dogs", "dog", False),
        ("bus", "buses", False),
        ("strawberries", "strawberry", False),
        ("knives", "knife", False),
        ("the red mug", "mug", False),
        ("Point to the dog", "dog", False),
        ("Where is the dog that sleeps?", "whatever", False),
        ("dog", "", False),
    ],
)
def test_labels_that_are_not_the_query(query: str, label: str, other: bool) -> None:
    point = Point(x=0.5, y=0.5, label=label)
    made = Pointing(query=query, points=(point,), status=Status.FOUND, image_size=(8, 8))
    assert other_labels(made) == ([label] if other else [])


def test_a_foreign_label_is_told(run: Run, stage: Stage, photo: Path) -> None:
    stage.pointer = FakePointer({"dog": [Point(x=0.5, y=0.5, label="puppies")]})
    ran = run("point", photo, "dog", "--json")
    assert json.loads(ran.out)["other_labels"] == ["puppies"]
    assert "calls it 'puppies', not 'dog'" in ran.err


units = st.floats(0, 1, allow_nan=False)


@given(
    units,
    st.floats(1e-9, 0.1),
    st.floats(1e-9, 0.1),
    st.floats(-1, 1),
    st.floats(0, 1),
)
def test_short_numbers_still_make_a_pointing(
    x: float, xx: float, yy: float, rho: float, score: float
) -> None:
    covariance = (xx, rho * (xx * yy) ** 0.5, yy)
    point = Point(x=x, y=1 - x, score=score, covariance=covariance)
    made = Pointing(query="q", points=(point,), status=Status.FOUND, image_size=(8, 8))
    line = Answer("a.png", "q", made).as_json()
    for value in (line["points"][0]["x"], line["points"][0]["score"]):
        assert len(f"{value:.17g}") < 25
        assert float(f"{value:.6g}") == value
    read = Point.model_validate(line["points"][0])
    assert read.x == pytest.approx(x, rel=1e-5, abs=1e-9)
    assert read.covariance is not None
    assert read.covariance == pytest.approx(covariance, rel=1e-4, abs=1e-12)


def test_a_tab_in_a_name_does_not_break_the_table() -> None:
    made = Answer("a\tb\n.png", "mug\tcup", pointing(Status.FOUND, 1))
    assert made.row(True).split("\t") == ["1", "a b .png", "mug cup", "found"]
