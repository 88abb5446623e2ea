"""Fit a checkpoint's calibration on held-out questions, and measure on others whether its certainties keep what they promise.

samples = collect(pointer, examples)            # a pointer without calibration: raw numbers
calibration = fit(samples, "500 held-out scenes")
quality = measure(apply(calibration, collect(pointer, others)))
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from molmo_point.engine.calibration import (
    LEAST_VARIANCE,
    Calibration,
    logit,
    score_features,
)
from molmo_point.errors import UsageError
from molmo_point.evaluate.examples import Box, Example, Mask, Region
from molmo_point.pointer import Pointer
from molmo_point.points import Point

Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class PointSample:
    """One point of an answer, beside the truth.

    Attributes:
        score: 0-1; variances: (x, y) in norm units squared.
        hit: It lies on an asked thing.
        offset: From the point to the middle of the thing it lies on, norm units; None for a miss.
        absent: The answer's probability that there is nothing, 0-1.
    """

    score: float
    variances: tuple[float, float]
    hit: bool
    offset: tuple[float, float] | None
    absent: float = 0.0


@dataclass(frozen=True)
class AbsenceSample:
    """One answer's probability that there is nothing, and whether there was."""

    probability: float
    absent: bool


@dataclass(frozen=True)
class Samples:
    """What a set of questions gave."""

    points: tuple[PointSample, ...]
    absences: tuple[AbsenceSample, ...]


@dataclass(frozen=True)
class Quality:
    """Do the certainties keep what they promise?

    Attributes:
        expected_calibration_error: Mean gap between score and share of hits over ten equal bins, weighted by their size.
        auroc: Probability that a hit has a higher score than a miss (0.5 = the score says nothing).
        coverage_50, coverage_90: Share of hits whose thing's middle lies in the 50 % and the 90 % ellipse.
        absence_auroc: The same for absent against present things.
        points, misses: How many points were judged, how many of them were misses.
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


def collect(pointer: Pointer, examples: Iterable[Example]) -> Samples:
    """Ask every question and set the answers' certainties beside the truth."""
    points: list[PointSample] = []
    absences: list[AbsenceSample] = []
    for example in examples:
        ask = pointer.count if example.mode == "count" else pointer.point
        pointing = ask(example.image, example.query)
        none = pointing.absent_probability
        points += [
            _judge(p, example.regions, none or 0.0) for p in pointing.points if p.covariance
        ]
        if none is not None:
            absences.append(AbsenceSample(none, not example.regions))
    return Samples(tuple(points), tuple(absences))


def joined(samples: Iterable[Samples]) -> Samples:
    """Return the samples of several sets of questions as one."""
    every = tuple(samples)
    return Samples(
        tuple(point for one in every for point in one.points),
        tuple(answer for one in every for answer in one.absences),
    )


def _judge(point: Point, regions: Sequence[Region], absent: float) -> PointSample:
    assert point.covariance is not None
    assert point.score is not None
    xx, _, yy = point.covariance
    on = [region for region in regions if region.contains(point.x, point.y)]
    offset = None
    if on:
        offsets = [(x - point.x, y - point.y) for x, y in map(middle, on)]
        offset = min(offsets, key=lambda pair: math.hypot(*pair))
    return PointSample(point.score, (xx, yy), bool(on), offset, absent)


def middle(region: Region) -> tuple[float, float]:
    """Return the centre of a box, the centroid of a mask; norm units."""
    if isinstance(region, Box):
        return (region.left + region.right) / 2, (region.top + region.bottom) / 2
    if isinstance(region, Mask):
        rows, columns = np.nonzero(region.inside)
        height, width = region.inside.shape
        return float((columns.mean() + 0.5) / width), float((rows.mean() + 0.5) / height)
    raise UsageError(f"expected a Box or a Mask, got {type(region).__name__}: it has no middle")


