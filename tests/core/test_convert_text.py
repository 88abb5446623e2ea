"""Points within text: what is written is read again, and labels survive every character."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molmo_point import Point, Pointing, Status
from molmo_point.convert import (
    from_perceptron,
    from_point_tags,
    from_robopoint,
    to_perceptron,
    to_point_tags,
    to_robopoint,
)
from molmo_point.errors import UsageError

Write, Read = Callable[[Pointing], str], Callable[[str, str, tuple[int, int]], Pointing]
cells = st.tuples(st.integers(0, 200), st.integers(0, 200))


@pytest.mark.parametrize(
    ("write", "read", "labels"),
    [
        (to_robopoint, from_robopoint, False),
        (to_point_tags, from_point_tags, False),
        (to_perceptron, from_perceptron, True),
    ],
)
@given(places=st.lists(cells, max_size=6, unique=True), label=st.text(min_size=1, max_size=8))
def test_round_trips(
    write: Write, read: Read, labels: bool, places: list[tuple[int, int]], label: str
) -> None:
    points = tuple(
        Point(x=x / 200, y=y / 200, label=label, index=n) for n, (x, y) in enumerate(places)
    )
    status = Status.FOUND if points else Status.NOT_FOUND
    first = Pointing(query="q", points=points, status=status, image_size=(40, 30))
    back = read(write(first), "q", (40, 30))
    assert (back.status, back.count) == (status, first.count)
    for one, other in zip(back.points, points, strict=True):
        assert (one.x, one.y) == pytest.approx((other.x, other.y), abs=5e-4)
        assert one.label == (label if labels else "q")


def test_words_in_brackets_are_no_points() -> None:
    answer = "The mugs (two of them) are at [(0.25, 0.5), (0.75, 0.5)]."
    assert from_robopoint(answer, "mug", (8, 6)).status is Status.FOUND


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (from_robopoint, "I see none of them."),
        (from_robopoint, "[(0.5, "),
        (from_robopoint, "[(5, 7)]"),
        (from_point_tags, "<point>500</point>"),
        (from_perceptron, "<point> (1,2)"),
        (from_perceptron, ""),
    ],
)
def test_text_without_a_point_is_refused(read: Read, text: str) -> None:
    with pytest.raises(UsageError, match="expected"):
        read(text, "mug", (8, 6))


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (from_robopoint, "[(0.5, 0.5), (nan, 0.5)]"),
        (from_robopoint, "[(0.5, 0.5), (inf, 0.5)]"),
        (from_robopoint, "[(0.5, 0.5), (0.6, 0"),
        (from_perceptron, "<collection> <point> (500,500) </point> "),
    ],
)
def test_a_point_that_cannot_be_read_is_not_left_out_silently(read: Read, text: str) -> None:
    pointing = read(text, "mug", (200, 100))
    assert pointing.status is Status.MALFORMED
    assert [(p.x, p.y) for p in pointing.points] == [(0.5, 0.5)]
    assert pointing.text == text
