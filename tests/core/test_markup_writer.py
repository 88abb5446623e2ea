"""Points to text as in the training data, and the prompts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molmo_point.errors import MarkupError
from molmo_point.markup import (
    Annotation,
    count_prompt,
    format_annotated,
    format_points,
    guess_label,
    parse,
    point_prompt,
)
from molmo_point.points import Status

GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "golden/format/format_cases.json").read_text("utf-8")
)


@pytest.mark.parametrize("case", GOLDEN["format_points"], ids=lambda case: case["name"])
def test_format_points_reproduces_the_training_data(case: dict[str, Any]) -> None:
    points = np.array(case["points"], dtype=case["dtype"]).reshape(-1, 2)
    before = points.copy()
    size = case["image_size_wh"]
    text = format_points(
        points,
        case["label"],
        counting=case["style"] == "point_count",
        scale=case["point_scale"] or 1,
        image_size=tuple(size) if size else None,
        verbatim=case["label_key"] == "question",
    )
    assert text == case["text"]
    assert np.array_equal(points, before), "the caller's array was changed"


@pytest.mark.parametrize("case", GOLDEN["annotated_text"], ids=range(3))
def test_format_annotated_reproduces_the_training_data(case: dict[str, Any]) -> None:
    annotations = [
        Annotation(item["points"], item["inline_text"], item["alt_text"])
        for item in case["annotations"]
    ]
    assert format_annotated(case["answer"], annotations, scale=100) == case["text"]


tenths = st.integers(0, 1000).map(lambda tenth: tenth / 1000)
positions = st.lists(st.tuples(tenths, tenths), max_size=12)
labels = st.text(max_size=40).filter(lambda label: "</point" not in label)


@given(positions, labels, st.booleans())
def test_what_is_written_is_read_back(
    points: list[tuple[float, float]], label: str, counting: bool
) -> None:
    text = format_points(points, label, counting=counting, verbatim=True)
    parsed = parse(text)
    if not points:
        assert parsed == ((), Status.NOT_FOUND, 0)
        return
    assert parsed.status is Status.FOUND
    assert parsed.stated_count == (len(points) if counting else None)
    assert {point.label for point in parsed.points} == {label}
    assert [point.index for point in parsed.points] == list(range(len(points)))
    read = np.array([(point.x, point.y) for point in parsed.points])
    assert read == pytest.approx(np.array(sorted(points)), abs=1e-12)
    again = format_points(
        [(p.x, p.y) for p in parsed.points], label, counting=counting, verbatim=True
    )
    assert again == text


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=6),
    st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
)
def test_pixels_and_norm_are_written_alike(
    points: list[tuple[float, float]], size: tuple[int, int]
) -> None:
    """Up to one step of the last digit: the two divide in another order, so a half may round the other way."""
    pixels = [(x * size[0], y * size[1]) for x, y in points]
    one = parse(format_points(points, "a")).points
    other = parse(format_points(pixels, "a", image_size=size)).points
    assert sorted(p.x for p in one) == pytest.approx(sorted(p.x for p in other), abs=1.01e-3)
    assert sorted(p.y for p in one) == pytest.approx(sorted(p.y for p in other), abs=1.01e-3)


@pytest.mark.parametrize(
    "points", [[(1.01, 0.5)], [(0.5, -0.001)], [(float("nan"), 0.5)], [(0.5, float("inf"))]]
)
def test_points_outside_the_image_are_refused(points: list[tuple[float, float]]) -> None:
    with pytest.raises(MarkupError, match=r"inside the image \(0-100 percent\), got"):
        format_points(points, "mug")


@pytest.mark.parametrize("points", [[1.0, 2.0], [(1.0, 2.0, 3.0)], np.array([["a", "b"]])])
def test_wrong_shapes_are_refused(points: Any) -> None:
    with pytest.raises(MarkupError, match=r"expected points of shape \(N, 2\), got"):
        format_points(points, "mug", scale=100)


def test_what_markup_cannot_express_is_refused() -> None:
    with pytest.raises(MarkupError, match="cannot contain '</point'"):
        format_points([(0.5, 0.5)], "a</point>b")
    with pytest.raises(MarkupError, match="1 annotations for 2 placeholders"):
        format_annotated("<|POINT|> and <|POINT|>", [Annotation([(0.1, 0.1)], "a", "a")])
    with pytest.raises(MarkupError, match="'cups' has no points"):
        format_annotated("<|POINT|>", [Annotation([], "cups", "cups")])


def test_questions() -> None:
    assert point_prompt(" Red Mugs ") == "Point to red mugs"
    assert count_prompt("Boats") == "How many boats are there?"
    assert guess_label("Red Mugs") == "red mugs"
    for question in ("Where is the CAT?", "Point to the Dog", "How many LEDs are on"):
        assert point_prompt(question) == question
        assert count_prompt(question) == question
        assert guess_label(question) == question
    # A noun that merely begins like an instruction is a label.
    assert point_prompt("Pointer") == "Point to pointer"
    assert point_prompt("Count Dracula") == "Point to count dracula"
