"""Compare two reports question by question: which of the differences are more than chance, and how far points moved."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from molmo_point.errors import UsageError
from molmo_point.evaluate.compare_models import distance_percent, places
from molmo_point.evaluate.data_report import DataReport
from molmo_point.evaluate.report import Outcome, Report, perfect
from molmo_point.evaluate.scorers.summary import ROUNDING, Mean, mean, resampled, right_or_wrong
from molmo_point.record import Record
from molmo_point.wording import counted

PERFECT = "perfect answers"
"""The value that every report has: one point on each thing, or none where nothing is there."""

ITEM_COLUMNS = 5
"""Items that differ most, of each value."""


class Difference(Record):
    """One value of two reports, over the questions that both have.

    Attributes:
        name: Scorer and value, or `PERFECT`.
        first, second: Their means.
        difference: second - first; low, high: its 95 % interval, by a bootstrap over questions (pairs stay together).
        only_first, only_second: Where all values are 0 or 1: questions that one of them alone has right; else None.
        p_value: Of McNemar's exact test of these two numbers, two-sided; None where values are not 0 or 1.
        most: Sources of the questions that differ most, first those that the second has worse.
    """

    name: str
    first: Mean
    second: Mean
    difference: float
    low: float
    high: float
    only_first: int | None
    only_second: int | None
    p_value: float | None
    most: tuple[str, ...]


class Drift(Record):
    """How far the points of two reports lie apart: two models can be equally good, and answer differently.

    Attributes:
        same_points: Questions with exactly the same points and the same status.
        same_count: Questions with the same number of points, at least one.
        median_percent, p99_percent, largest_percent: Distance between the points of the same place in the answer, in percent
            of the image's diagonal, over `same_count`; None where there are none.
    """

    same_points: int
    same_count: int
    median_percent: float | None
    p99_percent: float | None
    largest_percent: float | None


class Comparison(Record):
    """Two reports.

    Attributes:
        models: Their models.
        questions: Number of questions that both have.
        only_first, only_second: Numbers of those that one has alone.
        same_data: Whether both read the same files; None where a report does not say what it read.
    """

    models: tuple[str, str]
    questions: int
    only_first: int
    only_second: int
    same_data: bool | None
    differences: tuple[Difference, ...]
    drift: Drift

    def table(self) -> str:
        """Return the comparison as text."""
        lines = [
            f"{self.models[0]} against {self.models[1]}: {counted(self.questions, 'question')} of both"
        ]
        if self.only_first or self.only_second:
            lines.append(
                f"left out: {self.only_first} of the first alone, {self.only_second} of the second alone"
            )
        if self.same_data is False:
            lines.append("the two read different files: their checksums differ")
        lines.append("")
        for each in self.differences:
            row = (
                f"{each.name:36} {each.first.value:8.4f} {each.second.value:8.4f} {each.difference:+8.4f} "
                f"[{each.low:+.4f}, {each.high:+.4f}]"
            )
            if each.p_value is not None:
                row += f"  only first {each.only_first}, only second {each.only_second}, McNemar p = {each.p_value:.3g}"
            lines.append(row)
        drift = self.drift
        lines += ["", f"{'same points':36} {drift.same_points}/{self.questions}"]
        if drift.median_percent is not None:
            lines.append(
                f"{'distance, % of the diagonal':36} median {drift.median_percent:.3f}, 99 % {drift.p99_percent:.3f}, "
                f"largest {drift.largest_percent:.3f} (of {counted(drift.same_count, 'answer')} with as many points)"
            )
        return "\n".join(lines)


def read_report(path: Path) -> Report:
    """Return a report that `eval --out` or `--report` wrote.

    Raises:
        UsageError: The file cannot be read, or is no report with answers.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the report {path} cannot be read: {error}") from error
    kind = DataReport if '"scored"' in text else Report
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise UsageError(
            f"{path} is no report of `molmo-point eval`: {place}: {first['msg']}"
        ) from error


