"""Fit a checkpoint's calibration to raw samples."""

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
from molmo_point.evaluate.calibrate import PointSample, Samples, share
from molmo_point.evaluate.probe import Fitted, fit_with_probe
from molmo_point.evaluate.regression import PROBABILITY, VARIANCE, logistic_regression

LEAST = 20
"""Of each kind of sample, for all that can be fitted. Of hits there must be as many; with less of the others, only a bias is."""

PROMISED = {0.5: 0.06, 0.9: 0.04}
"""Coverage of the ellipses, and how far from it is still kept."""


def fit(samples: Samples, measured_on: str) -> Calibration:
    """Fit a calibration to raw samples.

    Args:
        samples: Those of one picture side by side.

    With fewer than LEAST misses the score keeps its order and gets a bias only; the same for the probability of absence with
    fewer than LEAST absent or present questions.

    Raises:
        UsageError: Fewer than LEAST hits: too little to fit anything on.
    """
    few = lacking(samples)
    if "hits" in few:
        counts = ", ".join(f"{count} {name}" for name, count in few.items())
        raise UsageError(
            f"expected at least {LEAST} of each to fit on, and no fewer hits than that, got {counts}: ask more questions; "
            "the answers so far are kept"
        )
    score = _bias_only_score(samples.points) if "misses" in few else _fit_score(samples.points)
    spread_x, spread_y = _fit_spreads([s for s in samples.points if s.offset is not None])
    doubts = np.array([logit(s.probability) for s in samples.absences])
    gone = np.array([s.absent for s in samples.absences], float)
    if few.keys() & {"absent questions", "present questions"}:
        absent = (1.0, _bias(doubts, gone))
    else:
        absent = tuple(logistic_regression(doubts[:, None], gone).tolist())
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
    """Return how many there are of each kind of sample of which there are fewer than LEAST."""
    hits = sum(sample.hit for sample in samples.points)
    gone = sum(sample.absent for sample in samples.absences)
    counts = {
        "hits": hits,
        "misses": len(samples.points) - hits,
        "absent questions": gone,
        "present questions": len(samples.absences) - gone,
    }
    return {name: count for name, count in counts.items() if count < LEAST}


def _bias_only_score(points: Sequence[PointSample]) -> Fitted:
    """The raw score's log odds, moved so that its mean is the share of hits."""
    features = np.array([score_features(sample) for sample in points])
    weights = np.zeros(features.shape[1])
    weights[0] = 1.0
    bias = _bias(features[:, 0], np.array([s.hit for s in points], float))
    return Fitted(weights, np.zeros(0), bias, features[:, 0] + bias)


def _bias(odds: Floats, labels: Floats) -> float:
    """Return what to add to log odds [N] so that their mean is the share of the labels, each kind of them counted once more."""
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

    Offsets have longer tails than Gaussians. Coverage is what is promised, so both variances are scaled by the factor that comes
    nearest to keeping it, on held-out points.
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
    factor = _fairest_factor((squares / variances).sum(1))
    return _spread(fitted[0], factor), _spread(fitted[1], factor)


def _fairest_factor(distances: Floats) -> float:
    """Return what variances are to be multiplied by, from squared Mahalanobis distances."""
    # A 2D Gaussian's 90 % ellipse has a squared radius of -2 ln 0.1.
    factors = np.quantile(distances, np.linspace(0.84, 0.94, 101)) / (-2 * math.log(0.1))

    def gap(factor: float) -> float:
        return max(
            abs(share(distances / factor <= -2 * math.log(1 - promised)) - promised) / slack
            for promised, slack in PROMISED.items()
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
    """[N, D], or None where one of them is not known."""
    states = [s.hidden_features for s in points if s.hidden_features is not None]
    return np.stack(states) if states and len(states) == len(points) else None
