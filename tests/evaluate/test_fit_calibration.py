"""Calibration on samples whose truth is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from molmo_point.engine.score_calibration import sigmoid
from molmo_point.errors import UsageError
from molmo_point.evaluate.fit_calibration import fit_calibration
from molmo_point.evaluate.regression import logistic_regression, variance_regression
from molmo_point.evaluate.score_quality import (
    AbsenceSample,
    PointSample,
    Samples,
    apply,
    auroc,
    collect,
    measure,
)
from molmo_point.examples import Box, Example, Mask
from molmo_point.points import Point
from molmo_point.testing import FakePointer


def overconfident(seed: int, count: int = 3000) -> Samples:
    """Hits happen with the square of the score said; things lie three standard deviations further than said."""
    rng = np.random.default_rng(seed)
    points, absences = [], []
    for _ in range(count):
        score = rng.uniform(0.05, 0.99)
        hit = bool(rng.random() < score**2)
        variances = tuple(rng.uniform(1e-5, 1e-3, 2))
        offset = tuple(rng.normal(0, 3 * np.sqrt(variances))) if hit else None
        points.append(PointSample(score, variances, hit, offset))
        said = rng.uniform(0.01, 0.99)
        absences.append(AbsenceSample(said, bool(rng.random() < said)))
    return Samples(tuple(points), tuple(absences))


def test_fit_repairs_overconfidence_on_samples_it_never_saw() -> None:
    raw = overconfident(2)
    before = measure(raw)
    after = measure(apply(fit_calibration(overconfident(1), "a test"), raw))
    assert before.expected_calibration_error > 0.1
    assert after.expected_calibration_error < 0.05
    assert before.coverage_90 < 0.5
    assert after.coverage_90 == pytest.approx(0.9, abs=0.04)
    assert after.coverage_50 == pytest.approx(0.5, abs=0.06)
    assert after.auroc == pytest.approx(before.auroc, abs=0.02)
    assert sum(count for _, _, count in after.bins) == after.points == 3000


def with_states(seed: int, count: int, told: float) -> Samples:
    """Hits happen as a hidden state says, `told` log odds a unit; the score says nothing."""
    rng = np.random.default_rng(seed)
    points = []
    for _ in range(count):
        state = rng.normal(size=16)
        hit = bool(rng.random() < 1 / (1 + math.exp(-told * state[3])))
        offset = (0.01, 0.01) if hit else None
        points.append(
            PointSample(rng.uniform(0.1, 0.9), (1e-4, 1e-4), hit, offset, hidden_features=state)
        )
    return Samples(tuple(points), overconfident(seed, 200).absences)


def test_a_probe_is_fitted_where_the_states_tell_something() -> None:
    calibration, others = (
        fit_calibration(with_states(1, 2000, 2.0), "a test"),
        with_states(2, 2000, 2.0),
    )
    assert int(np.argmax(np.abs(calibration.score_probe))) == 3
    before, after = measure(others), measure(apply(calibration, others))
    assert before.auroc < 0.55
    assert after.auroc > 0.8
    assert after.expected_calibration_error < 0.05


def test_what_the_score_says_is_not_shrunk_for_the_sake_of_the_states() -> None:
    rng = np.random.default_rng(0)
    points = []
    for _ in range(1000):
        state, odds = rng.normal(size=16), float(rng.normal(0, 1.5))
        hit = bool(rng.random() < sigmoid(odds + 1.5 * state[3]))
        offset = (0.01, 0.01) if hit else None
        points.append(PointSample(sigmoid(odds), (1e-4, 1e-4), hit, offset, hidden_features=state))
    fitted = fit_calibration(Samples(tuple(points), overconfident(1, 200).absences), "a test")
    assert len(fitted.score_probe) == 16
    assert fitted.score_weights[0] == pytest.approx(1.0, abs=0.15)


def test_wide_things_are_known_by_their_states() -> None:
    """x is ten times less certain where the state says so; y is not."""

    def samples(seed: int) -> Samples:
        rng = np.random.default_rng(seed)
        points = []
        for _ in range(3000):
            state = rng.normal(size=16)
            offset = (rng.normal(0, 0.01 * math.exp(state[5])), rng.normal(0, 0.01))
            points.append(PointSample(0.5, (1e-4, 1e-4), True, offset, hidden_features=state))
        others = [PointSample(0.5, (1e-4, 1e-4), False, None, hidden_features=np.zeros(16))] * 50
        return Samples((*points, *others), overconfident(seed, 200).absences)

    calibration, others = fit_calibration(samples(1), "a test"), samples(2)
    assert calibration.spread_x.probe[5] == pytest.approx(2.0, abs=0.2)
    wide, narrow = (
        tuple(
            p
            for p in others.points
            if p.hidden_features is not None and sign * p.hidden_features[5] > 1
        )
        for sign in (1, -1)
    )
    for some in (wide, narrow):
        quality = measure(apply(calibration, replace(others, points=some)))
        assert quality.coverage_50 == pytest.approx(0.5, abs=0.06)
        assert quality.coverage_90 == pytest.approx(0.9, abs=0.04)


def test_states_that_tell_nothing_are_not_learned_by_heart() -> None:
    assert fit_calibration(with_states(1, 400, 0.0), "a test").probes == ((), (), ())


def test_points_without_states_have_no_probe() -> None:
    assert fit_calibration(overconfident(1), "a test").probes == ((), (), ())


def test_logistic_regression_recovers_known_weights() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(20_000, 2)) * [1, 5] + [0, 3]
    chance = 1 / (1 + np.exp(-(1.5 * features[:, 0] - 0.4 * features[:, 1] + 0.7)))
    labels = (rng.random(len(chance)) < chance).astype(float)
    np.testing.assert_allclose(logistic_regression(features, labels), [1.5, -0.4, 0.7], atol=0.08)


def test_variance_regression_recovers_known_weights() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(20_000, 2)) * [1, 3] + [0, -9]
    deviation = np.exp((0.8 * features[:, 0] - 0.3 * features[:, 1] - 6) / 2)
    squares = (deviation * rng.standard_t(3, len(deviation))) ** 2
    np.testing.assert_allclose(variance_regression(features, squares), [0.8, -0.3, -6], atol=0.08)


def test_offsets_that_grow_with_doubt_are_covered_at_every_score() -> None:
    """The digits say nothing here; how far a point is off shows in its score alone."""

    def samples(seed: int) -> Samples:
        rng = np.random.default_rng(seed)
        points = []
        for _ in range(15_000):
            score = rng.uniform(0.05, 0.99)
            deviation = 0.02 * ((1 - score) / score) ** 0.4
            offset = tuple(rng.normal(0, deviation, 2)) if rng.random() < score else None
            variances = tuple(rng.uniform(1e-5, 1e-3, 2))
            points.append(PointSample(score, variances, offset is not None, offset))
        return Samples(tuple(points), overconfident(seed, 100).absences)

    calibration, others = fit_calibration(samples(1), "a test"), samples(2)
    for low in (0.1, 0.4, 0.7):
        some = tuple(point for point in others.points if low <= point.score < low + 0.3)
        quality = measure(apply(calibration, replace(others, points=some)))
        assert quality.coverage_50 == pytest.approx(0.5, abs=0.06)
        assert quality.coverage_90 == pytest.approx(0.9, abs=0.04)


def test_separable_data_stays_finite() -> None:
    features = np.linspace(-1, 1, 50)[:, None]
    weights = logistic_regression(features, (features[:, 0] > 0).astype(float))
    assert np.isfinite(weights).all()
    assert weights[0] > 0


def test_auroc() -> None:
    assert auroc(np.array([0.9, 0.8]), np.array([0.1, 0.2])) == 1.0
    assert auroc(np.array([0.1]), np.array([0.9])) == 0.0
    assert auroc(np.array([0.5]), np.array([0.5])) == 0.5
    assert math.isnan(auroc(np.array([]), np.array([0.5])))


def test_collect_sets_answers_beside_the_truth() -> None:
    points = [
        Point(x=0.25, y=0.25, score=0.9, covariance=(1e-4, 0, 1e-4)),
        Point(x=0.9, y=0.9, score=0.3, covariance=(1e-4, 0, 1e-4)),
    ]
    pointer = FakePointer({"cup": points})
    image = np.zeros((10, 10, 3), np.uint8)
    samples = collect(pointer, [Example(image, "cup", [Box(0.2, 0.2, 0.4, 0.4)])])
    hit, miss = samples.points
    assert (hit.hit, miss.hit) == (True, False)
    assert hit.offset == pytest.approx((0.05, 0.05))
    assert miss.offset is None


def test_middle_of_a_mask_is_its_centroid() -> None:
    inside = np.zeros((10, 20), bool)
    inside[2:4, 10:14] = True
    assert Mask(inside).center == pytest.approx((0.6, 0.3))
    assert Mask(inside, (0.55, 0.25)).center == (0.55, 0.25)


def test_too_little_to_fit_on_says_of_what() -> None:
    few = overconfident(0, count=30)
    with pytest.raises(UsageError, match="at least 20 hits"):
        fit_calibration(few, "too little")
