"""The reference's readers and metric, held to what the reference itself computed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molmo_point.evaluate.reference import (
    extract_points,
    is_valid_format,
    points_from_point_count,
    read_count,
    score_count,
    score_pointing,
)
from molmo_point.evaluate.reference_assignment import assign, assign_without_scipy

GOLDEN = Path(__file__).parents[1] / "golden/points"


def _cases(name: str) -> Any:
    return json.loads((GOLDEN / name).read_text("utf-8"))


PARSE_CASES: list[dict[str, Any]] = _cases("parse_cases.json")["cases"]
COUNT_CASES: list[dict[str, Any]] = _cases("count_cases.json")
METRIC_CASES: list[dict[str, Any]] = _cases("metric_cases.json")


def test_all_the_golden_data_is_here() -> None:
    assert (len(PARSE_CASES), len(COUNT_CASES), len(METRIC_CASES)) == (65, 26, 17)


@pytest.mark.parametrize("case", PARSE_CASES, ids=range(len(PARSE_CASES)))
def test_readers_reproduce_the_reference(case: dict[str, Any]) -> None:
    text, width, height = case["text"], case["width"], case["height"]
    for reader, key in (
        (extract_points, "points"),
        (points_from_point_count, "points_from_point_count"),
    ):
        points = np.reshape(reader(text, width, height), (-1, 2))
        assert points == pytest.approx(np.reshape(case[key], (-1, 2)), abs=1e-6), key
    assert is_valid_format(text) is case["is_valid_format"]


@pytest.mark.parametrize("case", COUNT_CASES, ids=lambda case: case["text"][:20])
def test_counts_reproduce_the_reference(case: dict[str, Any]) -> None:
    assert read_count(case["text"]) == case["count"]


def test_counts_as_the_specification_tells_them() -> None:
    assert [read_count(text) for text in ("+4", "about 007", "NINETEEN")] == [4, 7, 19]
    assert read_count("Counting shows a total of 5 cats\nin all") == 5
    assert read_count("First line\nshows a total of 5 cats") is None


def test_count_scores() -> None:
    exact, close, far, none = (score_count(text, 3) for text in ("3", "4", "7", "There are none."))
    assert (exact.correct, exact.close, exact.valid) == (True, True, True)
    assert (close.correct, close.close, close.valid) == (False, True, True)
    assert (far.correct, far.close, far.valid) == (False, False, True)
    assert (none.correct, none.close, none.valid) == (False, False, False)


@pytest.mark.parametrize("scipy", [True, False], ids=["scipy", "own"])
@pytest.mark.parametrize("case", METRIC_CASES, ids=range(len(METRIC_CASES)))
def test_metric_reproduces_the_reference(
    case: dict[str, Any], scipy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if scipy:
        pytest.importorskip("scipy", exc_type=ImportError)
    else:
        monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    width, height = case["width"], case["height"]
    masks = []
    for x0, y0, x1, y1 in case["gt_boxes_xyxy"]:
        masks.append(np.zeros((height, width), bool))
        masks[-1][y0:y1, x0:x1] = True
    truth = [(x, y) for x, y in case["gt_points"]]
    score = score_pointing(case["text"], truth, masks, width, height)
    assert [score.precision, score.recall, score.f1] == pytest.approx(
        [case["precision"], case["recall"], case["f1"]], abs=1e-6
    )


@given(st.integers(0, 7), st.integers(1, 7), st.data())
def test_our_assignment_costs_what_scipys_does(
    rows: int, columns: int, data: st.DataObject
) -> None:
    pytest.importorskip("scipy", exc_type=ImportError)
    cost = st.floats(0, 1000, allow_nan=False) | st.integers(0, 3).map(float)
    row = st.lists(cost, min_size=columns, max_size=columns)
    costs = data.draw(st.lists(row, min_size=rows, max_size=rows))
    ours = assign_without_scipy(costs)
    assert len({row for row, _ in ours}) == len({column for _, column in ours}) == len(ours)
    assert len(ours) == min(rows, columns)
    if rows:
        best = sum(costs[row][column] for row, column in assign(costs))
        assert sum(costs[row][column] for row, column in ours) == pytest.approx(best, abs=1e-6)
