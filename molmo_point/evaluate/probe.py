"""A regression on a few features, with a linear probe on hidden features of the decoder where held-out points gain from it.

A probe has twice as many weights as the decoder is wide, and overfits few points: cross-validation decides on its ridge, and on
whether it is used at all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from molmo_point.engine.score_calibration import Floats
from molmo_point.evaluate.regression import PLAIN_RIDGE, Regression

RIDGES = (30.0, 100.0, 200.0, 400.0, 800.0, 1600.0)
"""Candidates for the ridge of the probe's weights."""

FOLDS = 5
BLOCK = 50
"""Points held out together, where there are enough: points of one image are neighbours, and not independent."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted regression.

    Attributes:
        weights: [F], of the features.
        probe: [S], of the hidden features, or [0].
        bias: Constant.
        held_out: [N], the linear prediction of each point by a fit without it.
    """

    weights: Floats
    probe: Floats
    bias: float
    held_out: Floats


def fit_with_probe(
    regression: Regression, features: Floats, states: Floats | None, targets: Floats
) -> Fitted:
    """Fit on features [N, F], with a probe where it lowers the held-out loss by twice the standard error of the difference.

    Args:
        states: [N, S] hidden features; None where unknown.
        targets: [N], of the regression.
    """
    ridge, used = np.full(features.shape[1], PLAIN_RIDGE), features
    held_out = _held_out(regression, features, targets, ridge)
    if states is not None:
        wide = np.hstack([features, states])
        ridges = {
            ridge: np.repeat([PLAIN_RIDGE, ridge], [features.shape[1], states.shape[1]])
            for ridge in RIDGES
        }
        ways = {ridge: _held_out(regression, wide, targets, ridges[ridge]) for ridge in RIDGES}
        losses = {ridge: regression.loss(way, targets) for ridge, way in ways.items()}
        best = min(RIDGES, key=lambda ridge: losses[ridge].mean())
        gain = regression.loss(held_out, targets) - losses[best]
        if gain.mean() > 2 * gain.std() / math.sqrt(len(gain)):
            ridge, used, held_out = ridges[best], wide, ways[best]
    weights = regression.fit(used, targets, ridge)
    own = features.shape[1]
    return Fitted(weights[:own], weights[own:-1], float(weights[-1]), held_out)


def _held_out(regression: Regression, features: Floats, targets: Floats, ridge: Floats) -> Floats:
    """Return the linear prediction [N] of each point by a fit without it."""
    block = max(1, min(BLOCK, len(targets) // FOLDS))
    fold = np.arange(len(targets)) // block % FOLDS
    predictions = np.zeros(len(targets))
    for number in np.unique(fold):
        out = fold == number
        weights = regression.fit(features[~out], targets[~out], ridge)
        predictions[out] = features[out] @ weights[:-1] + weights[-1]
    return predictions
