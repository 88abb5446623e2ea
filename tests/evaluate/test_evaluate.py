"""`evaluate` over a fake pointer whose every answer is known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from molmo_point.errors import ImageError, UsageError
from molmo_point.evaluate.report import Report
from molmo_point.evaluate.run import evaluate
from molmo_point.examples import Box, Example
from molmo_point.testing import FakePointer

IMAGE = np.zeros((10, 20, 3), np.uint8)
LEFT, RIGHT = Box(0.0, 0.0, 0.4, 1.0), Box(0.6, 0.0, 1.0, 1.0)


def example(query: str, *regions: Box, mode: str = "point", group: str = "") -> Example:
    return Example(IMAGE, query, regions, mode, group)


POINTER = FakePointer(
    {
        "both": [(0.2, 0.5), (0.8, 0.5)],
        "one of two": [(0.2, 0.5)],
        "beside": [(0.5, 0.5)],
        "broken": ImageError("the image went away"),
    }
)


def test_a_report_counts_what_happened() -> None:
    report = evaluate(
        POINTER,
        [
            example("both", LEFT, RIGHT, group="good"),
            example("one of two", LEFT, RIGHT, group="bad"),
            example("beside", LEFT, group="bad"),
            example("nothing there", group="absent"),
            example("both", group="absent"),
            example("never there", LEFT, group="bad"),
            example("both", LEFT, RIGHT, mode="count", group="good"),
            example("one of two", LEFT, RIGHT, mode="count", group="bad"),
        ],
    )
    overall = report.overall
    assert report.pictures == 1
    # Hits 2+1+0+0+2+1 of points 2+1+1+0+2+1 and things 2+2+1+1+2+2.
    assert overall.f1 == pytest.approx(2 * 6 / (7 + 10))
    assert (overall.precision.right, overall.precision.total) == (6, 7)
    assert (overall.recall.right, overall.recall.total) == (6, 10)
    assert (overall.absent.right, overall.absent.total) == (1, 2)
    assert (overall.denied.right, overall.denied.total) == (1, 6)
    assert (overall.counts["1-5"].right, overall.counts["1-5"].total) == (1, 2)
    assert (overall.perfect.right, overall.perfect.total) == (3, 8)
    assert report.groups["good"].f1 == 1.0
    assert report.groups["absent"].f1 is None


def test_an_error_is_a_wrong_answer_and_not_the_end() -> None:
    report = evaluate(POINTER, [example("broken", LEFT), example("both", LEFT, RIGHT)])
    first, second = report.outcomes
    assert first.error == "ImageError: the image went away"
    assert (first.hits, first.status) == (0, None)
    assert second.hits == 2
    assert report.overall.errors == 1


def test_an_error_is_never_taken_for_none_there() -> None:
    report = evaluate(POINTER, [example("broken")])
    assert report.overall.absent.right == 0
    assert report.overall.perfect.right == 0


def test_an_image_that_cannot_be_opened_fails_its_questions_only() -> None:
    bad = b"no image"
    report = evaluate(
        POINTER,
        [
            Example(bad, "both", [LEFT]),
            Example(bad, "beside", [LEFT]),
            example("both", LEFT, RIGHT),
        ],
    )
    assert [bool(outcome.error) for outcome in report.outcomes] == [True, True, False]
    assert report.pictures == 2


def test_a_bug_in_the_pointer_passes_through() -> None:
    def broken(_image: object, _query: str) -> list[tuple[float, float]]:
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError):
        evaluate(FakePointer(broken), [example("x", LEFT)])


def test_an_empty_data_set_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one question"):
        evaluate(POINTER, [])


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(UsageError, match="point or count"):
        example("x", mode="guess")


def test_a_report_is_json_and_a_table() -> None:
    report = evaluate(POINTER, [example("both", LEFT, RIGHT, group="a"), example("x", group="b")])
    again = Report.model_validate(json.loads(report.model_dump_json()))
    assert again == report
    table = report.table()
    assert "fake: 2 questions about 1 image" in table
    assert "1/1 = 100.0%" in table
    assert "absent, answered none" in table
