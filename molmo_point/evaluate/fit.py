"""Fit a checkpoint's calibration to raw samples."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from molmo_point.engine.calibration import (
    LEAST_VARIANCE,
    Calibration,
    Floats,
    logit,
    score_features,
)
from molmo_point.errors import UsageError
from molmo_point.evaluate.calibrate import PointSample, Samples, share
from molmo_point.evaluate.regression import (
    PLAIN_RIDGE,
    log_loss,
    logistic_regression,
    variance_regression,
)

LEAST = 20
"""Of each kind of sample."""

RIDGES = (30.0, 100.0, 300.0, 1000.0, 3000.0)
"""Tried with a probe, which has as many weights as the decoder is wide."""

FOLDS = 5
BLOCK = 50
"""Points that are held out together: those of one picture stand beside each other, and are not independent."""


def fit(samples: Samples, measured_on: str) -> Calibration:
    """Fit a calibration to raw samples.

    Args:
        samples: Those of one picture side by side.

    Raises:
        UsageError: Fewer than LEAST hits or misses, absent or present questions: too little to fit anything on.
    """
    _check_enough(samples)
    weights, probe, bias = _fit_score(samples.points)
    doubts = np.array([[logit(s.probability)] for s in samples.absences])
    absent = logistic_regression(doubts, np.array([s.absent for s in samples.absences], float))
    scale, power, doubt = _fit_variance([s for s in samples.points if s.offset is not None])
    return Calibration(
        score_weights=tuple(weights.tolist()),
        score_bias=bias,
        probe=tuple(probe.tolist()),
        variance_scale=scale,
        variance_power=power,
        variance_doubt=doubt,
        absent_weight=float(absent[0]),
        absent_bias=float(absent[1]),
        measured_on=measured_on,
    )


def _check_enough(samples: Samples) -> None:
    hits = sum(sample.hit for sample in samples.points)
    gone = sum(sample.absent for sample in samples.absences)
    few = {
        "hits": hits,
        "misses": len(samples.points) - hits,
        "absent questions": gone,
        "present questions": len(samples.absences) - gone,
    }
    lacking = [f"{count} {name}" for name, count in few.items() if count < LEAST]
    if lacking:
        raise UsageError(
            f"expected at least {LEAST} of each to fit on, got {', '.join(lacking)}: ask more questions"
        )


def _fit_score(points: Sequence[PointSample]) -> tuple[Floats, Floats, float]:
    """Return the weights of `score_features`, those of the probe and the bias; the probe is empty where it does not help.

    With few points a probe learns them by heart. So how much ridge it needs, and whether there is one, is what held-out points
    say: their loss must be less by twice the standard error of the difference.
    """
    features = np.array([score_features(s.score, *s.variances, s.absent) for s in points])
    hits = np.array([s.hit for s in points], float)
    weights = logistic_regression(features, hits)
    own = features.shape[1]
    states = [s.state for s in points if s.state is not None]
    if len(states) == len(points):
        wide = np.hstack([features, np.stack(states)])
        losses = {ridge: _held_out_losses(wide, hits, ridge) for ridge in RIDGES}
        best = min(RIDGES, key=lambda ridge: losses[ridge].mean())
        gain = _held_out_losses(features, hits) - losses[best]
        if gain.mean() > 2 * gain.std() / math.sqrt(len(gain)):
            weights = logistic_regression(wide, hits, ridge=best)
    return weights[:own], weights[own:-1], float(weights[-1])


def _held_out_losses(features: Floats, hits: Floats, ridge: float = PLAIN_RIDGE) -> Floats:
    """Return each point's logarithmic loss under weights that were fitted without it."""
    fold = np.arange(len(hits)) // BLOCK % FOLDS
    losses = np.zeros(len(hits))
    for number in np.unique(fold):
        out = fold == number
        weights = logistic_regression(features[~out], hits[~out], ridge=ridge)
        losses[out] = log_loss(features[out] @ weights[:-1] + weights[-1], hits[out])
    return losses


def _fit_variance(hits: Sequence[PointSample]) -> tuple[float, float, float]:
    """Find (scale, power, doubt) of `Calibration.variance`.

    The powers are the most likely ones if offsets are Gaussian. They are not, quite: real ones have longer tails. Coverage is
    what is promised, so the scale is the one of the smallest worse gap to 50 % and 90 %.
    """
    features = np.array(
        [
            [math.log(max(variance, LEAST_VARIANCE)), -logit(sample.score)]
            for sample in hits
            for variance in sample.variances
        ]
    )
    squares = np.array([o * o for sample in hits for o in sample.offset or ()])
    power, doubt, level = variance_regression(features, squares)
    shape = np.exp(features @ [power, doubt] + level)
    distance = (squares / shape).reshape(-1, 2).sum(1)
    # A 2D Gaussian's 90 % ellipse has a squared radius of -2 ln 0.1.
    factors = np.quantile(distance, np.linspace(0.84, 0.94, 101)) / (-2 * math.log(0.1))

    def gap(factor: float) -> float:
        half, most = (share(distance / factor <= -2 * math.log(rest)) for rest in (0.5, 0.1))
        return max(abs(half - 0.5), abs(most - 0.9))

    return float(min(factors, key=gap) * math.exp(level)), float(power), float(doubt)
