"""The distribution of the true number of things, given an answer that counts: points that are right, plus missed things.

The number of right points is Poisson binomial (each point is right with the probability of its score), the number of missed
things negative binomial; its mean depends on the number of points and on how close they lie. Both are fitted on held-out scenes
(`molmo-point calibrate-counts`) and kept in a small JSON file beside the weights.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from molmo_point.counting.spacing import median_spacing
from molmo_point.errors import CheckpointError
from molmo_point.points import Pointing, Status
from molmo_point.record import Record

FILE = "count_calibration.json"
LEVEL = 0.9
"""Probability of the interval."""

ALONE = 0.5
"""Spacing of answers with fewer than two points, as a share of the image's longer side."""

Floats = NDArray[np.float64]


class CountModel(Record, allow_inf_nan=False):
    """The distribution of the true number N = right points + missed things.

        P(point is right) = sigmoid(right_bias + right_score * log odds of its score + right_count * log(1 + points))
        E[missed]         = exp(missed_bias + missed_count * log(1 + points) + missed_spacing * log(spacing))

    Attributes:
        missed_shape: Shape of the negative binomial distribution of missed things; large = Poisson.
        level: Probability mass whose intervals covered `LEVEL` of the answers that it was fitted on.
    """

    right_bias: float = 0.0
    right_score: float = 1.0
    right_count: float = 0.0
    missed_bias: float
    missed_count: float = 0.0
    missed_spacing: float = 0.0
    missed_shape: float = Field(gt=0)
    level: float = Field(default=LEVEL, gt=0, lt=1)

    def distribution(self, scores: Sequence[float], spacing: float | None) -> Floats:
        """Return P(N = n) for n = 0, 1, ... up to where less than 1e-6 is left.

        Args:
            scores: Of the points, 0-1.
            spacing: Median distance of neighbours, as a share of the image's longer side; None below two points.
        """
        missed = negative_binomial(self._expected_misses(scores, spacing), self.missed_shape)
        return np.convolve(poisson_binomial(self._right(scores)), missed)

    def probability(self, things: int, scores: Sequence[float], spacing: float | None) -> float:
        """Return P(N = things) alone."""
        right = poisson_binomial(self._right(scores))[: things + 1]
        mean = self._expected_misses(scores, spacing)
        missed = negative_binomial(mean, self.missed_shape, things)
        return float(right @ missed[::-1][: len(right)])

    def _right(self, scores: Sequence[float]) -> Floats:
        """Return the probability of each point to be right."""
        odds = np.array([_logit(score) for score in scores])
        crowd = math.log1p(len(scores))
        return _sigmoid(self.right_bias + self.right_score * odds + self.right_count * crowd)

    def _expected_misses(self, scores: Sequence[float], spacing: float | None) -> float:
        level = self.missed_bias + self.missed_count * math.log1p(len(scores))
        level += self.missed_spacing * math.log(max(spacing or ALONE, 1e-3))
        return math.exp(min(max(level, -20.0), 8.0))

    def interval(self, scores: Sequence[float], spacing: float | None) -> tuple[int, int]:
        """Return the shortest (low, high), ends included, that holds `level` of the probability."""
        return shortest_interval(self.distribution(scores, spacing), self.level)


class CountCalibration(Record):
    """The contents of `count_calibration.json`.

    Attributes:
        whole: Of answers about the whole image.
        tiles: Of answers in tiles; None where it was not fitted.
        measured_on: Description of the data of the fit.
    """

    whole: CountModel
    tiles: CountModel | None = None
    measured_on: str

    def with_interval(self, pointing: Pointing) -> Pointing:
        """Return a complete answer with its interval; any other one, and one about a foreign image, without."""
        tiled = pointing.tiling is not None and pointing.tiling.looks > 1
        model = self.tiles if tiled else self.whole
        scores = [point.score for point in pointing.points if point.score is not None]
        complete = pointing.status in (Status.FOUND, Status.NOT_FOUND)
        foreign = pointing.in_domain is not None and not pointing.calibrated
        if model is None or foreign or not complete or len(scores) < pointing.count:
            return pointing.replace(count_interval=None)
        return pointing.replace(count_interval=model.interval(scores, median_spacing(pointing)))


def read_count_calibration(folder: Path) -> CountCalibration | None:
    """Return the calibration of counts beside a checkpoint, None where there is none.

    Raises:
        CheckpointError: The file is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        return CountCalibration.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError, ValidationError) as error:
        raise CheckpointError(
            f"{path} is damaged: {error}; make it with molmo-point calibrate-counts"
        ) from error


def poisson_binomial(probabilities: Floats) -> Floats:
    """Return P(k of n independent events happen) for k = 0 to n, by the Fourier transform of its characteristic function."""
    size = len(probabilities) + 1
    roots = np.exp(2j * np.pi * np.arange(size) / size)
    transform = np.prod(1 + np.outer(roots - 1, probabilities), axis=1)
    return np.clip(np.fft.fft(transform).real / size, 0.0, None)


def negative_binomial(mean: float, shape: float, last: int | None = None) -> Floats:
    """Return P(n) for n = 0, 1, ... `last`; variance = mean + mean^2 / shape.

    Args:
        last: None = up to where less than 1e-6 is left.
    """
    spread = math.sqrt(mean + mean * mean / shape)
    numbers = np.arange(int(mean + 12 * spread + 12) if last is None else last + 1)
    steps = (numbers[1:] - 1 + shape) / numbers[1:] * (mean / (mean + shape))
    logs = shape * math.log(shape / (mean + shape)) + np.concatenate(
        [[0.0], np.cumsum(np.log(steps))]
    )
    return np.exp(logs)


def shortest_interval(distribution: Floats, level: float) -> tuple[int, int]:
    """Return the shortest (low, high), ends included, with at least `level` of the mass; of equal ones the most probable."""
    below = np.concatenate([[0.0], np.cumsum(distribution / distribution.sum())])
    for length in range(1, len(distribution) + 1):
        mass = below[length:] - below[:-length]
        low = int(np.argmax(mass))
        if mass[low] >= level - 1e-9:
            return low, low + length - 1
    return 0, len(distribution) - 1


def _logit(probability: float) -> float:
    clipped = min(max(probability, 1e-4), 1 - 1e-4)
    return math.log(clipped / (1 - clipped))


def _sigmoid(values: Floats) -> Floats:
    return 1 / (1 + np.exp(-np.clip(values, -40, 40)))
