"""A checkpoint's score calibration: from raw probabilities and variances to those measured on held-out data.

It is a small JSON file, `calibration.json`, beside the weights, written by `molmo-point calibrate-scores`. Without it raw
numbers are returned, with `calibrated=False`.
"""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from molmo_point.engine.domain import Domain
from molmo_point.errors import CheckpointError

FILE = "calibration.json"

VERSION = 2

Floats = NDArray[np.float64]

LEAST_VARIANCE = 1e-8
"""Norm units squared: a tenth of the variance of rounding to the last digit. Keeps logarithms finite."""

MOST_VARIANCE = 1 / 3
"""Norm units squared: uniform over the side, seen from its edge. Bounds a probe on images unlike those of its fit."""

NEAREST_EDGE = 0.02
"""Norm units, added to a point's distance from an edge: keeps the logarithm finite; the width of edges that cut objects off."""


@dataclass(frozen=True)
class RawConfidence:
    """A point's confidence before calibration.

    Attributes:
        score: 0-1; variances: (x, y) in norm units squared; see `uncertainty`.
        absent: The answer's raw probability that nothing matches, 0-1.
        position: (x, y) of the point, norm.
        hidden_features: Input of the probes [2 D], see `ConfidenceTracker.hidden_features`; None where there is none.
    """

    score: float
    variances: tuple[float, float]
    absent: float = field(default=0.0, kw_only=True)
    position: tuple[float, float] = field(default=(0.5, 0.5), kw_only=True)
    hidden_features: Floats | None = field(default=None, kw_only=True)


class VarianceModel(BaseModel):
    """Variance of a point along one axis, in norm units squared.

        variance = scale * raw ** power * ((1 - score) / score) ** doubt * exp(probe . hidden_features)

    It is the variance of the object's centre about the point, given that the point is on the right object. A low score often
    tells more about the offset than the digits do, and so does the query (through the probe).

    Attributes:
        scale, power, doubt: As above; keys of `calibration.json`.
        probe: See `Calibration`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    scale: float = Field(gt=0)
    power: float = 1.0
    doubt: float = 0.0
    probe: tuple[float, ...] = ()

    def variance(self, raw: float, score: float, probe_offset: float) -> float:
        """Return the variance.

        Args:
            raw: Raw variance, in norm units squared.
            score: Raw score, 0-1.
            probe_offset: probe . hidden_features, added to the logarithm of the variance.
        """
        log_raw, log_odds_against = spread_features(raw, score)
        level = math.log(self.scale) + self.power * log_raw + self.doubt * log_odds_against
        level += probe_offset
        return math.exp(min(max(level, math.log(LEAST_VARIANCE)), math.log(MOST_VARIANCE)))


class Calibration(BaseModel):
    """Logistic maps from raw to calibrated probabilities, and power laws from raw to calibrated variances.

    A probe is a linear map of the hidden features [2 D]. It learns which questions tend to be answered wrongly (Kadavath et al.,
    "Language Models (Mostly) Know What They Know", 2022), and which objects are wide. It is empty where it did not help on
    held-out data.

    Attributes:
        score_weights, score_bias: Logistic regression on `score_features`; 1 = the point is on a matching object.
        score_probe: Further weights of that regression.
        spread_x, spread_y: Variance models of the two axes.
        absent_weight, absent_bias: Logistic map on the log odds of the raw absence probability.
        measured_on: Description of the data of the fit.
        version: Of this format. 1: without `weights` and `domain`.
        weights: `weights_digest` of the checkpoint; "" = not known.
        domain: Tells images that are like those of the fit from others; None = not known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    score_weights: tuple[float, float, float, float, float, float]
    score_bias: float
    score_probe: tuple[float, ...] = ()
    spread_x: VarianceModel
    spread_y: VarianceModel
    absent_weight: float
    absent_bias: float
    measured_on: str
    version: int = Field(default=VERSION, ge=1, le=VERSION)
    weights: str = ""
    domain: Domain | None = None

    @property
    def probes(self) -> tuple[tuple[float, ...], ...]:
        """Probes of the score and of both axes; each of 2 D weights, or empty."""
        return self.score_probe, self.spread_x.probe, self.spread_y.probe

    @functools.cached_property
    def _probe_rows(self) -> Floats:
        """The probes as [3, 2 D], zeros for empty ones."""
        width = max(map(len, self.probes))
        return np.array([probe or (0.0,) * width for probe in self.probes])

    def point(self, raw: RawConfidence) -> tuple[float, tuple[float, float]]:
        """Return score (0-1) and variances (x, y; norm units squared) of a point."""
        offsets = [0.0] * 3
        if raw.hidden_features is not None and any(self.probes):
            offsets = (self._probe_rows @ raw.hidden_features).tolist()
        odds = sum(w * f for w, f in zip(self.score_weights, score_features(raw), strict=True))
        x, y = raw.variances
        return (
            sigmoid(odds + self.score_bias + offsets[0]),
            (
                self.spread_x.variance(x, raw.score, offsets[1]),
                self.spread_y.variance(y, raw.score, offsets[2]),
            ),
        )

    def absent(self, raw: float) -> float:
        """Return the probability that nothing matches, 0-1."""
        return sigmoid(self.absent_weight * logit(raw) + self.absent_bias)


def score_features(raw: RawConfidence) -> tuple[float, ...]:
    """Return the inputs of the score's regression, besides the hidden features.

    Log odds of the raw score, log standard deviations of both axes, log odds of absence, and for both axes the logarithm of the
    distance from the nearer edge: objects there are cut off, or missed.
    """
    return (
        logit(raw.score),
        *(0.5 * math.log(max(variance, LEAST_VARIANCE)) for variance in raw.variances),
        logit(raw.absent),
        *(math.log(NEAREST_EDGE + max(0.0, min(part, 1 - part))) for part in raw.position),
    )


def spread_features(raw: float, score: float) -> tuple[float, float]:
    """Return the inputs of a variance model: logarithm of the raw variance, log odds against the point."""
    return math.log(max(raw, LEAST_VARIANCE)), -logit(score)


def logit(probability: float) -> float:
    """Return log odds; finite also for 0 and 1."""
    clipped = min(max(probability, 1e-6), 1 - 1e-6)
    return math.log(clipped / (1 - clipped))


def sigmoid(x: float) -> float:
    """Return the probability of log odds; the inverse of `logit`."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def read_calibration(folder: Path, width: int, weights: str = "") -> Calibration | None:
    """Return the calibration beside a checkpoint, None where there is none.

    Args:
        width: Width of the checkpoint's decoder, D.
        weights: Its `weights_digest`; "" = not checked.

    Raises:
        CheckpointError: The file is damaged, or belongs to another model.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        calibration = Calibration.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError, ValidationError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    wrong = {len(probe) for probe in calibration.probes} - {0, 2 * width}
    domain = 2 * width if calibration.domain is None else len(calibration.domain.mean)
    problem = ""
    if wrong:
        problem = f"expected probes of {2 * width} weights, got {wrong.pop()}"
    elif domain != 2 * width:
        problem = f"expected a domain of {2 * width} weights, got {domain}"
    elif weights and calibration.weights not in ("", weights):
        problem = f"expected one of the weights {weights}, got one of {calibration.weights}"
    if problem:
        raise CheckpointError(
            f"{path} belongs to another model: {problem}; make one for this checkpoint with molmo-point calibrate-scores"
        )
    return calibration
