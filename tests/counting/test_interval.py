"""The distribution of the true number: exact parts, and intervals that hold as often as they say."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molmo_point.counting.interval import (
    FILE,
    CountCalibration,
    CountModel,
    negative_binomial,
    poisson_binomial,
    read_count_calibration,
    shortest_interval,
)
from molmo_point.errors import CheckpointError, UsageError
from molmo_point.evaluate.count_samples import CountSample
from molmo_point.evaluate.fit_counts import coverage, fit_counts, judged
from molmo_point.points import Point, Pointing, Status, Tiling

MODEL = CountModel(missed_bias=-2.0, missed_count=0.5, missed_shape=3.0)


@given(st.lists(st.floats(0, 1), max_size=7))
def test_poisson_binomial_is_the_sum_over_all_outcomes(probabilities: list[float]) -> None:
    wanted = np.zeros(len(probabilities) + 1)
    for outcome in itertools.product((0, 1), repeat=len(probabilities)):
        pairs = zip(outcome, probabilities, strict=True)
        wanted[sum(outcome)] += np.prod([p if hit else 1 - p for hit, p in pairs])
    assert np.allclose(poisson_binomial(np.array(probabilities)), wanted, atol=1e-9)


@given(st.floats(1e-3, 200), st.floats(0.05, 50))
def test_negative_binomial_has_its_mean_and_variance(mean: float, shape: float) -> None:
    chances = negative_binomial(mean, shape)
    numbers = np.arange(len(chances))
    assert chances.sum() == pytest.approx(1, abs=2e-3)
    if shape > 1:
        assert (numbers * chances).sum() == pytest.approx(mean, rel=0.02)
        variance = (numbers**2 * chances).sum() - mean**2
        assert variance == pytest.approx(mean + mean * mean / shape, rel=0.1)


@given(st.lists(st.floats(0, 1), max_size=6), st.integers(0, 9))
def test_one_probability_is_that_of_the_distribution(scores: list[float], things: int) -> None:
    distribution = MODEL.distribution(scores, 0.2)
    assert MODEL.probability(things, scores, 0.2) == pytest.approx(distribution[things])


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=12), st.floats(0.05, 0.99))
def test_no_shorter_interval_holds_as_much(masses: list[float], level: float) -> None:
    distribution = np.array(masses) / sum(masses)
    low, high = shortest_interval(distribution, level)
    assert distribution[low : high + 1].sum() >= level - 1e-6
    for start in range(len(masses) - (high - low) + 1):
        assert distribution[start : start + (high - low)].sum() < level + 1e-6


def drawn(rng: np.random.Generator, model: CountModel, points: int) -> CountSample:
    scores = rng.beta(6, 2, points)
    spacing = 0.5 if points < 2 else 0.9 / np.sqrt(points)
    chances = model.distribution(list(scores), spacing)
    things = int(rng.choice(len(chances), p=chances / chances.sum()))
    return CountSample(things, tuple(scores), spacing, True, False)


def test_fitted_intervals_hold_nine_times_of_ten() -> None:
    """Samples of a distribution that differs from the one that the fit begins with."""
    truth = CountModel(
        right_bias=-0.8, missed_bias=-1.0, missed_count=0.8, missed_spacing=-0.2, missed_shape=4.0
    )
    rng = np.random.default_rng(5)
    numbers = [0, 1, 2, 4, 8, 20]
    fitted_on, measured_on = (
        [drawn(rng, truth, int(rng.choice(numbers))) for _ in range(size)] for size in (100, 400)
    )
    before, after = MODEL, fit_counts(fitted_on)
    held = coverage(judged(after, measured_on))[-1].inside.value
    assert held is not None
    assert 0.86 <= held <= 0.96
    unfitted = coverage(judged(before, measured_on))[-1].inside.value
    assert unfitted is not None
    assert unfitted < held - 0.1


def test_few_answers_are_not_fitted() -> None:
    sample = CountSample(1, (0.9,), None, True, False)
    unknown = CountSample(1, (0.9,), None, False, False)
    with pytest.raises(UsageError, match="at least 30 complete answers to fit counts on, got 29"):
        fit_counts([sample] * 29 + [unknown] * 10)


def pointing(status: Status = Status.FOUND, score: float | None = 0.9) -> Pointing:
    points = [Point(x=0.1 * n, y=0.5, score=score) for n in range(5)]
    return Pointing(query="x", points=points, status=status, image_size=(100, 100))


def test_an_interval_only_where_one_is_known() -> None:
    calibration = CountCalibration(whole=MODEL, measured_on="a test")
    low, high = calibration.with_interval(pointing()).count_interval or (-1, -1)
    assert 0 <= low <= 5 <= high
    assert calibration.with_interval(pointing(Status.TRUNCATED)).count_interval is None
    assert calibration.with_interval(pointing(score=None)).count_interval is None
    tiled = pointing().replace(tiling=Tiling(columns=2, rows=2, looks=5))
    assert calibration.with_interval(tiled).count_interval is None
    nothing = Pointing(query="x", status=Status.NOT_FOUND, image_size=(9, 9))
    assert (calibration.with_interval(nothing).count_interval or (-1,))[0] == 0


def test_the_file_beside_the_weights(tmp_path: Path) -> None:
    assert read_count_calibration(tmp_path) is None
    calibration = CountCalibration(whole=MODEL, measured_on="a test")
    (tmp_path / FILE).write_text(calibration.model_dump_json())
    assert read_count_calibration(tmp_path) == calibration
    (tmp_path / FILE).write_text(json.dumps({"whole": {"missed_shape": -1}}))
    with pytest.raises(CheckpointError, match="is damaged"):
        read_count_calibration(tmp_path)
