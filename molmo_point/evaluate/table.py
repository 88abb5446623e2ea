"""The results of a model on the held-out test sets, with floors and goals, as JSON and Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from molmo_point.evaluate.report import Outcome, Report
from molmo_point.evaluate.scores import Proportion, proportion
from molmo_point.points import Status
from molmo_point.record import Record


class Row(Record):
    """One row.

    Attributes:
        world: The test set.
        what: The measure.
        rate: The proportion; None where the measure is F1.
        f1, low, high: F1 with its interval.
        floor, goal: The value required and the value aimed for; None where there is none.
        at_most: Whether less is better.
    """

    world: str
    what: str
    rate: Proportion | None = None
    f1: float | None = None
    low: float = 0.0
    high: float = 1.0
    floor: float | None = None
    goal: float | None = None
    at_most: bool = False

    @property
    def value(self) -> float | None:
        """The measured value; None where nothing was measured."""
        return self.f1 if self.rate is None else self.rate.value

    @property
    def reached(self) -> str:
        """ "goal", "floor", "no", or "" without a floor or a value."""
        if self.value is None or self.floor is None:
            return ""
        for word, bound in (("goal", self.goal), ("floor", self.floor)):
            fits = bound is not None and (
                self.value <= bound if self.at_most else self.value >= bound
            )
            if fits:
                return word
        return "no"


class Table(Record):
    """All rows, and the time of an answer.

    Attributes:
        pictures, questions: Number of images and of questions, by test set.
        seconds: Time of a question, by test set, encoding of its image included.
    """

    model: str
    rows: tuple[Row, ...]
    pictures: dict[str, int]
    questions: dict[str, int]
    seconds: dict[str, float]

    def markdown(self) -> str:
        """Return the table as Markdown."""
        lines = ["| test set | measure | | floor | goal | reached |", "|---|---|---|---|---|---|"]
        lines += [
            f"| {row.world} | {row.what} | {measured(row)} | {_bound(row.floor)} | {_bound(row.goal)} | {row.reached} |"
            for row in self.rows
        ]
        return "\n".join(lines) + "\n"


def make_table(model: str, reports: Mapping[str, Report]) -> Table:
    """Return the table of some reports, by test set."""
    rows: list[Row] = []
    for world, report in reports.items():
        rows += _rows(world, report)
    return Table(
        model=model,
        rows=tuple(rows),
        pictures={world: report.pictures for world, report in reports.items()},
        questions={world: report.overall.questions for world, report in reports.items()},
        seconds={
            world: round(report.seconds_per_question, 4) for world, report in reports.items()
        },
    )


CLICKS: dict[str, tuple[float, float]] = {
    "pages": (0.88, 0.97),
    "pages-unseen": (0.72, 0.93),
    "pages-640": (0.82, 0.95),
    "pages-1280": (0.50, 0.88),
    "icons": (0.45, 0.70),
}
"""Test set of pages -> floor and goal of clicks inside the control."""

ABSENT: dict[str, tuple[float, float]] = {
    "things": (0.88, 0.97),
    "pages": (0.88, 0.96),
    "pages-unseen": (0.82, 0.92),
}


def _rows(world: str, report: Report) -> Iterable[Row]:
    if world in CLICKS:
        floor, goal = CLICKS[world]
        one = [o for o in report.outcomes if o.things == 1 and o.mode == "point"]
        inside = proportion(sum(o.points == o.hits == 1 for o in one), len(one))
        yield Row(world=world, what="click inside", rate=inside, floor=floor, goal=goal)
        alike = [o for o in report.outcomes if o.group.startswith("absent look-alike")]
        yield from _absence(world, report)
        if alike:
            said = sum(o.status is Status.NOT_FOUND for o in alike)
            yield Row(
                world=world, what="absent look-alike right", rate=proportion(said, len(alike))
            )
        return
    if world == "counting":
        yield from _counting(report.outcomes)
        return
    if world == "crowds":
        yield from _crowds(report.outcomes)
        return
    overall = report.overall
    # The floors are those of all kinds together, not of the easier scenes of a recipe.
    bounds = (0.85, 0.93, 0.04, 0.01) if world == "things" else (None,) * 4
    yield Row(
        world=world,
        what="F1 of points on the asked things",
        f1=overall.f1,
        low=overall.f1_low,
        high=overall.f1_high,
        floor=bounds[0],
        goal=bounds[1],
    )
    yield from _absence(world, report)
    denied = overall.denied
    yield Row(
        world=world,
        what="there, but denied",
        rate=denied,
        floor=bounds[2],
        goal=bounds[3],
        at_most=True,
    )


def _absence(world: str, report: Report) -> Iterable[Row]:
    if report.overall.absent.total:
        floor, goal = ABSENT.get(world, (None, None))
        absent = report.overall.absent
        yield Row(world=world, what="absent right", rate=absent, floor=floor, goal=goal)


def _counting(outcomes: Sequence[Outcome]) -> Iterable[Row]:
    for low, high, floor, goal in ((1, 5, 0.82, 0.95), (6, 15, 0.45, 0.80)):
        mine = [o for o in outcomes if o.mode == "count" and low <= o.things <= high]
        exact = proportion(sum(o.points == o.things for o in mine), len(mine))
        what = f"count exact, {low}-{high} things"
        yield Row(world="counting", what=what, rate=exact, floor=floor, goal=goal)


def _crowds(outcomes: Sequence[Outcome]) -> Iterable[Row]:
    mine = [o for o in outcomes if o.mode == "count" and 16 <= o.things <= 40]
    exact = proportion(sum(o.points == o.things for o in mine), len(mine))
    yield Row(world="crowds", what="count exact, 16-40 things", rate=exact)
    near = proportion(sum(abs(o.points - o.things) <= 0.1 * o.things for o in mine), len(mine))
    yield Row(world="crowds", what="count within a tenth, 16-40 things", rate=near)


def measured(row: Row) -> str:
    """Return the rate or the F1 score of a row with its interval, "-" where there is neither."""
    if row.rate is not None:
        return str(row.rate)
    return "-" if row.f1 is None else f"{row.f1:.3f} [{row.low:.3f}, {row.high:.3f}]"


def _bound(value: float | None) -> str:
    return "measured" if value is None else f"{value:.2f}"
