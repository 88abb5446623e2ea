"""Two regressions with a little ridge: of a probability, and of a variance."""

from __future__ import annotations

import math

import numpy as np

from molmo_point.engine.calibration import LEAST_VARIANCE, Floats

PLAIN_RIDGE = 1e-2
"""Enough where there are few features: it keeps separable data finite."""


def logistic_regression(features: Floats, labels: Floats, *, ridge: float = PLAIN_RIDGE) -> Floats:
    """Return weights and, last, the bias (Newton's method, a little ridge on standardised features).

    Args:
        features: [N, F]; labels: [N], 0 or 1.
    """
    mean, deviation = features.mean(0), features.std(0) + 1e-9
    x = np.column_stack([(features - mean) / deviation, np.ones(len(features))])
    penalty = ridge * np.eye(x.shape[1])
    penalty[-1, -1] = 0
    weights = np.zeros(x.shape[1])
    for _ in range(50):
        guess = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        gradient = x.T @ (guess - labels) + penalty @ weights
        curvature = (x * (guess * (1 - guess))[:, None]).T @ x + penalty
        step = np.linalg.solve(curvature + 1e-9 * np.eye(len(weights)), gradient)
        weights -= step
        if np.abs(step).max() < 1e-9:
            break
    scaled = weights[:-1] / deviation
    return np.append(scaled, weights[-1] - (scaled * mean).sum())


def log_loss(odds: Floats, labels: Floats) -> Floats:
    """Return each label's logarithmic loss [N] under its predicted log odds [N]."""
    return np.logaddexp(0, np.where(labels > 0.5, -odds, odds))


def variance_regression(features: Floats, squares: Floats, *, ridge: float = 1e-6) -> Floats:
    """Return weights and, last, the bias of the logarithm of a variance: the most likely ones (Fisher scoring).

    Args:
        features: [N, F]; squares: [N], squared deviations from 0.
    """
    x = np.column_stack([features, np.ones(len(features))])
    curvature = x.T @ x + ridge * len(x) * np.eye(x.shape[1])
    weights = np.zeros(x.shape[1])
    weights[-1] = math.log(max(float(squares.mean()), LEAST_VARIANCE))

    def loss(weights: Floats) -> float:
        return float((x @ weights + squares * np.exp(-x @ weights)).sum())

    for _ in range(100):
        step = np.linalg.solve(curvature, x.T @ (1 - squares * np.exp(-x @ weights)))
        while loss(weights - step) > loss(weights) and np.abs(step).max() > 1e-9:
            step = step / 2
        weights = weights - step
        if np.abs(step).max() < 1e-6:
            break
    return weights
