"""A checkpoint's calibration: how its raw certainties relate to what was measured on held-out data.

A small JSON file, `calibration.json`, beside the weights. Without it raw numbers are handed out, marked `calibrated=False`.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from molmo_point.errors import CheckpointError

FILE = "calibration.json"
FEATURES = ("near_x", "near_y", "opening", "log_deviation_x", "log_deviation_y")


class Calibration(BaseModel):
    """Logistic maps from raw certainties to probabilities, and a factor on variances.

    Attributes:
        score_weights, score_bias: Of a logistic regression on `FEATURES` (logits of the first three), hit = 1.
        covariance_scale: Factor on the raw variances so that error ellipses cover what they say.
        absent_weight, absent_bias: Of a logistic map on the logit of the raw probability of "none".
        measured_on: What it was fitted on, in words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    score_weights: tuple[float, float, float, float, float]
    score_bias: float
    covariance_scale: float
    absent_weight: float
    absent_bias: float
    measured_on: str

    def score(
        self, near_x: float, near_y: float, opening: float, variance_x: float, variance_y: float
    ) -> float:
        """Return the probability that a point is right."""
        features = score_features(near_x, near_y, opening, variance_x, variance_y)
        weighted = sum(w * f for w, f in zip(self.score_weights, features, strict=True))
        return _sigmoid(weighted + self.score_bias)

    def absent(self, raw: float) -> float:
        """Return the probability that nothing matches."""
        return _sigmoid(self.absent_weight * logit(raw) + self.absent_bias)


def score_features(
    near_x: float, near_y: float, opening: float, variance_x: float, variance_y: float
) -> tuple[float, float, float, float, float]:
    """Return the numbers that the score is computed from, in the order of FEATURES."""
    deviations = (0.5 * math.log(max(variance, 1e-8)) for variance in (variance_x, variance_y))
    return (logit(near_x), logit(near_y), logit(opening), *deviations)  # type: ignore[return-value]


def logit(probability: float) -> float:
    """Return log odds, kept finite."""
    clipped = min(max(probability, 1e-6), 1 - 1e-6)
    return math.log(clipped / (1 - clipped))


def _sigmoid(x: float) -> float:
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
        return Calibration.model_validate(json.loads(path.read_text()))
    except (ValueError, ValidationError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
