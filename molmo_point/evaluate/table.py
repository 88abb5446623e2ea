"""The table that says how good a small model is: one row a world, from the reports of its evaluation, as JSON and Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from molmo_point.evaluate.report import Outcome, Report
from molmo_point.evaluate.scores import Rate, rate
from molmo_point.points import Status


class Row(BaseModel):
    """One number of the table.

    Attributes:
        world: Which pictures.
        what: What was counted.
        rate: The share with its interval; None where the number is another (F1).
        f1, low, high: F1 with its interval.
        floor, goal: What is needed, what we are after; None where it is only measured. For "denied", less is better.
        at_most: Whether less is better.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    world: str
    what: str
    rate: Rate | None = None
    f1: float | None = None
    low: float = 0.0
    high: float = 1.0
    floor: float | None = None
    goal: float | None = None
    at_most: bool = False

    @property
    def value(self) -> float | None:
        """The number itself."""
        return self.f1 if self.rate is None else self.rate.share

    @property
    def reached(self) -> str:
        """ "goal", "floor", "no", or "" where nothing is asked for or nothing was measured."""
        if self.value is None or self.floor is None:
            return ""
        for word, bound in (("goal", self.goal), ("floor", self.floor)):
            fits = bound is not None and (
                self.value <= bound if self.at_most else self.value >= bound
            )
            if fits:
                return word
        return "no"


class Table(BaseModel):
    """All rows, and how fast the model answered.

    Attributes:
        pictures, questions: Asked about, by world.
        seconds: For a question, by world, the picture's share included.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    rows: tuple[Row, ...]
    pictures: dict[str, int]
    questions: dict[str, int]
    seconds: dict[str, float]

    def markdown(self) -> str:
        """Return the table as Markdown."""
        lines = ["| pictures | what | | floor | goal | reached |", "|---|---|---|---|---|---|"]
        lines += [
            f"| {row.world} | {row.what} | {_number(row)} | {_bound(row.floor)} | {_bound(row.goal)} | {row.reached} |"
            for row in self.rows
        ]
        return "\n".join(lines) + "\n"


def make_table(model: str, reports: Mapping[str, Report]) -> Table:
    """Make the table from one report a world; worlds that were not asked about have no rows."""
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


CLICKS: dict[str, tuple[float | None, float | None]] = {
    "pages": (0.92, 0.98),
    "pages-unseen": (0.85, 0.95),
    "pages-640": (0.75, 0.93),
    "pages-1280": (None, 0.85),
    "icons": (None, 0.60),
}
"""Floor and goal of clicks inside, by world of pages."""

ABSENT: dict[str, tuple[float, float]] = {
    "things": (0.88, 0.97),
    "pages": (0.90, 0.97),
    "pages-unseen": (0.75, 0.92),
}


def _rows(world: str, report: Report) -> Iterable[Row]:
    if world in CLICKS:
        floor, goal = CLICKS[world]
        one = [o for o in report.outcomes if o.things == 1 and o.mode == "point"]
        inside = rate(sum(o.points == o.hits == 1 for o in one), len(one))
        yield Row(world=world, what="click inside", rate=inside, floor=floor, goal=goal)
        alike = [o for o in report.outcomes if o.group.startswith("absent look-alike")]
        yield from _absence(world, report)
        if alike:
            said = sum(o.status is Status.NOT_FOUND for o in alike)
            yield Row(world=world, what="absent look-alike right", rate=rate(said, len(alike)))
        return
    if world == "counting":
        yield from _counting(report.outcomes)
        return
    if world == "crowds":
        yield from _crowds(report.outcomes)
        return
    overall = report.overall
    # Floors are asked of all kinds together, not of the easier scenes that a recipe draws.
    bounds = (0.85, 0.95, 0.05, 0.01) if world == "things" else (None,) * 4
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
    for low, high, floor, goal in ((1, 5, 0.85, 0.97), (6, 15, 0.5, 0.85)):
        mine = [o for o in outcomes if o.mode == "count" and low <= o.things <= high]
        exact = rate(sum(o.points == o.things for o in mine), len(mine))
        what = f"count exact, {low}-{high} things"
        yield Row(world="counting", what=what, rate=exact, floor=floor, goal=goal)


def _crowds(outcomes: Sequence[Outcome]) -> Iterable[Row]:
    mine = [o for o in outcomes if o.mode == "count" and 16 <= o.things <= 40]
    exact = rate(sum(o.points == o.things for o in mine), len(mine))
    yield Row(world="crowds", what="count exact, 16-40 things", rate=exact)
    near = rate(sum(abs(o.points - o.things) <= 0.1 * o.things for o in mine), len(mine))
    yield Row(world="crowds", what="count within a tenth, 16-40 things", rate=near)


def _number(row: Row) -> str:
    if row.rate is not None:
        return str(row.rate)
    return "-" if row.f1 is None else f"{row.f1:.3f} [{row.low:.3f}, {row.high:.3f}]"


def _bound(value: float | None) -> str:
    return "measured" if value is None else f"{value:.2f}"
