"""The report of an evaluation: a JSON value, and its table as text."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from molmo_point.evaluate.scores import Counts, Proportion, f1_interval, proportion
from molmo_point.points import Point, Status
from molmo_point.record import Record
from molmo_point.wording import counted

COUNT_RANGES = ((1, 5), (6, 15), (16, 40))


class Outcome(Record):
    """The result of one question.

    Attributes:
        things, points, hits: Number of things asked for, of points in the answer, and of points matched to a thing, see `match`.
        error: The exception raised instead of an answer, or "". An error counts as a wrong answer.
        seconds: Time of the answer; for the first question about an image, encoding included.
        source: Where the question came from, e.g. "labels.jsonl:12"; empty for a drawn one.
        located: Whether it is known where each of the things is; else only the number counts.
        image: The image's file where it is one.
        image_size: (width, height) in pixels; (0, 0) after an error.
        answer: The points.
        on_thing: For each point whether it lies on a thing.
        offsets: For each point the way to the center of the nearest of the things it lies on, `norm`; None for a miss.
        centers: Of the things, `norm`, as far as they are known.
        text: The model's raw text.
        absent_probability: See `Pointing`.
        judged: What each scorer says: its values by name.
    """

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
    source: str = ""
    located: bool = True
    image: str = ""
    image_size: tuple[int, int] = (0, 0)
    answer: tuple[Point, ...] = ()
    on_thing: tuple[bool, ...] = ()
    offsets: tuple[tuple[float, float] | None, ...] = ()
    centers: tuple[tuple[float, float], ...] = ()
    text: str = ""
    absent_probability: float | None = None
    judged: dict[str, dict[str, float]] = Field(default_factory=dict)

    @property
    def counts(self) -> Counts:
        """The numbers that F1 is computed from."""
        return Counts(self.hits, self.points, self.things)


class Score(Record):
    """Accuracy over a set of questions.

    Attributes:
        questions, errors: Number of questions, and of those that raised an exception.
        f1: Pooled over the points and things of questions about present things; None without such questions.
        f1_low, f1_high: Its 95 % bootstrap interval.
        precision, recall: Of the same points and things.
        perfect: Questions answered with exactly one point on each thing, or with none where all are absent. Where it is not known
            where things are, with as many points.
        absent: Questions about absent things, answered "none".
        denied: Questions about present things, answered "none".
        counts: Exactly right counts, by the true number ("1-5"), over questions for a count.
    """

    questions: int
    errors: int
    f1: float | None
    f1_low: float
    f1_high: float
    precision: Proportion
    recall: Proportion
    perfect: Proportion
    absent: Proportion
    denied: Proportion
    counts: dict[str, Proportion]


class Report(Record):
    """A whole evaluation: overall, by group, and question by question.

    Attributes:
        pictures: Number of images.
        seconds_per_question: Mean time of a question, encoding of its image included.
    """

    model: str
    pictures: int
    seconds_per_question: float
    overall: Score
    groups: dict[str, Score]
    outcomes: tuple[Outcome, ...]

    def table(self) -> str:
        """Return the report as text."""
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
        ("absent, answered none", str(score.absent)),
        ("present, but denied", str(score.denied)),
        *((f"count exact, {name} things", str(value)) for name, value in score.counts.items()),
    ]
    return [f"{title:34} {value}" for title, value in rows]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def score(outcomes: Sequence[Outcome]) -> Score:
    """Return the score of some outcomes."""
    present = [o for o in outcomes if o.things]
    absent = [o for o in outcomes if not o.things]
    located = [o for o in present if o.located]
    total = sum((o.counts for o in located), Counts())
    low, high = f1_interval([o.counts for o in located])
    return Score(
        questions=len(outcomes),
        errors=sum(bool(o.error) for o in outcomes),
        f1=total.f1,
        f1_low=low,
        f1_high=high,
        precision=proportion(total.hits, total.points),
        recall=proportion(total.hits, total.things),
        perfect=proportion(sum(perfect(o) for o in outcomes), len(outcomes)),
        absent=proportion(sum(o.status is Status.NOT_FOUND for o in absent), len(absent)),
        denied=proportion(sum(o.status is Status.NOT_FOUND for o in present), len(present)),
        counts=_counts(present),
    )


def _counts(present: Sequence[Outcome]) -> dict[str, Proportion]:
    counts: dict[str, Proportion] = {}
    for low, high in COUNT_RANGES:
        mine = [o for o in present if o.mode == "count" and low <= o.things <= high]
        if mine:
            right = sum(o.points == o.things and not o.error for o in mine)
            counts[f"{low}-{high}"] = proportion(right, len(mine))
    return counts


def perfect(outcome: Outcome) -> bool:
    """Return whether an answer is right in full: see `Score.perfect`."""
    if not outcome.things:
        return outcome.status is Status.NOT_FOUND
    if outcome.error or outcome.points != outcome.things:
        return False
    return outcome.hits == outcome.things or not outcome.located


def report(model: str, pictures: int, outcomes: Sequence[Outcome]) -> Report:
    """Return the report of an evaluation."""
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
