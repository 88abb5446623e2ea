"""Scores: matching points to things, intervals, and the whole evaluation over a fake pointer."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molmo_point.errors import UsageError
from molmo_point.evaluate.scores import Counts, f1_interval, match, proportion
from molmo_point.examples import Box, Mask
from molmo_point.points import Point

unit = st.floats(0, 1, width=32)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    left, right = sorted((draw(unit), draw(unit)))
    top, bottom = sorted((draw(unit), draw(unit)))
    return Box(left, top, right, bottom)


@given(st.lists(st.tuples(unit, unit), max_size=3), st.lists(boxes(), max_size=4))
def test_a_matching_is_as_large_as_trying_everything(
    places: list[tuple[float, float]], regions: list[Box]
) -> None:
    points = [Point(x=x, y=y) for x, y in places]
    # Every way to give points different things (or none, which the padding stands for).
    padded: list[Box | None] = [*regions, *[None] * len(points)]
    best = max(
        sum(
            box is not None and box.contains(point.x, point.y)
            for point, box in zip(points, chosen, strict=True)
        )
        for chosen in itertools.permutations(padded, len(points))
    )
    assert match(points, regions) == best


def test_two_points_on_one_thing_are_one_hit() -> None:
    assert match([Point(x=0.5, y=0.5), Point(x=0.6, y=0.5)], [Box(0.4, 0.4, 0.7, 0.7)]) == 1


def test_a_point_on_two_things_serves_the_one_that_needs_it() -> None:
    """Greedy matching gives the first point the wrong thing and leaves the second point without."""
    both = Point(x=0.5, y=0.5)
    only_first = Point(x=0.1, y=0.5)
    regions = [Box(0.0, 0.0, 0.6, 1.0), Box(0.4, 0.0, 1.0, 1.0)]
    assert match([both, only_first], regions) == 2


def test_a_mask_has_its_rows_from_the_top() -> None:
    inside = np.zeros((4, 2), bool)
    inside[0, 1] = True
    mask = Mask(inside)
    assert mask.contains(0.75, 0.1)
    assert mask.contains(1.0, 0.0)
    assert not mask.contains(0.75, 0.3)
    assert not mask.contains(0.25, 0.1)


@pytest.mark.parametrize("bad", [np.zeros((2, 2)), np.zeros((0, 2), bool), np.zeros(3, bool)])
def test_a_mask_of_another_kind_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(UsageError, match="expected a mask"):
        Mask(bad)


def test_a_box_inside_out_is_refused() -> None:
    with pytest.raises(UsageError, match="left <= right"):
        Box(0.6, 0.1, 0.5, 0.2)


def test_the_wilson_interval_is_the_published_one() -> None:
    """Wilson's interval for 8 of 10, from Agresti & Coull 1998's formula worked by hand: [0.490, 0.943]."""
    found = proportion(8, 10)
    assert found.low == pytest.approx(0.4901625, abs=1e-6)
    assert found.high == pytest.approx(0.9433178, abs=1e-6)
    half = proportion(50, 100)
    assert (half.low, half.high) == (pytest.approx(0.4038315), pytest.approx(0.5961685))


@given(st.integers(1, 500), st.data())
def test_the_interval_holds_the_share_and_mirrors(total: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, total))
    one, other = proportion(right, total), proportion(total - right, total)
    assert 0 <= one.low <= right / total <= one.high <= 1
    assert one.low == pytest.approx(1 - other.high)


def test_nothing_judged_says_nothing() -> None:
    found = proportion(0, 0)
    assert (found.value, found.low, found.high, str(found)) == (None, 0.0, 1.0, "-")


def test_more_right_than_there_are_is_refused() -> None:
    with pytest.raises(UsageError, match="right <= total"):
        proportion(3, 2)


def test_the_bootstrap_interval_holds_the_f1_and_shrinks() -> None:
    rng = np.random.default_rng(0)
    few = [Counts(int(rng.random() < 0.8), 1, 1) for _ in range(50)]
    many = few * 20
    f1 = sum((t for t in few), Counts()).f1
    assert f1 is not None
    low, high = f1_interval(few)
    assert low < f1 < high
    low_many, high_many = f1_interval(many)
    assert high_many - low_many < (high - low) / 3
