"""`Pointing` as a collection of its points."""

from __future__ import annotations

import copy

import pytest

from molmo_point import Point, Pointing, Status
from molmo_point.convert import to_rows

POINTS = tuple(Point(x=n / 10, y=0.5, label=f"cup {n}", index=n) for n in range(3))
UNKNOWN = (Status.PENDING, Status.TRUNCATED, Status.MALFORMED)


def answer(status: Status, points: tuple[Point, ...] = ()) -> Pointing:
    return Pointing(query="cups", points=points, status=status, image_size=(100, 50))


def test_an_answer_is_a_collection_of_its_points() -> None:
    pointing = answer(Status.FOUND, POINTS)
    assert len(pointing) == 3
    assert [point.label for point in pointing] == ["cup 0", "cup 1", "cup 2"]
    assert list(reversed(pointing)) == list(POINTS[::-1])
    assert pointing[0] is POINTS[0]
    assert pointing[-1] is POINTS[2]
    assert pointing[1:] == POINTS[1:]
    assert POINTS[1] in pointing
    assert Point(x=0, y=0) not in pointing
    first, *others = pointing
    assert (first, len(others)) == (POINTS[0], 2)


@pytest.mark.parametrize("status", Status)
def test_an_index_outside_names_the_status(status: Status) -> None:
    points = POINTS[:1] if status is Status.FOUND else ()
    with pytest.raises(IndexError, match=rf"no point 1 in .* {len(points)} point.*{status}"):
        answer(status, points)[1]


@pytest.mark.parametrize("status", [Status.NOT_FOUND, *UNKNOWN])
def test_the_truth_value_says_nothing_about_what_was_found(status: Status) -> None:
    """False would say that nothing matches, also of an answer that is not complete."""
    assert answer(status)
    assert answer(Status.FOUND, POINTS)


@pytest.mark.parametrize("status", [Status.NOT_FOUND, *UNKNOWN])
def test_fields_are_there_by_name_with_and_without_points(status: Status) -> None:
    pointing = answer(status)
    fields = dict(pointing)
    assert fields == {name: getattr(pointing, name) for name in Pointing.model_fields}
    assert fields["status"] is status
    with pytest.raises(KeyError):
        pointing["count"]


def test_copies_and_json_keep_everything() -> None:
    pointing = answer(Status.FOUND, POINTS)
    for twin in (
        copy.deepcopy(pointing),
        Pointing.model_validate_json(pointing.model_dump_json()),
        Pointing.model_validate(pointing.model_dump()),
        pointing.replace(model="nano").replace(model=""),
    ):
        assert twin == pointing


def test_one_answer_is_not_taken_for_a_list_of_answers() -> None:
    pointing = answer(Status.FOUND, POINTS)
    assert to_rows(pointing) == to_rows([pointing])
