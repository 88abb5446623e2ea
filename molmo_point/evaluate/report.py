"""What an evaluation found: one value that is JSON, and a table of it."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from molmo_point.evaluate.scores import Rate, Tally, f1_interval, rate
from molmo_point.points import Status
from molmo_point.wording import counted

COUNT_RANGES = ((1, 5), (6, 15), (16, 40))


class Outcome(BaseModel):
    """How one question went.

    Attributes:
        things, points, hits: How many there were, how many points came, how many of these lie on a thing of their own.
        error: What was raised instead of an answer, "" where one came. An error counts as a wrong answer.
        seconds: From the question to the answer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    query: str
    mode: str
    group: str
    things: int
    points: int = 0
    hits: int = 0
    status: Status | None = None
    stated_count: int | None = None
    error: str = ""
    seconds: float = 0.0

    @property
    def tally(self) -> Tally:
        """For F1."""
        return Tally(self.hits, self.points, self.things)


class Score(BaseModel):
    """Accuracy over a set of questions.

    Attributes:
        questions: How many, and how many of them raised errors.
        f1: Pooled over all points and things of questions about things that are there; None where there were none.
        f1_low, f1_high: Its 95 % bootstrap interval.
        precision, recall: The same points seen from both sides.
        perfect: Questions answered with exactly one point on each thing, or rightly with none.
        absent: Questions about things that are not there, answered so.
        denied: Questions about things that are there, answered that there are none.
        counts: Exact numbers, by how many there were ("1-5"), over the questions that asked for a count.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    questions: int
    errors: int
    f1: float | None
    f1_low: float
    f1_high: float
    precision: Rate
    recall: Rate
    perfect: Rate
    absent: Rate
    denied: Rate
    counts: dict[str, Rate]


class Report(BaseModel):
    """A whole evaluation: overall, by group, and question by question.

    Attributes:
        seconds_per_question: Mean time of a question, the picture's share included.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    pictures: int
    seconds_per_question: float
    overall: Score
    groups: dict[str, Score]
    outcomes: tuple[Outcome, ...]

    def table(self) -> str:
        """Return the report as lines of text."""
        head = (
            f"{self.model}: {counted(self.overall.questions, 'question')} about {counted(self.pictures, 'image')}, "
            f"{self.seconds_per_question:.3f} s a question, {counted(self.overall.errors, 'error')}"
        )
        lines = [head, "", *_overall_lines(self.overall)]
        if len(self.groups) > 1:
            width = max(len(name) for name in self.groups)
            lines += ["", f"{'group':{width}}  questions  perfect answers                      F1"]
            lines += [
                f"{name:{width}}  {score.questions:9d}  {score.perfect!s:36} {_number(score.f1)}"
                for name, score in sorted(self.groups.items())
            ]
        return "\n".join(lines)


def _overall_lines(score: Score) -> list[str]:
    f1 = f"{_number(score.f1)} [{score.f1_low:.3f}, {score.f1_high:.3f}]"
    rows = [
        ("F1 of points on the asked things", f1),
        ("precision of points", str(score.precision)),
        ("recall of things", str(score.recall)),
        ("perfect answers", str(score.perfect)),
        ("absent, and said so", str(score.absent)),
        ("there, but denied", str(score.denied)),
        *((f"count exact, {name} things", str(value)) for name, value in score.counts.items()),
    ]
    return [f"{title:34} {value}" for title, value in rows]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def score(outcomes: Sequence[Outcome]) -> Score:
    """Add up outcomes."""
    there = [o for o in outcomes if o.things]
    gone = [o for o in outcomes if not o.things]
    total = sum((o.tally for o in there), Tally())
    low, high = f1_interval([o.tally for o in there])
    return Score(
        questions=len(outcomes),
        errors=sum(bool(o.error) for o in outcomes),
        f1=total.f1,
        f1_low=low,
        f1_high=high,
        precision=rate(total.hits, total.points),
        recall=rate(total.hits, total.things),
        perfect=rate(sum(_perfect(o) for o in outcomes), len(outcomes)),
        absent=rate(sum(o.status is Status.NOT_FOUND for o in gone), len(gone)),
        denied=rate(sum(o.status is Status.NOT_FOUND for o in there), len(there)),
        counts=_counts(there),
    )


def _counts(there: Sequence[Outcome]) -> dict[str, Rate]:
    counts: dict[str, Rate] = {}
    for low, high in COUNT_RANGES:
        mine = [o for o in there if o.mode == "count" and low <= o.things <= high]
        if mine:
            right = sum(o.points == o.things and not o.error for o in mine)
            counts[f"{low}-{high}"] = rate(right, len(mine))
    return counts


def _perfect(outcome: Outcome) -> bool:
    if not outcome.things:
        return outcome.status is Status.NOT_FOUND
    return outcome.hits == outcome.points == outcome.things and not outcome.error


def report(model: str, pictures: int, outcomes: Sequence[Outcome]) -> Report:
    """Make the report of an evaluation."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(outcome.group or "all", []).append(outcome)
    seconds = sum(o.seconds for o in outcomes)
    return Report(
        model=model,
        pictures=pictures,
        seconds_per_question=seconds / max(1, len(outcomes)),
        overall=score(outcomes),
        groups={name: score(mine) for name, mine in groups.items()},
        outcomes=tuple(outcomes),
    )
