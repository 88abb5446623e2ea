"""A checkpoint's calibration: how its raw certainties relate to what was measured on held-out data.

A small JSON file, `calibration.json`, beside the weights, written by `molmo-point calibrate`. Without it raw numbers are
handed out, marked `calibrated=False`.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from molmo_point.errors import CheckpointError

FILE = "calibration.json"

Floats = np.ndarray[Any, np.dtype[np.float64]]

LEAST_VARIANCE = 1e-8
"""Norm units squared: a tenth of what the last digit of a coordinate leaves open. Keeps logarithms finite."""

MOST_VARIANCE = 1 / 3
"""Anywhere along the side, seen from its edge: no more is meant, whatever a probe reads in a picture unlike those of its fit."""


class Spread(BaseModel):
    """How far off along one axis: variance = scale * raw ** power * ((1 - score) / score) ** doubt * exp(probe . state).

    In norm units squared, from the raw variance and the raw score: where the middle of the thing lies about the point, given that
    the point is on the right thing. How far a point is off shows in how little the model believes in it, often more than in its
    digits; and in what it is that was asked for.

    Attributes:
        scale, power, doubt: As above.
        probe: See `Calibration`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scale: float = Field(gt=0)
    power: float = 1.0
    doubt: float = 0.0
    probe: tuple[float, ...] = ()

    def variance(self, raw: float, score: float, hint: float) -> float:
        """Return the variance from the raw one, the raw score, and what the probe reads."""
        spread, doubt = spread_features(raw, score)
        level = math.log(self.scale) + self.power * spread + self.doubt * doubt + hint
        return math.exp(min(max(level, math.log(LEAST_VARIANCE)), math.log(MOST_VARIANCE)))


@dataclass(frozen=True)
class Hints:
    """What the probes of a calibration read in one answer's state: log odds, and logarithms of variances."""

    score: float = 0.0
    spread_x: float = 0.0
    spread_y: float = 0.0


class Calibration(BaseModel):
    """Logistic maps from raw certainties to probabilities, and power laws from raw to real variances.

    A probe is a vector of weights of the decoder's output at the end of the question, after the last norm, from which the first
    token is chosen [D]. It knows which questions tend to be answered wrongly (Kadavath et al., "Language Models (Mostly) Know
    What They Know", 2022), and which things are wide. Empty where it was not seen to help.

    Attributes:
        score_weights, score_bias: Logistic regression on `score_features`; 1 = the point is on the asked thing.
        score_probe: Its further weights.
        spread_x, spread_y: Of the two axes.
        absent_weight, absent_bias: Logistic map on the log odds of the raw probability of "none".
        measured_on: What it was fitted on, in words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    score_weights: tuple[float, float, float, float]
    score_bias: float
    score_probe: tuple[float, ...] = ()
    spread_x: Spread
    spread_y: Spread
    absent_weight: float
    absent_bias: float
    measured_on: str

    @property
    def probes(self) -> tuple[tuple[float, ...], ...]:
        """Those of the score and of both axes; each as wide as the decoder, or empty."""
        return self.score_probe, self.spread_x.probe, self.spread_y.probe

    def hints(self, state: Floats | None) -> Hints:
        """Return what the probes read in a state [D]; nothing in None."""
        if state is None:
            return Hints()
        return Hints(*(float(np.array(p) @ state) if p else 0.0 for p in self.probes))

    def point(
        self, score: float, variance_x: float, variance_y: float, absent: float, hints: Hints
    ) -> tuple[float, float, float]:
        """Return score and variances of a point from the raw ones, the answer's raw probability of "none", and its hints."""
        features = score_features(score, variance_x, variance_y, absent)
        odds = sum(w * f for w, f in zip(self.score_weights, features, strict=True))
        return (
            sigmoid(odds + self.score_bias + hints.score),
            self.spread_x.variance(variance_x, score, hints.spread_x),
            self.spread_y.variance(variance_y, score, hints.spread_y),
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


def spread_features(raw: float, score: float) -> tuple[float, float]:
    """Return what a variance is computed from: the logarithm of the raw one, the log odds against the point."""
    return math.log(max(raw, LEAST_VARIANCE)), -logit(score)


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
    wrong = {len(probe) for probe in calibration.probes} - {0, width}
    if wrong:
        raise CheckpointError(
            f"{path} is another model's: expected probes of {width} weights, got {wrong.pop()}; "
            "make one for this checkpoint with molmo-point calibrate"
        )
    return calibration
