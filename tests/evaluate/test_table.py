"""The table of a small model: rows from outcomes, floors and goals, Markdown."""

from __future__ import annotations

import pytest

from molmo_point.evaluate.report import Outcome, Report, report
from molmo_point.evaluate.table import Row, Table, make_table
from molmo_point.points import Status


def asked(
    things: int, points: int, hits: int, *, mode: str = "point", group: str = "label, point"
) -> Outcome:
    status = Status.FOUND if points else Status.NOT_FOUND
    return Outcome(
        query="x", mode=mode, group=group, things=things, points=points, hits=hits, status=status
    )


def of(*outcomes: Outcome) -> Report:
    return report("fake", 3, outcomes)


def row(table: Table, what: str) -> Row:
    (found,) = [row for row in table.rows if row.what == what]
    return found


def test_a_click_counts_when_one_point_lies_inside() -> None:
    inside, outside = asked(1, 1, 1), asked(1, 1, 0)
    two_points, several = asked(1, 2, 1), asked(3, 3, 3)
    table = make_table("fake", {"pages": of(inside, outside, two_points, several)})
    rate = row(table, "click inside").rate
    assert rate is not None
    assert (rate.right, rate.total) == (1, 3)


def test_absent_questions_and_look_alikes_are_counted() -> None:
    outcomes = [
        asked(0, 0, 0, group="absent look-alike, point"),
        asked(0, 1, 0, group="absent look-alike, point"),
        asked(0, 0, 0, group="absent label, point"),
        asked(1, 0, 0),
    ]
    table = make_table("fake", {"pages-unseen": of(*outcomes)})
    absent, alike = row(table, "absent right").rate, row(table, "absent look-alike right").rate
    assert absent is not None
    assert alike is not None
    assert (absent.right, absent.total) == (2, 3)
    assert (alike.right, alike.total) == (1, 2)
    assert row(table, "absent right").floor == 0.82


def test_scenes_have_f1_absence_and_denials() -> None:
    table = make_table("fake", {"things": of(asked(2, 2, 1), asked(2, 0, 0), asked(0, 0, 0))})
    f1 = row(table, "F1 of points on the asked things")
    assert f1.f1 == pytest.approx(2 * 1 / (2 + 4))
    denied = row(table, "there, but denied")
    assert denied.value == 0.5
    assert denied.reached == "no"


def test_counts_are_exact_or_wrong_in_their_range() -> None:
    outcomes = [asked(5, 5, 2, mode="count"), asked(5, 4, 4, mode="count")]
    outcomes += [asked(6, 6, 6, mode="count"), asked(16, 16, 16, mode="count"), asked(3, 3, 3)]
    table = make_table("fake", {"counting": of(*outcomes)})
    assert row(table, "count exact, 1-5 things").value == 0.5
    assert row(table, "count exact, 6-15 things").value == 1.0
    assert row(table, "count exact, 6-15 things").rate is not None


def test_crowds_are_exact_or_near() -> None:
    counts = [(20, 20), (20, 18), (20, 17), (40, 44), (15, 15)]
    outcomes = [asked(things, points, points, mode="count") for things, points in counts]
    table = make_table("fake", {"crowds": of(*outcomes)})
    assert row(table, "count exact, 16-40 things").value == 0.25
    assert row(table, "count within a tenth, 16-40 things").value == 0.75


@pytest.mark.parametrize(
    ("value", "at_most", "reached"),
    [
        (0.97, False, "goal"),
        (0.9, False, "floor"),
        (0.5, False, "no"),
        (0.5, True, "goal"),
        (0.97, True, "no"),
    ],
)
def test_what_is_reached(value: float, at_most: bool, reached: str) -> None:
    bounds = {"floor": 0.6, "goal": 0.55} if at_most else {"floor": 0.85, "goal": 0.95}
    assert Row(world="w", what="x", f1=value, at_most=at_most, **bounds).reached == reached


def test_nothing_measured_reaches_nothing() -> None:
    assert Row(world="w", what="x", floor=0.5, goal=0.9).reached == ""
    assert Row(world="w", what="x", f1=0.7).reached == ""


def test_markdown_has_a_line_a_row_and_json_comes_back() -> None:
    table = make_table(
        "fake", {"things": of(asked(1, 1, 1), asked(0, 0, 0)), "icons": of(asked(1, 1, 1))}
    )
    lines = table.markdown().splitlines()
    assert len(lines) == 2 + len(table.rows)
    assert (
        "| icons | click inside | 1/1 = 100.0% [20.7%, 100.0%] | 0.45 | 0.70 | goal |" in lines[-1]
    )
    assert Table.model_validate_json(table.model_dump_json()) == table
    assert table.questions == {"things": 2, "icons": 1}
