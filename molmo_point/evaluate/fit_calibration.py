"""Fit the score calibration of a checkpoint to raw samples."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from molmo_point.engine.score_calibration import (
    Calibration,
    Floats,
    VarianceModel,
    logit,
    score_features,
    spread_features,
)
from molmo_point.errors import UsageError
from molmo_point.evaluate.probe import Fitted, fit_with_probe
from molmo_point.evaluate.regression import PROBABILITY, VARIANCE, logistic_regression
from molmo_point.evaluate.score_quality import PointSample, Samples, fraction

MIN_SAMPLES = 20
"""Samples of each kind needed to fit everything. Fewer hits are an error; with fewer of another kind only a bias is fitted."""

COVERAGES = {0.5: 0.06, 0.9: 0.04}
"""Nominal coverage of the ellipses -> tolerance."""


def fit_calibration(samples: Samples, measured_on: str) -> Calibration:
    """Return the calibration fitted to raw samples.

    With fewer than MIN_SAMPLES misses only a bias of the score is fitted; the same for the absence probability with fewer than
    MIN_SAMPLES absent or present questions.

    Args:
        samples: Points of one image stand side by side.
        measured_on: Description of the data, stored in the calibration.

    Raises:
        UsageError: Fewer than MIN_SAMPLES hits.
    """
    few = lacking(samples)
    if "hits" in few:
        counts = ", ".join(f"{count} {name}" for name, count in few.items())
        raise UsageError(
            f"expected at least {MIN_SAMPLES} hits to fit on, got {counts}: ask more questions; "
            "the answers so far are kept"
        )
    score = _bias_only_score(samples.points) if "misses" in few else _fit_score(samples.points)
    spread_x, spread_y = _fit_spreads([s for s in samples.points if s.offset is not None])
    probabilities = np.array([logit(s.probability) for s in samples.absences])
    absent_labels = np.array([s.absent for s in samples.absences], float)
    if few.keys() & {"absent questions", "present questions"}:
        absent = (1.0, _bias(probabilities, absent_labels))
    else:
        absent = tuple(logistic_regression(probabilities[:, None], absent_labels).tolist())
    return Calibration(
        score_weights=tuple(score.weights.tolist()),
        score_bias=score.bias,
        score_probe=tuple(score.probe.tolist()),
        spread_x=spread_x,
        spread_y=spread_y,
        absent_weight=float(absent[0]),
        absent_bias=float(absent[1]),
        measured_on=measured_on,
    )


def lacking(samples: Samples) -> dict[str, int]:
    """Return the number of samples of each kind with fewer than MIN_SAMPLES."""
    hits = sum(sample.hit for sample in samples.points)
    absent_labels = sum(sample.absent for sample in samples.absences)
    counts = {
        "hits": hits,
        "misses": len(samples.points) - hits,
        "absent questions": absent_labels,
        "present questions": len(samples.absences) - absent_labels,
    }
    return {name: count for name, count in counts.items() if count < MIN_SAMPLES}


def _bias_only_score(points: Sequence[PointSample]) -> Fitted:
    """Return the log odds of the raw score plus a bias, so that the mean score is the share of hits."""
    features = np.array([score_features(sample) for sample in points])
    weights = np.zeros(features.shape[1])
    weights[0] = 1.0
    bias = _bias(features[:, 0], np.array([s.hit for s in points], float))
    return Fitted(weights, np.zeros(0), bias, features[:, 0] + bias)


def _bias(odds: Floats, labels: Floats) -> float:
    """Return the bias of log odds [N] with which the mean probability is the share of true labels (add-one smoothed)."""
    wanted = (labels.sum() + 1) / (len(labels) + 2)
    low, high = -40.0, 40.0
    for _ in range(80):
        middle = (low + high) / 2
        mean = (
            float((1 / (1 + np.exp(-np.clip(odds + middle, -60, 60)))).mean())
            if len(odds)
            else wanted
        )
        low, high = (middle, high) if mean < wanted else (low, middle)
    return (low + high) / 2 if len(odds) else 0.0


def _fit_score(points: Sequence[PointSample]) -> Fitted:
    features = np.array([score_features(sample) for sample in points])
    return fit_with_probe(
        PROBABILITY, features, _states(points), np.array([s.hit for s in points], float)
    )


def _fit_spreads(hits: Sequence[PointSample]) -> tuple[VarianceModel, VarianceModel]:
    """Fit both axes.

    Offsets have longer tails than a Gaussian, so both variances are scaled by the factor whose coverage on held-out points is
    nearest to nominal.
    """
    states = _states(hits)
    squares = np.array([[part * part for part in s.offset or ()] for s in hits])
    fitted = [
        fit_with_probe(
            VARIANCE,
            np.array([spread_features(s.variances[axis], s.score) for s in hits]),
            states,
            squares[:, axis],
        )
        for axis in (0, 1)
    ]
    variances = np.exp(np.column_stack([axis.held_out for axis in fitted]))
    factor = _coverage_factor((squares / variances).sum(1))
    return _spread(fitted[0], factor), _spread(fitted[1], factor)


def _coverage_factor(distances: Floats) -> float:
    """Return the factor of the variances, from squared Mahalanobis distances [N]."""
    # A 2D Gaussian's 90 % ellipse has a squared radius of -2 ln 0.1.
    factors = np.quantile(distances, np.linspace(0.84, 0.94, 101)) / (-2 * math.log(0.1))

    def gap(factor: float) -> float:
        return max(
            abs(fraction(distances / factor <= -2 * math.log(1 - nominal)) - nominal) / tolerance
            for nominal, tolerance in COVERAGES.items()
        )

    return float(min(factors, key=gap))


def _spread(fitted: Fitted, factor: float) -> VarianceModel:
    return VarianceModel(
        power=float(fitted.weights[0]),
        doubt=float(fitted.weights[1]),
        scale=factor * math.exp(fitted.bias),
        probe=tuple(fitted.probe.tolist()),
    )


def _states(points: Sequence[PointSample]) -> Floats | None:
    """Return the hidden features [N, S], or None where those of a point are unknown."""
    states = [s.hidden_features for s in points if s.hidden_features is not None]
    return np.stack(states) if states and len(states) == len(points) else None