def compare_reports(first: Report, second: Report) -> Comparison:
    """Compare two reports over the questions that both have, matched by where they came from, query and mode.

    Raises:
        UsageError: They have no question in common.
    """
    one, other = _keyed(first.outcomes), _keyed(second.outcomes)
    both = [key for key in one if key in other]
    if not both:
        raise UsageError(
            f"the reports have no question in common: {len(one)} in the first, {len(other)} in the second; reports of the same "
            "data are compared"
        )
    pairs = [(one[key], other[key]) for key in both]
    data = [report.data.sha256 for report in (first, second) if isinstance(report, DataReport)]
    return Comparison(
        models=(first.model, second.model),
        questions=len(pairs),
        only_first=len(one) - len(both),
        only_second=len(other) - len(both),
        same_data=data[0] == data[1] if len(data) == 2 else None,
        differences=tuple(_differences(pairs)),
        drift=_drift(pairs),
    )


Pair = tuple[Outcome, Outcome]


def _keyed(outcomes: Sequence[Outcome]) -> dict[tuple[str, str, str, int], Outcome]:
    """Return outcomes by source, query, mode, and how often that question came before."""
    seen: Counter[tuple[str, str, str]] = Counter()
    keyed = {}
    for outcome in outcomes:
        same = outcome.source, outcome.query, outcome.mode
        place = (*same, seen[same])
        keyed[place] = outcome
        seen[same] += 1
    return keyed


def _differences(pairs: Sequence[Pair]) -> Iterator[Difference]:
    yield _difference(PERFECT, pairs, lambda outcome: float(perfect(outcome)))
    names = dict.fromkeys(
        (scorer, value)
        for pair in pairs
        for outcome in pair
        for scorer, values in outcome.judged.items()
        for value in values
    )
    for scorer, name in names:
        judged = [pair for pair in pairs if all(name in o.judged.get(scorer, {}) for o in pair)]
        if judged:
            yield _difference(f"{scorer} {name}", judged, partial(_judged, scorer, name))


def _judged(scorer: str, name: str, outcome: Outcome) -> float:
    return outcome.judged[scorer][name]


def _difference(name: str, pairs: Sequence[Pair], value: Callable[[Outcome], float]) -> Difference:
    table = np.array([[value(outcome) for outcome in pair] for pair in pairs])
    change = table[:, 1] - table[:, 0]
    change[np.abs(change) < ROUNDING] = 0.0
    low, high = np.percentile(resampled(change.tolist()), [2.5, 97.5])
    binary = right_or_wrong(table.ravel().tolist())
    lost, won = int((change < 0).sum()), int((change > 0).sum())
    order = [int(at) for at in np.argsort(change, kind="stable") if change[at]]
    shown = [
        *order[:ITEM_COLUMNS],
        *[at for at in order[-ITEM_COLUMNS:] if at not in order[:ITEM_COLUMNS]],
    ]
    return Difference(
        name=name,
        first=mean(table[:, 0].tolist()),
        second=mean(table[:, 1].tolist()),
        difference=float(change.mean()),
        low=float(low),
        high=float(high),
        only_first=lost if binary else None,
        only_second=won if binary else None,
        p_value=mcnemar(lost, won) if binary else None,
        most=tuple(pairs[at][0].source or pairs[at][0].query for at in shown),
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the two-sided p-value of McNemar's exact test (McNemar 1947): a fair coin for every question that differs."""
    differ = only_first + only_second
    tail = sum(math.comb(differ, count) for count in range(min(only_first, only_second) + 1))
    return min(1.0, 2 * tail / 2**differ)


def _drift(pairs: Sequence[Pair]) -> Drift:
    same = equal = 0
    distances: list[float] = []
    for one, other in pairs:
        same += places(one.answer) == places(other.answer) and one.status == other.status
        if one.answer and len(one.answer) == len(other.answer):
            equal += 1
            distances += [
                distance_percent(a, b, one.image_size)
                for a, b in zip(one.answer, other.answer, strict=True)
            ]
    median = p99 = largest = None
    if distances:
        median, p99 = (float(value) for value in np.quantile(distances, [0.5, 0.99]))
        largest = max(distances)
    return Drift(
        same_points=same,
        same_count=equal,
        median_percent=median,
        p99_percent=p99,
        largest_percent=largest,
    )
