"""A checkpoint's calibration: how its raw certainties relate to what was measured on held-out data.

A small JSON file, `calibration.json`, beside the weights, written by `molmo-point calibrate`. Without it raw numbers are
handed out, marked `calibrated=False`.
"""

from __future__ import annotations

import json
import math
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from molmo_point.errors import CheckpointError

FILE = "calibration.json"

Floats = np.ndarray[Any, np.dtype[np.float64]]

LEAST_VARIANCE = 1e-8
"""Norm units squared: a tenth of what the last digit of a coordinate leaves open. Keeps logarithms finite."""


class Calibration(BaseModel):
    """Logistic maps from raw certainties to probabilities, and a power law from raw variances and scores to real variances.

    Attributes:
        score_weights, score_bias: Logistic regression on `score_features`; 1 = the point is on the asked thing.
        probe: Its further weights: of the decoder's output at the end of the question, after the last norm, from which the first
            token is chosen [D]. It knows which questions tend to be answered wrongly (Kadavath et al., "Language Models (Mostly)
            Know What They Know", 2022). Empty where it was not seen to help.
        variance_scale, variance_power, variance_doubt: variance = scale * raw ** power * ((1 - score) / score) ** doubt, with the
            raw score, in norm units squared: where the middle of the thing lies about the point, given that the point is on the
            right thing. How far a point is off shows in how little the model believes in it, often more than in its digits.
        absent_weight, absent_bias: Logistic map on the log odds of the raw probability of "none".
        measured_on: What it was fitted on, in words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    score_weights: tuple[float, float, float, float]
    score_bias: float
    probe: tuple[float, ...] = ()
    variance_scale: float = Field(gt=0)
    variance_power: float = 1.0
    variance_doubt: float = 0.0
    absent_weight: float
    absent_bias: float
    measured_on: str

    @cached_property
    def _probe(self) -> Floats:
        return np.array(self.probe)

    def hint(self, state: Floats | None) -> float:
        """Return what the probe reads in a state [D]: log odds that are added to those of each point of the answer.

        None and a calibration without a probe give 0.
        """
        return float(self._probe @ state) if self.probe and state is not None else 0.0

    def score(
        self, raw: float, variance_x: float, variance_y: float, absent: float, hint: float = 0.0
    ) -> float:
        """Return the probability that a point is on the asked thing."""
        features = score_features(raw, variance_x, variance_y, absent)
        weighted = sum(w * f for w, f in zip(self.score_weights, features, strict=True))
        return sigmoid(weighted + self.score_bias + hint)

    def variance(self, raw: float, score: float) -> float:
        """Return the variance of one axis, from the raw one and the raw score."""
        spread = self.variance_power * math.log(max(raw, LEAST_VARIANCE))
        return self.variance_scale * math.exp(spread - self.variance_doubt * logit(score))

    def point(
        self, score: float, variance_x: float, variance_y: float, absent: float, hint: float = 0.0
    ) -> tuple[float, float, float]:
        """Return score and variances of a point from the raw ones, the answer's raw probability of "none", and its hint."""
        return (
            self.score(score, variance_x, variance_y, absent, hint),
            self.variance(variance_x, score),
            self.variance(variance_y, score),
        )

    def absent(self, raw: float) -> float:
        """Return the probability that nothing matches."""
        return sigmoid(self.absent_weight * logit(raw) + self.absent_bias)


def score_features(
    raw: float, variance_x: float, variance_y: float, absent: float
) -> tuple[float, float, float, float]:
    """Return what the score is computed from: log odds of the point, log standard deviations of both axes, log odds of none."""
    return (
        logit(raw),
        0.5 * math.log(max(variance_x, LEAST_VARIANCE)),
        0.5 * math.log(max(variance_y, LEAST_VARIANCE)),
        logit(absent),
    )


def logit(probability: float) -> float:
    """Return log odds, kept finite."""
    clipped = min(max(probability, 1e-6), 1 - 1e-6)
    return math.log(clipped / (1 - clipped))


def sigmoid(x: float) -> float:
    """Return the probability of log odds; the inverse of `logit`."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def read_calibration(folder: Path, width: int) -> Calibration | None:
    """Read the calibration beside a checkpoint, or None where there is none.

    Args:
        width: Of the checkpoint's decoder.

    Raises:
        CheckpointError: The file is there but damaged, or another model's.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        calibration = Calibration.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, ValidationError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    if calibration.probe and len(calibration.probe) != width:
        raise CheckpointError(
            f"{path} is another model's: expected a probe of {width} weights, got {len(calibration.probe)}; "
            "make one for this checkpoint with molmo-point calibrate"
        )
    return calibration
