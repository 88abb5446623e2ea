"""A checkpoint's calibration: how its raw certainties relate to what was measured on held-out data.

A small JSON file, `calibration.json`, beside the weights, written by `molmo_point.evaluate.calibrate`. Without it raw numbers are
handed out, marked `calibrated=False`.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from molmo_point.errors import CheckpointError

FILE = "calibration.json"


class Calibration(BaseModel):
    """Logistic maps from raw certainties to probabilities, and a power law from raw variances to real ones.

    Attributes:
        score_weights, score_bias: Logistic regression on `score_features`; 1 = the point is on the asked thing.
        variance_scale, variance_power, variance_floor: variance = scale * raw ** power + floor, in norm units squared: where
            the middle of the thing lies about the point, given that the point is on the right thing.
        absent_weight, absent_bias: Logistic map on the log odds of the raw probability of "none".
        measured_on: What it was fitted on, in words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    score_weights: tuple[float, float, float]
    score_bias: float
    variance_scale: float = Field(ge=0)
    variance_power: float = Field(default=1.0, ge=0, le=1)
    variance_floor: float = Field(ge=0)
    absent_weight: float
    absent_bias: float
    measured_on: str

    def score(self, raw: float, variance_x: float, variance_y: float) -> float:
        """Return the probability that a point is on the asked thing."""
        features = score_features(raw, variance_x, variance_y)
        weighted = sum(w * f for w, f in zip(self.score_weights, features, strict=True))
        return sigmoid(weighted + self.score_bias)

    def variance(self, raw: float) -> float:
        """Return the variance of one axis."""
        return float(self.variance_scale * raw**self.variance_power + self.variance_floor)

    def absent(self, raw: float) -> float:
        """Return the probability that nothing matches."""
        return sigmoid(self.absent_weight * logit(raw) + self.absent_bias)


def score_features(raw: float, variance_x: float, variance_y: float) -> tuple[float, float, float]:
    """Return what the score is computed from: log odds of the raw score, and log standard deviations of both axes."""
    return (
        logit(raw),
        0.5 * math.log(max(variance_x, 1e-8)),
        0.5 * math.log(max(variance_y, 1e-8)),
    )


def logit(probability: float) -> float:
    """Return log odds, kept finite."""
    clipped = min(max(probability, 1e-6), 1 - 1e-6)
    return math.log(clipped / (1 - clipped))


def sigmoid(x: float) -> float:
    """Return the probability of log odds; the inverse of `logit`."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def read_calibration(folder: Path) -> Calibration | None:
    """Read the calibration beside a checkpoint, or None where there is none.

    Raises:
        CheckpointError: The file is there but damaged.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        return Calibration.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, ValidationError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
