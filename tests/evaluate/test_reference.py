"""The reference's readers and metric, held to what the reference itself computed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from molmo_point.evaluate.scorers.ai2_text import (
    extract_points,
    is_valid_format,
    points_from_point_count,
    read_count,
    score_count,
    score_pointing,
)

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


@pytest.mark.parametrize("case", METRIC_CASES, ids=range(len(METRIC_CASES)))
def test_metric_reproduces_the_reference(
    case: dict[str, Any],
) -> None:
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
