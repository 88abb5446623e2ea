"""The report on labelled images: that of `report`, with what was read, each scorer's numbers, kinds of answers and
calibration.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from molmo_point.datasets.manifest import Manifest
from molmo_point.evaluate.report import Outcome, Report
from molmo_point.evaluate.score_quality import AbsenceSample, PointSample, Samples, measure
from molmo_point.evaluate.scorers.scorer import Scorer
from molmo_point.evaluate.scorers.summary import Scored, summarize
from molmo_point.record import Record


class Calibrated(Record):
    """How well scores and covariances fit, see `Quality`; a number is None where there is nothing to compute it of.

    Attributes:
        bins: (mean score, share of hits, points) of each filled tenth of scores.
    """

    points: int
    misses: int
    expected_calibration_error: float | None
    auroc: float | None
    coverage_50: float | None
    coverage_90: float | None
    absence_auroc: float | None
    bins: tuple[tuple[float, float, int], ...]


class DataReport(Report):
    """An evaluation on labelled images; its JSON is the twin of the page.

    Attributes:
        data: What was read.
        scored: What each scorer says, by its name.
        answers: Number of answers by kind (found, not_found, malformed, truncated, error), of questions about "present" and
            "absent" things: a wrong format is no absence.
        calibrated: None where no answer has scores.
    """

    data: Manifest
    scored: dict[str, Scored]
    answers: dict[str, dict[str, int]]
    calibrated: Calibrated | None

    def table(self) -> str:
        """Return the report as text."""
        lines = [super().table(), "", str(self.data), ""]
        for scored in self.scored.values():
            average = "mean of categories" if scored.average == "categories" else "mean of items"
            lines.append(
                f"{scored.scorer:26} {scored.main:14} {scored.published or '-'!s} ({average})"
            )
            lines += [
                f"{'':26} {name:14} {value}"
                for name, value in scored.micro.items()
                if name != scored.main
            ]
        for things, kinds in self.answers.items():
            said = ", ".join(f"{kind} {number:,}" for kind, number in kinds.items()) or "none"
            lines.append(f"{'answers, ' + things:26} {said}")
        return "\n".join(lines)


def data_report(report: Report, data: Manifest, scorers: Iterable[Scorer]) -> DataReport:
    """Return the report on data from the report of their outcomes."""
    scored = {}
    for scorer in scorers:
        judged = [
            (o.group, o.judged[scorer.name]) for o in report.outcomes if scorer.name in o.judged
        ]
        if judged:
            scored[scorer.name] = summarize(scorer, judged)
    return DataReport(
        **{name: getattr(report, name) for name in Report.model_fields},
        data=data,
        scored=scored,
        answers=_kinds(report.outcomes),
        calibrated=_calibrated(report.outcomes),
    )


def _kinds(outcomes: Sequence[Outcome]) -> dict[str, dict[str, int]]:
    kinds: dict[str, Counter[str]] = {"present": Counter(), "absent": Counter()}
    for outcome in outcomes:
        things = kinds["present" if outcome.things else "absent"]
        things["error" if outcome.error else str(outcome.status)] += 1
    return {name: dict(sorted(counts.items())) for name, counts in kinds.items()}


def _calibrated(outcomes: Sequence[Outcome]) -> Calibrated | None:
    points = [
        PointSample(
            point.score, (point.covariance[0], point.covariance[2]), offset is not None, offset
        )
        for outcome in outcomes
        if outcome.located or outcome.centers
        for point, offset in zip(outcome.answer, outcome.offsets, strict=True)
        if point.score is not None and point.covariance is not None
    ]
    if not points:
        return None
    absences = [
        AbsenceSample(outcome.absent_probability, not outcome.things)
        for outcome in outcomes
        if outcome.absent_probability is not None
    ]
    quality = measure(Samples(tuple(points), tuple(absences)))
    return Calibrated(
        points=quality.points,
        misses=quality.misses,
        expected_calibration_error=_known(quality.expected_calibration_error),
        auroc=_known(quality.auroc),
        coverage_50=_known(quality.coverage_50),
        coverage_90=_known(quality.coverage_90),
        absence_auroc=_known(quality.absence_auroc),
        bins=quality.bins,
    )


def _known(value: float) -> float | None:
    """Return a number as JSON can hold it: NaN says that there was nothing to compute it of."""
    return None if math.isnan(value) else value
