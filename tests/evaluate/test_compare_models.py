"""ModelComparison between two pointers whose difference is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from molmo_point.errors import UsageError
from molmo_point.evaluate.compare_models import compare_models
from molmo_point.testing import FakePointer

IMAGE = np.zeros((30, 40, 3), np.uint8)


def test_drift_is_measured_answer_by_answer() -> None:
    first = FakePointer(
        {"a": [(0.5, 0.5)], "b": [(0.1, 0.1), (0.2, 0.2)], "c": [], "d": [(0.3, 0.3)]}
    )
    second = FakePointer({"a": [(0.5, 0.5)], "b": [(0.1, 0.1), (0.6, 0.2)], "c": [], "d": []})
    drift = compare_models(first, second, [(IMAGE, query) for query in "abcd"])
    assert (drift.questions, drift.same_points, drift.same_count) == (4, 2, 3)
    # 0.4 of 40 pixels on a diagonal of 50.
    assert drift.largest_percent == pytest.approx(32.0)
    assert drift.median_percent == 0.0


def test_no_common_points_is_not_zero_drift() -> None:
    drift = compare_models(FakePointer({"a": [(0.5, 0.5)]}), FakePointer(), [(IMAGE, "a")])
    assert math.isnan(drift.median_percent)
    assert drift.same_count == 0


def test_nothing_asked_is_an_error() -> None:
    with pytest.raises(UsageError, match="at least one question"):
        compare_models(FakePointer(), FakePointer(), [])
