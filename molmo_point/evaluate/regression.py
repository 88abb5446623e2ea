"""Linear regressions with ridge: logistic, and of a variance."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from molmo_point.engine.score_calibration import LEAST_VARIANCE, Floats

PLAIN_RIDGE = 1e-2
"""Ridge for few features: it keeps weights finite on separable data."""

FREEDOM = 3.0
"""Degrees of freedom of Student's t for offsets, whose tails are long."""


@dataclass(frozen=True)
class Regression:
    """A regression.

    Attributes:
        fit: (features [N, F], targets [N], ridge: number or [F]) -> weights [F + 1], the bias last.
        loss: (linear predictions [N], targets [N]) -> losses [N].
    """

    fit: Callable[[Floats, Floats, Floats | float], Floats]
    loss: Callable[[Floats, Floats], Floats]


def logistic_regression(
    features: Floats, labels: Floats, ridge: Floats | float = PLAIN_RIDGE
) -> Floats:
    """Return the weights of the log odds, the bias last, by Newton's method with ridge on standardised features.

    Args:
        features: [N, F]; labels: [N], 0 or 1.
    """
    x, mean, deviation = _standardised(features)
    penalty = _penalty(x, ridge)
    weights = np.zeros(x.shape[1])
    for _ in range(50):
        guess = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        gradient = x.T @ (guess - labels) + penalty * weights
        curvature = (x * (guess * (1 - guess))[:, None]).T @ x + np.diag(penalty + 1e-9)
        step = np.linalg.solve(curvature, gradient)
        weights -= step
        if np.abs(step).max() < 1e-9:
            break
    return _unstandardised(weights, mean, deviation)


def log_loss(odds: Floats, labels: Floats) -> Floats:
    """Return each label's logarithmic loss [N] under its predicted log odds [N]."""
    return np.logaddexp(0, np.where(labels > 0.5, -odds, odds))


def variance_regression(
    features: Floats, squares: Floats, ridge: Floats | float = PLAIN_RIDGE
) -> Floats:
    """Return the maximum likelihood weights of the logarithm of a squared scale under Student's t, the bias last.

    A Gaussian would fit the few outliers and be too wide for all others (Lange et al., "Robust Statistical Modeling
    Using the t Distribution", 1989).

    Args:
        features: [N, F]; squares: [N], squared deviations from 0.
    """
    x, mean, deviation = _standardised(features)
    penalty = _penalty(x, ridge)
    scoring = np.linalg.inv(x.T @ x / 2 + np.diag(penalty + 1e-9))
    weights = np.zeros(x.shape[1])
    weights[-1] = math.log(max(float(np.median(squares)), LEAST_VARIANCE))

    def loss(weights: Floats) -> float:
        return float(variance_loss(x @ weights, squares).sum() + weights @ (penalty * weights) / 2)

    for _ in range(200):
        ratio = squares * np.exp(-x @ weights)
        ratio *= (FREEDOM + 1) / (FREEDOM + ratio)
        step = scoring @ (x.T @ (1 - ratio) / 2 + penalty * weights)
        while loss(weights - step) > loss(weights) and np.abs(step).max() > 1e-9:
            step = step / 2
        weights = weights - step
        if np.abs(step).max() < 1e-6:
            break
    return _unstandardised(weights, mean, deviation)


def variance_loss(logarithms: Floats, squares: Floats) -> Floats:
    """Return the negative log likelihoods [N] of squares [N] under Student's t with these log squared scales [N], up to a
    constant."""
    tail = np.log1p(squares * np.exp(-logarithms) / FREEDOM)
    return (logarithms + (FREEDOM + 1) * tail) / 2


PROBABILITY = Regression(logistic_regression, log_loss)
VARIANCE = Regression(variance_regression, variance_loss)


def _standardised(features: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the features [N, F + 1] with mean 0 and deviation 1 and a last column of ones; means; deviations."""
    mean, deviation = features.mean(0), features.std(0) + 1e-9
    return (
        np.column_stack([(features - mean) / deviation, np.ones(len(features))]),
        mean,
        deviation,
    )


def _penalty(x: Floats, ridge: Floats | float) -> Floats:
    """Return the ridge of each weight; 0 for the bias."""
    return np.append(np.broadcast_to(ridge, x.shape[1] - 1), 0.0)


def _unstandardised(weights: Floats, mean: Floats, deviation: Floats) -> Floats:
    scaled = weights[:-1] / deviation
    return np.append(scaled, weights[-1] - (scaled * mean).sum())
