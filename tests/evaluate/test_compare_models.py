"""ModelComparison between two pointers whose difference is known."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from molmo_point.api import load
from molmo_point.engine.question import Question
from molmo_point.errors import UsageError
from molmo_point.evaluate.compare_models import compare_models
from molmo_point.evaluate.drift import logit_drift
from molmo_point.testing import FakePointer

TINY = Path(__file__).parents[1] / "golden" / "models" / "tiny-d"
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


def test_logits_are_compared_behind_the_same_tokens() -> None:
    first, same, other = (load(TINY, dtype="float32").engine for _ in range(3))
    with torch.no_grad():
        # Every logit grows by a tenth: no choice changes, and the largest logit of a position says how far.
        other.model.decoder.head.weight.mul_(1.1)
    questions = [(IMAGE, "mug"), (IMAGE, "cup")]
    equal = logit_drift(first, same, questions, tokens=5)
    assert equal.tokens == equal.same_tokens == 10
    assert equal.largest_difference == 0.0
    drift = logit_drift(first, other, questions, tokens=5)
    assert (drift.tokens, drift.same_tokens) == (10, 10)
    encoded, timing = first.encode(IMAGE)
    request = first.prepare_points(encoded, timing, Question.now("mug", "point", max_new_tokens=5))
    steps = list(first.decode(encoded, request.state))
    largest = max(float(step.logits.abs().max()) for step in steps)
    assert drift.largest_difference >= 0.1 * largest * (1 - 1e-4)
    assert 0 < drift.median_difference <= drift.p99_difference <= drift.largest_difference


def test_a_token_that_another_version_would_not_choose_counts() -> None:
    first, other = (load(TINY, dtype="float32").engine for _ in range(2))
    with torch.no_grad():
        other.model.decoder.head.weight.neg_()
    drift = logit_drift(first, other, [(IMAGE, "mug")], tokens=5)
    assert (drift.tokens, drift.same_tokens) == (5, 0)


def test_no_answer_to_compare_logits_of_is_an_error() -> None:
    engine = load(TINY, dtype="float32").engine
    with pytest.raises(UsageError, match="answers are text, got none"):
        logit_drift(engine, engine, [])
