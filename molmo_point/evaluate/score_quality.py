"""Collect scores and covariances with their ground truth, and measure how well they are calibrated.

samples = collect(pointer, examples)            # a pointer without calibration: raw numbers
calibration = fit_calibration(samples, "500 held-out scenes")
quality = measure(apply(calibration, collect(pointer, others)))
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from molmo_point.engine.score_calibration import Calibration, Floats, RawConfidence
from molmo_point.evaluate.answer_cache import AnswerCache
from molmo_point.evaluate.scores import offset_to
from molmo_point.examples import Example, Region
from molmo_point.pointer import Pointer
from molmo_point.points import Point, Pointing


@dataclass(frozen=True)
class PointSample(RawConfidence):
    """One point of an answer with its ground truth.

    Attributes:
        hit: Whether it lies on a thing that was asked for.
        offset: From the point to the center of that thing in norm units; None for a miss.
    """

    hit: bool
    offset: tuple[float, float] | None


@dataclass(frozen=True)
class AbsenceSample:
    """The absence probability of one answer, and whether the thing was absent."""

    probability: float
    absent: bool


@dataclass(frozen=True)
class Samples:
    """The samples of a set of questions."""

    points: tuple[PointSample, ...]
    absences: tuple[AbsenceSample, ...]


@dataclass(frozen=True)
class Quality:
    """How well scores and covariances are calibrated.

    Attributes:
        expected_calibration_error: Mean gap between score and share of hits over ten equal bins, weighted by their size.
        auroc: Probability that a hit has a higher score than a miss; 0.5 = no information.
        coverage_50, coverage_90: Share of hits whose thing's center lies in the 50 % and the 90 % ellipse.
        absence_auroc: AUROC of the absence probability, absent against present.
        points, misses: Number of points, and of misses among them.
        bins: (mean score, share of hits, points) of each filled bin: the reliability diagram.
    """

    expected_calibration_error: float
    auroc: float
    coverage_50: float
    coverage_90: float
    absence_auroc: float
    points: int
    misses: int
    bins: tuple[tuple[float, float, int], ...]


def collect(
    pointer: Pointer, examples: Iterable[Example], kept: AnswerCache | None = None
) -> Samples:
    """Ask every question and return scores and covariances with their ground truth.

    Args:
        kept: Answers saved before; new ones are added.
    """
    points: list[PointSample] = []
    absences: list[AbsenceSample] = []
    for example in examples:
        if kept is None:
            pointing, states = _answer(pointer, example)
        else:
            pointing, states = kept.get_or_ask(example, functools.partial(_answer, pointer))
        none = pointing.absent_probability
        for point, state in zip(pointing.points, states, strict=True):
            if point.covariance:
                sample = _judge(point, example.regions)
                points.append(replace(sample, absent=none or 0.0, hidden_features=state))
        if none is not None:
            absences.append(AbsenceSample(none, not example.regions))
    return Samples(tuple(points), tuple(absences))


def _answer(pointer: Pointer, example: Example) -> tuple[Pointing, list[Floats | None]]:
    """Return the answer, and the hidden features of each point where the model runs in this process."""
    # Here: measuring, and asking a server, need no torch.
    from molmo_point.engine.local import LocalPointer

    if isinstance(pointer, LocalPointer):
        return pointer.point_with_features(example.image, example.query, kind=example.mode)
    ask = pointer.count if example.mode == "count" else pointer.point
    pointing = ask(example.image, example.query)
    return pointing, [None] * len(pointing.points)


def joined(samples: Iterable[Samples]) -> Samples:
    """Return the samples of several sets of questions as one."""
    every = tuple(samples)
    return Samples(
        tuple(point for one in every for point in one.points),
        tuple(answer for one in every for answer in one.absences),
    )


def _judge(point: Point, regions: Sequence[Region]) -> PointSample:
    assert point.covariance is not None
    assert point.score is not None
    xx, _, yy = point.covariance
    offset = offset_to(point, regions)
    return PointSample(
        point.score, (xx, yy), offset is not None, offset, position=(point.x, point.y)
    )


def apply(calibration: Calibration, samples: Samples) -> Samples:
    """Return raw samples with calibrated scores and covariances."""
    return Samples(
        tuple(_calibrated(calibration, sample) for sample in samples.points),
        tuple(replace(s, probability=calibration.absent(s.probability)) for s in samples.absences),
    )


def _calibrated(calibration: Calibration, sample: PointSample) -> PointSample:
    score, variances = calibration.point(sample)
    return replace(sample, score=score, variances=variances)


def measure(samples: Samples, *, bins: int = 10) -> Quality:
    """Measure calibration on samples that were not used for fitting."""
    scores = np.array([sample.score for sample in samples.points])
    hits = np.array([sample.hit for sample in samples.points])
    place = np.clip((scores * bins).astype(int), 0, bins - 1)
    filled = [place == index for index in range(bins) if (place == index).any()]
    table = tuple((float(scores[m].mean()), float(hits[m].mean()), int(m.sum())) for m in filled)
    error = sum(count * abs(score - share) for score, share, count in table) / max(1, len(scores))
    on = [sample for sample in samples.points if sample.offset is not None]
    distance = np.array(
        [sum(o * o / v for o, v in zip(s.offset or (), s.variances, strict=True)) for s in on]
    )
    absent = np.array([sample.absent for sample in samples.absences])
    probabilities = np.array([sample.probability for sample in samples.absences])
    return Quality(
        expected_calibration_error=error,
        auroc=auroc(scores[hits], scores[~hits]),
        coverage_50=fraction(distance <= -2 * math.log(0.5)),
        coverage_90=fraction(distance <= -2 * math.log(0.1)),
        absence_auroc=auroc(probabilities[absent], probabilities[~absent]),
        points=len(scores),
        misses=int((~hits).sum()),
        bins=table,
    )


def fraction(flags: np.ndarray[Any, np.dtype[np.bool_]]) -> float:
    """Return the share of true flags; NaN for an empty array."""
    return float(flags.mean()) if len(flags) else math.nan


def auroc(positives: Floats, negatives: Floats) -> float:
    """Return the probability that a positive is above a negative, ties half; NaN where one side is empty."""
    if not len(positives) or not len(negatives):
        return math.nan
    order = np.sort(negatives)
    below = np.searchsorted(order, positives, "left") + np.searchsorted(order, positives, "right")
    return float(below.mean() / 2 / len(negatives))
