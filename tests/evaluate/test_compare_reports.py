"""Two reports compared question by question; the page of a report."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from molmo_point.datasets.manifest import Manifest
from molmo_point.errors import UsageError
from molmo_point.evaluate.compare_reports import PERFECT, compare_reports, mcnemar, read_report
from molmo_point.evaluate.data_report import DataReport, data_report
from molmo_point.evaluate.report_page import report_page
from molmo_point.evaluate.run import evaluate
from molmo_point.evaluate.scorers.table import scorers_for
from molmo_point.examples import Box, Example
from molmo_point.testing import FakePointer

THINGS = {f"thing {number}": (0.1 + 0.08 * number, 0.5) for number in range(10)}


def made(answers: Mapping[str, Any], sha256: str = "a", asked: int = 10) -> DataReport:
    image = np.full((30, 60, 3), 200, np.uint8)
    examples = [
        Example(image, query, (Box(x - 0.03, y - 0.1, x + 0.03, y + 0.1),), group=f"<{i % 2}>", source=f"x.jsonl:{i}")
        for i, (query, (x, y)) in enumerate(THINGS.items())
    ][:asked]  # fmt: skip
    scorers = scorers_for("json-lines")
    report = evaluate(FakePointer(answers), examples, scorers=scorers)
    read = Manifest(path="x.jsonl", layout="json-lines", items=10, images=1, skipped=0, files=(), sha256=sha256)  # fmt: skip
    return data_report(report, read, scorers)


def right(*, wrong: int = 0, moved: float = 0.0) -> dict[str, Any]:
    """Return answers of which the last ones are wrong, and all others lie beside the center."""
    answers: dict[str, Any] = {query: [(x + moved, y)] for query, (x, y) in THINGS.items()}
    return {**answers, **{query: [(0.01, 0.01)] for query in list(THINGS)[10 - wrong :]}}


def test_mcnemar_is_the_exact_binomial_test() -> None:
    # scipy.stats.binomtest(1, 7).pvalue, binomtest(3, 15).pvalue
    assert mcnemar(1, 6) == mcnemar(6, 1) == pytest.approx(0.125)
    assert mcnemar(3, 12) == pytest.approx(0.03515625)
    assert mcnemar(0, 0) == mcnemar(4, 4) == 1.0


def test_a_difference_with_its_interval_its_test_and_the_questions_behind_it() -> None:
    comparison = compare_reports(made(right()), made(right(wrong=6)))
    by = {each.name: each for each in comparison.differences}
    one = by[PERFECT]
    assert (one.first.value, one.second.value, one.difference) == (1.0, 0.4, pytest.approx(-0.6))
    assert (one.only_first, one.only_second, one.p_value) == (6, 0, 2 / 2**6)
    assert -0.95 < one.low < -0.6 < one.high < -0.2
    assert one.most[0] == "x.jsonl:4"
    assert by["ai2-points-molmo2 f1"].difference == pytest.approx(-0.6)
    assert comparison.same_data is True
    assert "McNemar p = 0.0312" in comparison.table()


def test_equal_scores_may_hide_a_drift() -> None:
    comparison = compare_reports(made(right()), made(right(moved=0.02)))
    assert {each.difference for each in comparison.differences} == {0.0}
    drift = comparison.drift
    assert (drift.same_points, drift.same_count) == (0, 10)
    assert drift.median_percent == pytest.approx(100 * 0.02 * 60 / math.hypot(60, 30))
    same = compare_reports(made(right()), made(right()))
    assert (same.drift.same_points, same.drift.largest_percent) == (10, 0.0)
    assert same.differences[0].p_value == 1.0


def test_reports_of_other_data_and_files_that_are_no_reports(tmp_path: Path) -> None:
    fewer = compare_reports(made(right()), made(right(), sha256="b", asked=7))
    assert (fewer.questions, fewer.only_first, fewer.same_data) == (7, 3, False)
    assert "checksums differ" in fewer.table()
    assert "3 of the first alone" in fewer.table()
    other = made(right()).model_copy(update={"outcomes": ()})
    with pytest.raises(
        UsageError, match="no question in common: 10 in the first, 0 in the second"
    ):
        compare_reports(made(right()), other)
    path = tmp_path / "report.json"
    path.write_text(made(right()).model_dump_json())
    assert read_report(path) == made(right()).model_copy(
        update={"outcomes": read_report(path).outcomes, "seconds_per_question": read_report(path).seconds_per_question}
    )  # fmt: skip
    for text, said in (("{}", "is no report of `molmo-point eval`: model: Field required"), ("[", "is no report")):  # fmt: skip
        path.write_text(text)
        with pytest.raises(UsageError, match=said):
            read_report(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_report(tmp_path / "none.json")


class _Page(HTMLParser):
    """The tags of a page, what they load, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.images = 0
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img", "br", "line", "rect", "circle"):
            self.open.append(tag)
        self.images += tag == "img"
        self.loads += [
            v or "" for k, v in attrs if k in ("src", "href") and not (v or "").startswith("data:")
        ]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_whole_loads_nothing_and_draws_the_worst_cases() -> None:
    report = made(right(wrong=3))
    page = report_page(report, lambda _: np.full((30, 60, 3), 90, np.uint8))
    read = _Page(page)
    assert (read.open, read.loads, read.images) == ([], [], 3)
    for words in ("thing 9", "<1>", report.data.sha256, "ai2-points-molmo2", "70.0%", "x.jsonl:7"):
        assert words in read.text, words
    assert "<script" not in page
    gone = _Page(report_page(report, lambda _: None))
    assert gone.images == 0
    assert gone.text.count("(the image is not there)") == 3
    assert "every answer is right" in report_page(made(right()), lambda _: None)
    assert json.loads(report.model_dump_json())["overall"]["perfect"]["right"] == 7
