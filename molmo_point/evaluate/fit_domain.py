"""Fit the domain of a calibration: what tells its own images from foreign ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from molmo_point.engine.domain import OUTSIDE, Domain, Vectors, domain_features
from molmo_point.engine.image_calibration import ImageCalibration
from molmo_point.engine.score_calibration import Calibration, RawConfidence
from molmo_point.errors import UsageError
from molmo_point.evaluate.regression import PLAIN_RIDGE, log_loss, logistic_regression
from molmo_point.evaluate.score_quality import auroc
from molmo_point.evaluate.scores import Proportion, proportion

MIN_IMAGES = 30
"""Images of each kind needed to fit on."""

RIDGES = (3.0, 10.0, 30.0, 100.0, 300.0)
"""Candidates for the ridge of the weights; cross-validation decides."""

FOLDS = 5
OWN_OUTSIDE = 0.01
"""Share of own images that may count as foreign."""


@dataclass(frozen=True)
class ForeignAnswer:
    """The answer to a question about a foreign image, for something that is not in it.

    Attributes:
        image: Index of the image's summary in `DomainSamples.foreign`.
        points: Raw confidence of each point; all of them are wrong.
    """

    image: int
    points: tuple[RawConfidence, ...]


@dataclass(frozen=True, eq=False)
class DomainSamples:
    """Images of one half.

    Attributes:
        own: Summaries of images like those of the calibration [N, 2 D].
        foreign: Those of foreign images and of parts of them [M, 2 D].
        sources: Number of the file that each foreign one comes from [M]: parts of one photograph are not independent.
        answers: About whole foreign images.
    """

    own: Vectors
    foreign: Vectors
    sources: Sequence[int]
    answers: Sequence[ForeignAnswer] = ()


@dataclass(frozen=True)
class DomainQuality:
    """How well own images are told from foreign ones that were not used for fitting.

    Attributes:
        auroc: Probability that an own image is more in the domain than a foreign one.
        own_outside, foreign_outside: Images that count as foreign.
        silent: Questions about foreign images without a point whose score is above 0.5.
        silent_before: The same without a domain.
    """

    auroc: float
    own_outside: Proportion
    foreign_outside: Proportion
    silent: Proportion
    silent_before: Proportion


def fit_domain(samples: DomainSamples, foreign: str) -> Domain:
    """Return the domain fitted to one half.

    The bias is chosen so that OWN_OUTSIDE of own images, each judged by a fit without it, lie below OUTSIDE.

    Args:
        foreign: Description of the foreign images, stored in the domain.

    Raises:
        UsageError: Fewer than MIN_IMAGES of one kind, or no point on foreign images.
    """
    own, files = len(samples.own), len(set(samples.sources))
    if min(own, files) < MIN_IMAGES:
        raise UsageError(
            f"expected at least {MIN_IMAGES} own and {MIN_IMAGES} foreign images to fit the domain on, got {own} and {files} "
            "in half of them: give more"
        )
    mean, deviation = samples.own.mean(0), samples.own.std(0) + 1e-6
    every = np.concatenate([samples.own, samples.foreign])
    features = np.column_stack(domain_features(every, mean, deviation))
    labels = (np.arange(len(every)) < own).astype(float)
    groups = np.concatenate([np.arange(own), np.array(samples.sources)])
    held_out = {ridge: _held_out(features, labels, groups, ridge) for ridge in RIDGES}
    best = min(RIDGES, key=lambda ridge: log_loss(held_out[ridge], labels).mean())
    *weights, distance_weight, bias = _fit(features, labels, best).tolist()
    return Domain(
        mean=tuple(mean.tolist()),
        deviation=tuple(deviation.tolist()),
        weights=tuple(weights),
        distance_weight=distance_weight,
        bias=bias - float(np.quantile(held_out[best][:own], OWN_OUTSIDE)),
        foreign_hits=proportion(0, sum(len(answer.points) for answer in samples.answers)).high,
        foreign=foreign,
    )


def measure_domain(calibration: Calibration, samples: DomainSamples) -> DomainQuality:
    """Measure the domain of a calibration on images that were not used for fitting."""
    domain = calibration.domain
    assert domain is not None
    own = np.array([domain.probability(one) for one in samples.own])
    foreign = np.array([domain.probability(one) for one in samples.foreign])
    in_image = [ImageCalibration(calibration, float(one)) for one in foreign]
    anywhere = ImageCalibration(calibration)
    asked = len(samples.answers)
    return DomainQuality(
        auroc=auroc(own, foreign),
        own_outside=proportion(int((own < OUTSIDE).sum()), len(own)),
        foreign_outside=proportion(int((foreign < OUTSIDE).sum()), len(foreign)),
        silent=proportion(sum(_silent(in_image[a.image], a) for a in samples.answers), asked),
        silent_before=proportion(sum(_silent(anywhere, a) for a in samples.answers), asked),
    )


def _silent(calibration: ImageCalibration, answer: ForeignAnswer) -> bool:
    return all(calibration.point(raw)[0] <= 0.5 for raw in answer.points)


def _fit(features: Vectors, labels: Vectors, ridge: float) -> Vectors:
    """Return weights of the summary, the distance's weight and the bias."""
    ridges = np.append(np.full(features.shape[1] - 1, ridge), PLAIN_RIDGE)
    return logistic_regression(features, labels, ridges)


def _held_out(features: Vectors, labels: Vectors, groups: Vectors, ridge: float) -> Vectors:
    """Return the log odds [N] of each image by a fit without it and without the other parts of its file."""
    odds = np.zeros(len(labels))
    for fold in range(FOLDS):
        out = groups % FOLDS == fold
        weights = _fit(features[~out], labels[~out], ridge)
        odds[out] = features[out] @ weights[:-1] + weights[-1]
    return odds
