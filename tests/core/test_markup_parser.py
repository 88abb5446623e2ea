"""The strict parser: all forms, all violations, in pieces, and cut."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molmo_point.markup import (
    Annotation,
    MarkupParser,
    Parsed,
    format_annotated,
    format_points,
    parse,
)
from molmo_point.points import Status

FOUND, NOT_FOUND, MALFORMED = Status.FOUND, Status.NOT_FOUND, Status.MALFORMED
CAT = ' <point x="61.5" y="40.6" alt="cat">cat</point>'
DOGS = '<points x1="10.0" y1="20.0" x2="30.5" y2="44.4" alt="dogs">dogs</points>'

Places = list[tuple[float, float]]


def _places(parsed: Parsed) -> np.ndarray[Any, Any]:
    return np.array([(point.x, point.y) for point in parsed.points]).reshape(-1, 2)


READ: list[tuple[str, Status, Places, int | None]] = [
    (CAT, FOUND, [(0.615, 0.406)], None),
    (DOGS, FOUND, [(0.1, 0.2), (0.305, 0.444)], None),
    (f"Counting the {DOGS} shows a total of 2.", FOUND, [(0.1, 0.2), (0.305, 0.444)], 2),
    (f"Counting the {CAT} shows a total of 7.", FOUND, [(0.615, 0.406)], 7),
    (f"The {CAT} sits by {DOGS}.", FOUND, [(0.615, 0.406), (0.1, 0.2), (0.305, 0.444)], None),
    ('<point x="0.0" y="100.0" alt="a">a</point>', FOUND, [(0.0, 1.0)], None),
    ('<point x="7" y=" 9.25" alt="a">b</point>', FOUND, [(0.07, 0.0925)], None),
    ('<point x="1.0"  \n y="2.0" alt="">c</point>', FOUND, [(0.01, 0.02)], None),
    ('<point x="1.0" y="2.0">mug</point>', FOUND, [(0.01, 0.02)], None),
    ('<points x1="1.0" y1="2.0" alt="a">a</points>', FOUND, [(0.01, 0.02)], None),
    ('<point p=123,456 alt="p">p</point>', FOUND, [(0.123, 0.456)], None),
    ('<points 1=123,456 2=789,012 alt="p">p</points>', FOUND, [(0.123, 0.456), (0.789, 0.012)], None),
    ("Click(10.0, 20.0)", FOUND, [(0.1, 0.2)], None),
    ("Press: Click(10.0,20.0) now", FOUND, [(0.1, 0.2)], None),
    ("(0.0, 0.0)\n(1.5, 99.9)\n", FOUND, [(0.0, 0.0), (0.015, 0.999)], None),
    ("(10.0,20.0)", FOUND, [(0.1, 0.2)], None),
    (f"(I think) {CAT}", FOUND, [(0.615, 0.406)], None),
    (f"a <pointer> and Click(here) {CAT}", FOUND, [(0.615, 0.406)], None),
    ("There are none.", NOT_FOUND, [], 0),
    (" there are none", NOT_FOUND, [], 0),
    ("This isn't in the image.", NOT_FOUND, [], 0),
    ("This isn’t in the image.", NOT_FOUND, [], 0),
    ("There are none in the image.", NOT_FOUND, [], 0),
    ("Counting the mugs shows a total of 0.", NOT_FOUND, [], 0),
    # Other talk is not a "no", and a number alone is not a point.
    ("", MALFORMED, [], None),
    ("I see a cat.", MALFORMED, [], None),
    ("There are none of the usual problems.", MALFORMED, [], None),
    ("Counting the mugs shows a total of 3.", MALFORMED, [], 3),
    ("A total of 3.5 of them: a total of 4.5", MALFORMED, [], None),
    # Numbers outside 0-100 are refused, not clamped.
    ('<point x="100.1" y="5.0" alt="a">a</point>', MALFORMED, [], None),
    ('<point x="5.0" y="101" alt="a">a</point>', MALFORMED, [], None),
    ('<point x="-1.0" y="2.0" alt="a">a</point>', MALFORMED, [], None),
    ("Click(100.1, 5.0)", MALFORMED, [], None),
    ("(100.1, 5.0)", MALFORMED, [], None),
    ('<points x1="1.0" y1="2.0" x2="300" y2="4" alt="a">a</points>', MALFORMED, [(0.01, 0.02)], None),
    # Numbers of another shape.
    ('<point x=".5" y="2.0" alt="a">a</point>', MALFORMED, [], None),
    ('<point x="5." y="2.0" alt="a">a</point>', MALFORMED, [], None),
    ('<point x="1e1" y="2.0" alt="a">a</point>', MALFORMED, [], None),
    ('<point x="61,5" y="40,6" alt="a">a</point>', MALFORMED, [], None),
    ('<point x="٣" y="2.0" alt="a">a</point>', MALFORMED, [], None),
    ('<point x="61.5 " y="40.6" alt="a">a</point>', MALFORMED, [], None),
    ("<point x='61.5' y='40.6' alt='a'>a</point>", MALFORMED, [], None),
    ('<point p=1000,456 alt="p">p</point>', MALFORMED, [], None),
    ('<point p=12,456 alt="p">p</point>', MALFORMED, [], None),
    ('<point p=123,4567 alt="p">p</point>', MALFORMED, [], None),
    ("Click(10, 20)", MALFORMED, [], None),
    ("Click(10.00, 20.0)", MALFORMED, [], None),
    ("(10, 20)", MALFORMED, [], None),
    # Attributes of another order, number or name.
    ('<point y="40.6" x="61.5" alt="a">a</point>', MALFORMED, [], None),
    ('<point x="61.5"y="40.6" alt="a">a</point>', MALFORMED, [], None),
    ('<point x="1.0" x="3.0" y="2.0" alt="a">a</point>', MALFORMED, [], None),
    ('<point x="1.0" y="2.0" x="3.0" y="4.0" alt="a">a</point>', MALFORMED, [(0.01, 0.02)], None),
    ('<point x1="1.0" y1="2.0" alt="a">a</point>', MALFORMED, [], None),
    ('<points x="1.0" y="2.0" alt="a">a</points>', MALFORMED, [], None),
    ('<points x1="1.0" y2="2.0" alt="a">a</points>', MALFORMED, [], None),
    ('<points x2="1.0" y2="2.0" alt="a">a</points>', MALFORMED, [], None),
    ('<points x1="1.0" y1="2.0" x3="3.0" y3="4.0" alt="a">a</points>', MALFORMED, [(0.01, 0.02)], None),
    ('<points x1="1.0" y1="2.0" x2="3.0" alt="a">a</points>', MALFORMED, [(0.01, 0.02)], None),
    ('<points x1="1.0" y1="2.0", x2="3.0" y2="4.0" alt="a">a</points>', MALFORMED, [(0.01, 0.02)], None),
    ('<points alt="a">a</points>', MALFORMED, [], None),
    ("<point>a</point>", MALFORMED, [], None),
    ('<point x="1.0" y="2.0" name="a">a</point>', MALFORMED, [(0.01, 0.02)], None),
    ('<point x="1.0" y="2.0" =a</point>', MALFORMED, [(0.01, 0.02)], None),
    ('<POINT X="5.0" Y="2.0" ALT="n">n</POINT>', MALFORMED, [], None),
    ('x="50" y="50"', MALFORMED, [], None),
    # Tags that do not close, or close otherwise.
    ('<point x="1.0" y="2.0" alt="a">a', MALFORMED, [(0.01, 0.02)], None),
    ('<point x="1.0" y="2.0" alt="a">a</points>', MALFORMED, [(0.01, 0.02)], None),
    ('<point x="1.0" y="2.0" alt="a"</point>', MALFORMED, [(0.01, 0.02)], None),
    (f"{CAT}</point>", MALFORMED, [(0.615, 0.406)], None),
    (f"{CAT} and <point", MALFORMED, [(0.615, 0.406)], None),
    # After a fault nothing is read any more.
    (f'<point x="1000" y="2.0" alt="a">a</point> {CAT}', MALFORMED, [], None),
    ("(1.0, 2.0)\nand more", MALFORMED, [(0.01, 0.02)], None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "status", "places", "stated"), READ)
def test_reading(text: str, status: Status, places: Places, stated: int | None) -> None:
    parsed = parse(text)
    assert parsed.status is status
    assert _places(parsed) == pytest.approx(np.reshape(places, (-1, 2)), abs=1e-12)
    assert parsed.stated_count == stated
    assert [point.index for point in parsed.points] == list(range(len(places)))


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        (f"{CAT} {DOGS}", ["cat", "dogs", "dogs"]),
        ('<point x="1" y="2" alt="Mug">the mug</point>', ["Mug"]),
        ('<point x="1" y="2">mug</point>', ["mug"]),
        ('<point x="1" y="2" alt="a "b" <i>c</i>">a "b" <i>c</i></point>', ['a "b" <i>c</i>']),
        ('<point x="1" y="2" alt="a">b">a">b</point>', ['a">b']),
        ('<point x="1" y="2" alt="<point x="3" y="4">"><point x="3" y="4"></point>', ['<point x="3" y="4">']),
        ('<point x="1" y="2" alt="">」日本</point>', [""]),
        ("Click(10.0, 20.0)", ["guess"]),
    ],
)  # fmt: skip
def test_labels(text: str, labels: list[str]) -> None:
    parsed = parse(text, label="guess")
    assert parsed.status is FOUND
    assert [point.label for point in parsed.points] == labels


def test_a_point_is_returned_as_soon_as_its_numbers_are_closed() -> None:
    parser = MarkupParser(label="dogs")
    left = {}
    for position, character in enumerate(DOGS):
        for point in parser.feed(character):
            left[DOGS[: position + 1]] = (point.x, point.y, point.label)
    assert left == {
        '<points x1="10.0" y1="20.0"': (0.1, 0.2, "dogs"),
        '<points x1="10.0" y1="20.0" x2="30.5" y2="44.4"': (0.305, 0.444, "dogs"),
    }


def test_spans_are_where_the_digits_stand() -> None:
    text = f'{CAT} and <point p=123,456 alt="p">p</point>, Click(7.0, 8.5)'
    parser = MarkupParser()
    parser.feed(text)
    read = [(text[slice(*x)], text[slice(*y)]) for x, y in parser.spans]
    assert read == [("61.5", "40.6"), ("123", "456"), ("7.0", "8.5")]
    lines = MarkupParser()
    lines.feed("(1.0, 2.0)\n(33.5, 4.0)\n")
    assert [lines.text[slice(*y)] for _, y in lines.spans] == ["2.0", "4.0"]


def test_a_finished_parser_takes_no_more() -> None:
    parser = MarkupParser()
    parser.feed(CAT)
    assert parser.finish() == parser.finish()
    with pytest.raises(RuntimeError, match="make a new MarkupParser"):
        parser.feed("more")


def test_a_count_that_is_cut_is_not_stated() -> None:
    assert parse(f"Counting the {CAT} shows a total of 1", cut=True).stated_count is None
    assert parse(f"Counting the {CAT} shows a total of 1.", cut=True).stated_count is None
    assert parse(f"Counting the {CAT} shows a total of 12. So", cut=True).stated_count == 12
    assert parse("There are none", cut=True).status is Status.TRUNCATED
    # A fault outweighs the cut.
    assert parse('<point x="250.0" y=', cut=True).status is MALFORMED
    assert parse('<point x="-', cut=True).status is MALFORMED


tenths = st.integers(0, 1000).map(lambda tenth: tenth / 1000)
places = st.lists(st.tuples(tenths, tenths), min_size=1, max_size=4)
names = st.text(st.sampled_from('ab "<>/point=1.é日\n'), max_size=12).filter(
    lambda name: "</point" not in name
)
answers = st.one_of(
    st.builds(format_points, places, names, counting=st.booleans()),
    st.builds(
        lambda head, a, b, name: format_annotated(
            f"{head} <|POINT|> by the <|POINT|>.", [Annotation(a, name, name), Annotation(b, "b", "b")]
        ),
        st.sampled_from(["", "The", "(so) the", "a < b:"]),
        places,
        places,
        names,
    ),
    places.map(lambda points: "\n".join(f"({100 * x:.1f}, {100 * y:.1f})" for x, y in points)),
    st.just("There are none."),
)  # fmt: skip
FRAGMENTS = [
    " =", "<point", "<points", "</point>", "</points>",
    " x=", " x1=", ' y="', ' y1="', '"', "1", "50.5", "150", ".", ' alt="', ">",
    '">', "a total of ", "Click(", "(", ")", ", ", "\n", " ", "p=", "123,456", "There are none.", "mug", CAT, DOGS, " " * 70,
]  # fmt: skip
rubble = st.lists(st.sampled_from(FRAGMENTS), max_size=14).map("".join)


def _in_pieces(text: str, cuts: list[int]) -> tuple[list[tuple[float, float]], Any]:
    parser = MarkupParser()
    left: list[tuple[float, float]] = []
    edges = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    for start, end in itertools.pairwise(edges):
        left += [(point.x, point.y) for point in parser.feed(text[start:end])]
    return left, parser


@given(st.one_of(answers, rubble), st.lists(st.integers(0, 10_000), max_size=8), st.booleans())
@settings(max_examples=250)
def test_pieces_make_no_difference(text: str, cuts: list[int], cut: bool) -> None:
    whole = parse(text, cut=cut)
    for pieces in (cuts, list(range(len(text)))):
        left, parser = _in_pieces(text, pieces)
        parsed = parser.finish(cut=cut)
        assert parsed == whole
        # What left early is what stays, but for an answer's last bare line.
        places = [(point.x, point.y) for point in parsed.points]
        assert left == places[: len(left)]
        assert len(places) - len(left) <= 1


@given(answers)
def test_an_answer_cut_anywhere_has_no_invented_points(text: str) -> None:
    whole = [(point.x, point.y) for point in parse(text).points]
    for end in range(len(text)):
        parsed = parse(text[:end], cut=True)
        assert parsed.status is Status.TRUNCATED
        places = [(point.x, point.y) for point in parsed.points]
        assert places == whole[: len(places)]


@given(rubble)
@settings(max_examples=150)
def test_damaged_text_never_parses_differently_later(text: str) -> None:
    whole = [(point.x, point.y) for point in parse(text).points]
    for end in range(len(text)):
        places = [(point.x, point.y) for point in parse(text[:end], cut=True).points]
        assert places == whole[: len(places)]
    for point in parse(text).points:
        assert 0.0 <= point.x <= 1.0
        assert 0.0 <= point.y <= 1.0


def test_the_golden_texts_hold_no_surprise() -> None:
    """Where the strict parser finds an answer readable, the reference's reader sees the same points first."""
    cases = json.loads((Path(__file__).parents[1] / "golden/points/parse_cases.json").read_text())
    readable = 0
    for case in cases["cases"]:
        parsed = parse(case["text"])
        if parsed.status is FOUND and case["is_valid_format"] and "quote" not in case["text"]:
            readable += 1
            ours = _places(parsed) * (case["width"], case["height"])
            assert ours == pytest.approx(np.array(case["points"]), abs=1e-6)
    assert readable >= 12