def fit(samples: Samples, measured_on: str) -> Calibration:
    """Fit a calibration to raw samples.

    Raises:
        UsageError: Fewer than 20 hits or misses, absent or present questions: too little to fit anything on.
    """
    hits = sum(sample.hit for sample in samples.points)
    gone = sum(sample.absent for sample in samples.absences)
    few = {
        "hits": hits,
        "misses": len(samples.points) - hits,
        "absent questions": gone,
        "present questions": len(samples.absences) - gone,
    }
    lacking = [f"{count} {name}" for name, count in few.items() if count < 20]
    if lacking:
        raise UsageError(
            f"expected at least 20 of each to fit on, got {', '.join(lacking)}: ask more questions"
        )
    features = np.array([score_features(s.score, *s.variances, s.absent) for s in samples.points])
    weights = logistic_regression(features, np.array([s.hit for s in samples.points], float))
    doubts = np.array([[logit(s.probability)] for s in samples.absences])
    absent = logistic_regression(doubts, np.array([s.absent for s in samples.absences], float))
    scale, power, doubt = _fit_variance([s for s in samples.points if s.offset is not None])
    return Calibration(
        score_weights=tuple(weights[:-1].tolist()),
        score_bias=float(weights[-1]),
        variance_scale=scale,
        variance_power=power,
        variance_doubt=doubt,
        absent_weight=float(absent[0]),
        absent_bias=float(absent[1]),
        measured_on=measured_on,
    )


def logistic_regression(features: Floats, labels: Floats, *, ridge: float = 1e-2) -> Floats:
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


def _fit_variance(hits: Sequence[PointSample]) -> tuple[float, float, float]:
    """Find (scale, power, doubt) of `Calibration.variance`.

    The powers are the most likely ones if offsets are Gaussian. They are not, quite: real ones have longer tails. Coverage is
    what is promised, so the scale is the one of the smallest worse gap to 50 % and 90 %.
    """
    features = np.array(
        [
            [math.log(max(variance, LEAST_VARIANCE)), -logit(sample.score)]
            for sample in hits
            for variance in sample.variances
        ]
    )
    squares = np.array([o * o for sample in hits for o in sample.offset or ()])
    power, doubt, level = variance_regression(features, squares)
    shape = np.exp(features @ [power, doubt] + level)
    distance = (squares / shape).reshape(-1, 2).sum(1)
    # A 2D Gaussian's 90 % ellipse has a squared radius of -2 ln 0.1.
    factors = np.quantile(distance, np.linspace(0.84, 0.94, 101)) / (-2 * math.log(0.1))

    def gap(factor: float) -> float:
        half, most = (_share(distance / factor <= -2 * math.log(rest)) for rest in (0.5, 0.1))
        return max(abs(half - 0.5), abs(most - 0.9))

    return float(min(factors, key=gap) * math.exp(level)), float(power), float(doubt)


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


def apply(calibration: Calibration, samples: Samples) -> Samples:
    """Return raw samples as the calibration makes them."""
    return Samples(
        tuple(_calibrated(calibration, sample) for sample in samples.points),
        tuple(replace(s, probability=calibration.absent(s.probability)) for s in samples.absences),
    )


def _calibrated(calibration: Calibration, sample: PointSample) -> PointSample:
    score, xx, yy = calibration.point(sample.score, *sample.variances, sample.absent)
    return replace(sample, score=score, variances=(xx, yy))


def measure(samples: Samples, *, bins: int = 10) -> Quality:
    """Measure certainties against the truth, on samples that nothing was fitted on."""
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
    gone = np.array([sample.absent for sample in samples.absences])
    doubts = np.array([sample.probability for sample in samples.absences])
    return Quality(
        expected_calibration_error=error,
        auroc=auroc(scores[hits], scores[~hits]),
        coverage_50=_share(distance <= -2 * math.log(0.5)),
        coverage_90=_share(distance <= -2 * math.log(0.1)),
        absence_auroc=auroc(doubts[gone], doubts[~gone]),
        points=len(scores),
        misses=int((~hits).sum()),
        bins=table,
    )


def _share(flags: np.ndarray[Any, np.dtype[np.bool_]]) -> float:
    """How many are true; NaN where there are none at all."""
    return float(flags.mean()) if len(flags) else math.nan


def auroc(positives: Floats, negatives: Floats) -> float:
    """Return the probability that a positive is above a negative, ties half; NaN where one side is empty."""
    if not len(positives) or not len(negatives):
        return math.nan
    order = np.sort(negatives)
    below = np.searchsorted(order, positives, "left") + np.searchsorted(order, positives, "right")
    return float(below.mean() / 2 / len(negatives))
