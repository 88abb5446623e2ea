"""How near a point must be to an earlier one to be the same thing written twice (`molmo_point/repeats.py`).

    python -m benchmarks.repeats [--world crowds] [--pictures 300] [--questions 3] [--answers FILE]

Asks `nano` about held-out synthetic scenes and compares rules: how many points they drop, and how many correctly pointed
things are lost by it. --answers saves the answers in a file and reads them from it the next time.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import molmo_point as mp
from benchmarks.report import hardware, table
from molmo_point.points import Point
from molmo_point.repeats import Repeats
from molmo_point.synthetic.held_out import world_examples
from molmo_point.synthetic.scenes.scene import Style

FIRST = 5000
"""Number of the first image; score calibration uses lower ones."""


class Answer(NamedTuple):
    """One answer as it was written, and for each point the number of the thing that it lies on, -1 for none."""

    points: list[Point]
    things: list[int]
    asked: int


Rule = Callable[[Point, Point], bool]
"""Whether a point is an earlier one again."""


def same_place(point: Point, other: Point) -> bool:
    return (point.x, point.y) == (other.x, other.y)


def within_percent(limit: float, point: Point, other: Point) -> bool:
    return 100 * max(abs(point.x - other.x), abs(point.y - other.y)) <= limit + 0.05


def within_deviations(limit: float, point: Point, other: Point) -> bool:
    if point.covariance is None or other.covariance is None:
        return False
    x, y = point.x - other.x, point.y - other.y
    xx, yy = (point.covariance[axis] + other.covariance[axis] for axis in (0, 2))
    return math.sqrt(2 * (x * x / xx + y * y / yy)) <= limit


def product(point: Point, other: Point) -> bool:
    return Repeats(calibrated=True).same(point, other)


RULES: dict[str, Rule] = {
    "the same place": same_place,
    **{
        f"within {limit} %": functools.partial(within_percent, limit)
        for limit in (0.1, 0.3, 0.5, 1.0, 2.0, 3.0)
    },
    **{
        f"within {limit} deviations": functools.partial(within_deviations, limit)
        for limit in (0.3, 0.5, 0.7, 1.0, 1.5)
    },
    "the package's rule": product,
}


class Unmerged(Repeats):
    """Takes every point as new: answers as they were written."""

    def same(self, point: Point, other: Point) -> bool:
        return False


def ask(world: str, images: int, questions: int) -> Iterator[Answer]:
    """Ask about the scenes of a world."""
    pointer = mp.load("nano")
    for example in world_examples(world, FIRST, images, questions, Style()):
        method = pointer.count if example.mode == "count" else pointer.point
        with patch("molmo_point.engine.engine.Repeats", Unmerged):
            points = list(method(example.image, example.query).points)
        on = [
            [index for index, region in enumerate(example.regions) if region.contains(p.x, p.y)]
            for p in points
        ]
        yield Answer(points, [found[0] if found else -1 for found in on], len(example.regions))


def judge(rule: Rule, answers: list[Answer]) -> tuple[Any, ...]:
    """Return how many points a rule drops, on a thing that stays, on one that is lost, on nothing; and the mean count error."""
    again = lost = nothing = 0
    errors = []
    for points, things, asked in answers:
        kept: list[int] = []
        dropped = []
        for index, point in enumerate(points):
            repeat = any(rule(point, points[other]) for other in kept)
            (dropped if repeat else kept).append(index)
        stay = {things[index] for index in kept}
        gone = {things[index] for index in dropped} - stay - {-1}
        lost += len(gone)
        nothing += sum(things[index] == -1 for index in dropped)
        again += sum(things[index] in stay - {-1} for index in dropped)
        errors.append(abs(len(kept) - asked))
    return again + lost + nothing, again, lost, nothing, f"{sum(errors) / len(errors):.2f}"


def kept_answers(path: Path | None, made: Iterator[Answer]) -> list[Answer]:
    """Read answers from a file, or make them and write them there."""
    if path is not None and path.exists():
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        return [
            Answer([Point(**p) for p in points], things, asked) for points, things, asked in rows
        ]
    answers = list(made)
    if path is not None:
        rows = [[[p.model_dump() for p in a.points], a.things, a.asked] for a in answers]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--world", default="crowds")
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--questions", type=int, default=3)
    parser.add_argument("--answers", type=Path)
    options = parser.parse_args()
    print(hardware())
    made = ask(options.world, options.pictures, options.questions)
    answers = kept_answers(options.answers, made)
    points = sum(len(a.points) for a in answers)
    table(
        f"{options.world}: {len(answers)} answers, {points} points; what each rule drops",
        (
            "rule",
            "dropped",
            "on a thing that stays",
            "things lost",
            "on nothing",
            "mean count error",
        ),
        [(name, *judge(rule, answers)) for name, rule in RULES.items()],
    )


if __name__ == "__main__":
    main()
