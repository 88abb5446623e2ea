"""Means of a scorer's values with 95 % intervals: over all items (micro) and over the means of the categories (macro)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from molmo_point.evaluate.scorers.scorer import Average, Scorer, Values
from molmo_point.evaluate.scores import proportion
from molmo_point.record import Record

DRAWS = 2000
"""Of the bootstrap."""

CHUNK = 1 << 21
"""Numbers that are drawn at a time."""


class Mean(Record):
    """A mean with its 95 % interval.

    Attributes:
        value: The mean.
        low, high: Wilson's interval where all values are 0 or 1, else that of a bootstrap over items.
        items: Number of values.
    """

    value: float
    low: float
    high: float
    items: int

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}] of {self.items:,}"


class Scored(Record):
    """What one scorer says about all answers.

    Attributes:
        scorer, source, definition, main, average: See `Scorer`.
        published: The number as the owner publishes it: the main value, averaged as `average` says; None without items.
        micro: Means of each value over all items.
        macro: Mean over the categories of their means.
        categories: Means of the main value, by category.
    """

    scorer: str
    source: str
    definition: str
    main: str
    average: Average
    published: Mean | None
    micro: dict[str, Mean]
    macro: Mean | None
    categories: dict[str, Mean]


ROUNDING = 1e-6
"""A value this near to 0 or 1 is 0 or 1: Ai2's F1 has a small number in its denominator."""


def right_or_wrong(values: Sequence[float]) -> bool:
    """Return whether all values are 0 or 1."""
    return all(min(abs(value), abs(1 - value)) < ROUNDING for value in values)


def mean(values: Sequence[float]) -> Mean:
    """Return the mean of at least one value with its interval."""
    if right_or_wrong(values):
        share = proportion(round(sum(values)), len(values))
        return Mean(
            value=sum(values) / len(values), low=share.low, high=share.high, items=len(values)
        )
    low, high = np.percentile(resampled(values), [2.5, 97.5])
    return Mean(value=float(np.mean(values)), low=float(low), high=float(high), items=len(values))


def resampled(
    values: Sequence[float], seed: int = 0
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the means [DRAWS] of values drawn with replacement."""
    table = np.asarray(values, np.float64)
    generator = np.random.default_rng(seed)
    # In parts: all at once would take DRAWS * items numbers.
    at_once = max(1, CHUNK // len(table))
    parts = [
        table[generator.integers(0, len(table), (min(at_once, DRAWS - start), len(table)))].mean(1)
        for start in range(0, DRAWS, at_once)
    ]
    return np.concatenate(parts)


def macro_mean(means: Sequence[Mean]) -> Mean:
    """Return the mean of the means of at least one category.

    Its interval is made of theirs by the method of variance estimates recovery (Zou and Donner 2008): unlike a bootstrap it holds
    where every value of a category is 0 or 1.
    """
    value = float(np.mean([each.value for each in means]))
    below = math.sqrt(sum((each.value - each.low) ** 2 for each in means)) / len(means)
    above = math.sqrt(sum((each.high - each.value) ** 2 for each in means)) / len(means)
    return Mean(
        value=value, low=value - below, high=value + above, items=sum(each.items for each in means)
    )


def summarize(scorer: Scorer, judged: Sequence[tuple[str, Values]]) -> Scored:
    """Return what a scorer says.

    Args:
        judged: (category, values) of each item that it judged.
    """
    values: dict[str, list[float]] = defaultdict(list)
    groups: dict[str, list[float]] = defaultdict(list)
    for category, each in judged:
        for name, value in each.items():
            values[name].append(value)
        groups[category or "all"].append(each[scorer.main])
    micro = {name: mean(each) for name, each in values.items()}
    categories = {name: mean(each) for name, each in sorted(groups.items())}
    macro = macro_mean(list(categories.values())) if categories else None
    return Scored(
        scorer=scorer.name,
        source=scorer.source,
        definition=scorer.definition,
        main=scorer.main,
        average=scorer.average,
        published=micro.get(scorer.main) if scorer.average == "items" else macro,
        micro=micro,
        macro=macro,
        categories=categories,
    )
