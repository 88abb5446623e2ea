"""Fit the distribution of the true number of things to answers that count held-out scenes, and measure how often it holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from molmo_point.counting.interval import LEVEL, CountModel, shortest_interval
from molmo_point.errors import UsageError
from molmo_point.evaluate.count_samples import BINS, CountSample
from molmo_point.evaluate.scores import Proportion, proportion
from molmo_point.install import import_failure

MIN_SAMPLES = 30
"""Complete answers that a fit needs."""

PRIOR = np.array([0.0, 1.0, 0.0, -2.0, 0.5, 0.0, 1.0])
"""Where the parameters stay without data: scores as they are, few things missed."""

PRIOR_WEIGHT = 0.2
"""Penalty of a unit of squared distance from PRIOR, in nats of the whole log likelihood."""

LEVELS = np.linspace(0.6, 0.995, 80)
"""Probability masses that are tried for the interval."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Coverage:
    """How often the intervals hold the true number.

    Attributes:
        fewest, most: True numbers of things of this group.
        inside: Share of the answers.
        width: Mean of high - low.
    """

    fewest: int
    most: int
    inside: Proportion
    width: float


def fit_counts(samples: Sequence[CountSample]) -> CountModel:
    """Return the model of the largest likelihood, with the level whose intervals hold LEVEL of the answers.

    Raises:
        UsageError: Fewer than MIN_SAMPLES complete answers.
        MissingExtra: scipy is not installed.
    """
    try:
        from scipy.optimize import minimize
    except ImportError as error:
        raise import_failure(error, "scipy", "count", "Fitting counts") from error
    known = [sample for sample in samples if sample.complete]
    if len(known) < MIN_SAMPLES:
        raise UsageError(
            f"expected at least {MIN_SAMPLES} complete answers to fit counts on, got {len(known)}: ask about more images"
        )

    def loss(values: Floats) -> float:
        model = _model(values)
        lost = sum(-np.log(_probability(model, sample)) for sample in known)
        return float(lost + PRIOR_WEIGHT * ((values - PRIOR) ** 2).sum())

    found = minimize(loss, PRIOR, method="L-BFGS-B", options={"maxiter": 60})
    return _levelled(_model(found.x), known)


Judged = tuple[int, tuple[int, int]]
"""A true number, and an interval for it."""


def judged(model: CountModel, samples: Iterable[CountSample]) -> list[Judged]:
    """Return the intervals of complete answers, with the true numbers."""
    return [
        (sample.things, model.interval(sample.scores, sample.spacing))
        for sample in samples
        if sample.complete
    ]


def held_out(
    models: Sequence[CountModel], halves: Sequence[Sequence[CountSample]]
) -> list[Judged]:
    """Return the intervals of two halves, each of the model that was fitted on the other one."""
    return [*judged(models[0], halves[1]), *judged(models[1], halves[0])]


def coverage(answers: Sequence[Judged]) -> list[Coverage]:
    """Return how often intervals hold, by true number of things, at last of all; groups without answers are left out."""
    found = []
    for fewest, most in (*BINS, (0, BINS[-1][1])):
        known = [
            (things, (low, high)) for things, (low, high) in answers if fewest <= things <= most
        ]
        if not known:
            continue
        inside = sum(low <= things <= high for things, (low, high) in known)
        width = float(np.mean([high - low for _, (low, high) in known]))
        found.append(Coverage(fewest, most, proportion(inside, len(known)), width))
    return found


def _model(values: Floats) -> CountModel:
    right_bias, right_score, right_count, missed_bias, missed_count, missed_spacing, shape = map(
        float, values
    )
    return CountModel(
        right_bias=right_bias,
        right_score=right_score,
        right_count=right_count,
        missed_bias=missed_bias,
        missed_count=missed_count,
        missed_spacing=missed_spacing,
        missed_shape=float(np.exp(np.clip(shape, -5.0, 6.0))),
    )


def _probability(model: CountModel, sample: CountSample) -> float:
    return max(model.probability(sample.things, sample.scores, sample.spacing), 1e-12)


def _levelled(model: CountModel, samples: Sequence[CountSample]) -> CountModel:
    """Return the model with the smallest level whose intervals hold LEVEL of the answers; groups of BINS count alike."""
    inside = np.zeros((len(samples), len(LEVELS)))
    for number, sample in enumerate(samples):
        distribution = model.distribution(sample.scores, sample.spacing)
        for column, level in enumerate(LEVELS):
            low, high = shortest_interval(distribution, float(level))
            inside[number, column] = low <= sample.things <= high
    groups = np.array([_group(sample.things) for sample in samples])
    weights = 1 / np.bincount(groups)[groups]
    held = weights @ inside / weights.sum()
    enough = np.nonzero(held >= LEVEL)[0]
    level = float(LEVELS[enough[0]] if len(enough) else LEVELS[-1])
    return model.model_copy(update={"level": level})


def _group(things: int) -> int:
    return next(
        number for number, (_, most) in enumerate(BINS) if things <= most or most == BINS[-1][1]
    )
