"""A checkpoint's calibration: how its raw certainties relate to what was measured on held-out data.

A small JSON file, `calibration.json`, beside the weights, written by `molmo-point calibrate`. Without it raw numbers are
handed out, marked `calibrated=False`.
"""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass, field
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


NEAREST_EDGE = 0.02
"""Added to a point's distance from an edge, in norm units: keeps the logarithm finite, and edges as wide as what they cut off."""


@dataclass(frozen=True)
class Raw:
    """What is known of a point before any calibration.

    Attributes:
        score: 0-1; variances: (x, y) in norm units squared; see `uncertainty`.
        absent: The answer's probability that there is nothing, 0-1.
        place: (x, y) of the point, norm.
        state: What probes read [2 D], see `Trace.state`; None where it cannot be had.
    """

    score: float
    variances: tuple[float, float]
    absent: float = field(default=0.0, kw_only=True)
    place: tuple[float, float] = field(default=(0.5, 0.5), kw_only=True)
    state: Floats | None = field(default=None, kw_only=True)


class Spread(BaseModel):
    """How far off along one axis: variance = scale * raw ** power * ((1 - score) / score) ** doubt * exp(probe . state).

    In norm units squared, from the raw variance and the raw score: where the middle of the thing lies about the point, given that
    the point is on the right thing. How far a point is off shows in how little the model believes in it, often more than in its
    digits; and in what it is that was asked for.

    Attributes:
        scale, power, doubt: As above.
        probe: See `Calibration`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    scale: float = Field(gt=0)
    power: float = 1.0
    doubt: float = 0.0
    probe: tuple[float, ...] = ()

    def variance(self, raw: float, score: float, hint: float) -> float:
        """Return the variance from the raw one, the raw score, and what the probe reads."""
        spread, doubt = spread_features(raw, score)
        level = math.log(self.scale) + self.power * spread + self.doubt * doubt + hint
        return math.exp(min(max(level, math.log(LEAST_VARIANCE)), math.log(MOST_VARIANCE)))


class Calibration(BaseModel):
    """Logistic maps from raw certainties to probabilities, and power laws from raw to real variances.

    A probe is a vector of weights of what the decoder has come to at the end of the question and at the end of the point [2 D].
    It knows which questions tend to be answered wrongly (Kadavath et al., "Language Models (Mostly) Know What They Know", 2022),
    and which things are wide. Empty where it was not seen to help.

    Attributes:
        score_weights, score_bias: Logistic regression on `score_features`; 1 = the point is on the asked thing.
        score_probe: Its further weights.
        spread_x, spread_y: Of the two axes.
        absent_weight, absent_bias: Logistic map on the log odds of the raw probability of "none".
        measured_on: What it was fitted on, in words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    score_weights: tuple[float, float, float, float, float, float]
    score_bias: float
    score_probe: tuple[float, ...] = ()
    spread_x: Spread
    spread_y: Spread
    absent_weight: float
    absent_bias: float
    measured_on: str

    @property
    def probes(self) -> tuple[tuple[float, ...], ...]:
        """Those of the score and of both axes; each twice as wide as the decoder, or empty."""
        return self.score_probe, self.spread_x.probe, self.spread_y.probe

    @functools.cached_property
    def _probe_rows(self) -> Floats:
        """[3, 2 D]: the probes, zeros for those that are empty."""
        width = max(map(len, self.probes))
        return np.array([probe or (0.0,) * width for probe in self.probes])

    def point(self, raw: Raw) -> tuple[float, tuple[float, float]]:
        """Return score and variances (x, y) of a point."""
        hints = [0.0] * 3
        if raw.state is not None and any(self.probes):
            hints = (self._probe_rows @ raw.state).tolist()
        odds = sum(w * f for w, f in zip(self.score_weights, score_features(raw), strict=True))
        x, y = raw.variances
        return (
            sigmoid(odds + self.score_bias + hints[0]),
            (
                self.spread_x.variance(x, raw.score, hints[1]),
                self.spread_y.variance(y, raw.score, hints[2]),
            ),
        )

    def absent(self, raw: float) -> float:
        """Return the probability that nothing matches."""
        return sigmoid(self.absent_weight * logit(raw) + self.absent_bias)


def score_features(raw: Raw) -> tuple[float, ...]:
    """Return what the score is computed from, besides the state.

    Log odds of the point, log standard deviations of both axes, log odds of none, and for both axes the logarithm of the distance
    from the nearer edge: what lies there is cut off, or was missed.
    """
    return (
        logit(raw.score),
        *(0.5 * math.log(max(variance, LEAST_VARIANCE)) for variance in raw.variances),
        logit(raw.absent),
        *(math.log(NEAREST_EDGE + max(0.0, min(part, 1 - part))) for part in raw.place),
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
        width: Of the checkpoint's decoder, D.

    Raises:
        CheckpointError: The file is there but damaged, or another model's.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        calibration = Calibration.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError, ValidationError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    wrong = {len(probe) for probe in calibration.probes} - {0, 2 * width}
    if wrong:
        raise CheckpointError(
            f"{path} is another model's: expected probes of {2 * width} weights, got {wrong.pop()}; "
            "make one for this checkpoint with molmo-point calibrate"
        )
    return calibration
