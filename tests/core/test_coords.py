"""Molmo 2's point text: written as the training data has it, parsed strictly, read leniently as the reference does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molmo_point.errors import MarkupError
from molmo_point.markup import CoordsParser, Frame, format_coords, format_tracks, parse_coords
from molmo_point.markup.coords_writer import Style, format_coords_annotated, seconds
from molmo_point.markup.writer import Annotation
from molmo_point.points import Status
from tests.core import reference_coords

GOLDEN = Path(__file__).parents[1] / "golden/molmo2/points"
FORMATS = json.loads((GOLDEN / "format_cases.json").read_text())["cases"]
READINGS = json.loads((GOLDEN / "parse_cases.json").read_text())
SIZES = [tuple(size) for size in READINGS["sizes_of_three_images"]]
STYLES: dict[str, Style] = {
    "point": "point",
    "pointing": "point",
    "point_count": "count",
    "point_then_count": "count",
    "count_point": "count first",
    "count_then_point": "count first",
    "count": "number",
}


def frames_of(case: dict[str, Any]) -> list[Frame]:
    args = case["args"]
    if case["kind"] == "image":
        return [Frame("1", args["points"], args["scale"])]
    if case["kind"] == "multi_image":
        names, scales = map(str, args["image_indices"]), args["scale"]
        return [Frame(*frame) for frame in zip(names, args["points"], scales, strict=True)]
    names = map(seconds, args["timestamps"])
    return [
        Frame(name, points, args["scale"])
        for name, points in zip(names, args["points"], strict=True)
    ]


def written(case: dict[str, Any]) -> str:
    args = case["args"]
    if case["kind"] == "annotated":
        notes = [Annotation(**note) for note in args["annotations"]]
        return format_coords_annotated(args["answer"], notes, scale=100)
    if case["kind"] == "tracks":
        return format_tracks(visible(args), args["label"], scale=args["scale"])
    separator = "\t" if case["format"] == "html-v1" else ";"
    style = STYLES[args["mode"]]
    return format_coords(
        frames_of(case), args["label"], style=style, alt=args.get("alt_text"), separator=separator
    )


def visible(args: dict[str, Any]) -> list[tuple[float, dict[str, Any]]]:
    frames = args["point_tracks"]
    if args["start_end_only"]:
        frames = [dict(frame) for frame in frames]
        for frame in frames:
            frame["points"] = {
                key: point
                for key, point in frame["points"].items()
                if frame["time"] in ends(args["point_tracks"], key)
            }
    return [
        (
            frame["time"],
            {key: p["point"] for key, p in frame["points"].items() if not p["occluded"]},
        )
        for frame in frames
    ]


def ends(frames: list[dict[str, Any]], key: str) -> tuple[float, float]:
    times = [frame["time"] for frame in frames if key in frame["points"]]
    return times[0], times[-1]


@pytest.mark.parametrize(
    "case", FORMATS, ids=[f"{i}-{case['kind']}" for i, case in enumerate(FORMATS)]
)
def test_text_is_that_of_the_training_data(case: dict[str, Any]) -> None:
    if case["kind"] == "annotated":
        # The reference moves points outside the image onto its edge; we refuse them, and write the moved ones alike.
        with pytest.raises(MarkupError, match="inside the image"):
            written(case)
        case["args"]["annotations"][1]["points"][0] = [100.0, 0.0]
    assert written(case) == case["text"]


def test_there_are_as_many_cases_as_were_made() -> None:
    assert (len(FORMATS), len(READINGS["cases"])) == (63, 95)


def lists(value: Any) -> Any:
    return [lists(item) for item in value] if isinstance(value, (list, tuple)) else value


def near(ours: Any, theirs: Any) -> None:
    ours = lists(ours)
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        if isinstance(one, dict):
            assert (one["time"], one["frame"], list(one["points"])) == (
                other["time"],
                other["frame"],
                list(other["points"]),
            )
            near(
                [p["point"] for p in one["points"].values()],
                [p["point"] for p in other["points"].values()],
            )
        else:
            assert [v for v in one if isinstance(v, str)] == [
                v for v in other if isinstance(v, str)
            ]
            numbers = [v for v in other if not isinstance(v, str)]
            assert [v for v in one if not isinstance(v, str)] == pytest.approx(numbers, abs=1e-6)


@pytest.mark.parametrize("case", READINGS["cases"], ids=range(len(READINGS["cases"])))
def test_the_references_readers(case: dict[str, Any]) -> None:
    text, size = case["text"], (case["width"], case["height"])
    unified = reference_coords.unified(text, *size)
    near(reference_coords.extract_points(text, *size), case["extract_points"])
    near(
        reference_coords.extract_multi_image_points(text, *size),
        case["extract_multi_image_points"],
    )
    near([point[2:] for point in unified], case["unified_points"])
    near(unified, case["unified_with_ids"])
    near(reference_coords.any_points(text, [size]), case["any_points_one_image"])
    near(reference_coords.tracks(text, *size, fps=10), case["tracks_fps10"])
    expected = case["any_points_three_images"]
    if isinstance(expected, dict):
        with pytest.raises((ValueError, IndexError)) as caught:
            reference_coords.any_points(text, SIZES)
        assert type(caught.value).__name__ == expected["error"]
    else:
        near(reference_coords.any_points(text, SIZES), expected)


def for_one_image(text: str) -> bool:
    """Whether all tags are those of one image, with ordinals from 1."""
    tags = re.findall(r'<(\w+)(?: alt="[^"]*")? coords="([^"]*)">[^<]*(?:<y)?</\w+>', text)
    return bool(tags) and all(
        name == "points" and re.fullmatch(r"1(?: \d+ \d{3,4} \d{3,4})+", coords)
        for name, coords in tags
    )


@pytest.mark.parametrize("case", [c for c in FORMATS if for_one_image(c["text"])])
def test_what_the_writer_writes_the_parser_parses(case: dict[str, Any]) -> None:
    parsed = parse_coords(case["text"])
    expected = [
        (x / 100, y / 100) for *_, x, y in reference_coords.unified(case["text"], 100, 100)
    ]
    assert parsed.status is Status.FOUND
    assert [round(1000 * point.x) for point in parsed.points] == [
        round(1000 * x) for x, _ in expected
    ]
    assert [round(1000 * point.y) for point in parsed.points] == [
        round(1000 * y) for _, y in expected
    ]
    named = {point.label for point in parsed.points}
    if case["kind"] != "annotated":
        assert named == {case["args"].get("alt_text") or case["args"]["label"]}
    if case["args"].get("mode") not in ("point", "pointing", None):
        assert parsed.stated_count == len(parsed.points)


def outcome(text: str, *, cut: bool = False) -> tuple[str, list[tuple[float, float]]]:
    parsed = parse_coords(text, cut=cut)
    return parsed.status.value, [(point.x, point.y) for point in parsed.points]


@pytest.mark.parametrize(
    ("coords", "points"),
    [
        ("1 1 500 500 2 1001 003", [(0.5, 0.5)]),  # beyond the edge
        ("1 1 0500 500", []),
        ("1 1 50 500", []),
        ("1 1 500 5000", []),
        ("1 1 900.5 700", []),
        ("1 2 100 200", []),  # ordinals that do not begin with 1
        ("1 1 100 200 3 300 400", [(0.1, 0.2)]),
        ("1 1 100 200 1 300 400", [(0.1, 0.2)]),  # that run backwards
        ("1 01 100 200", []),
        ("2 1 100 200", []),  # another image
        ("0 1 100 200", []),
        ("01 1 100 200", []),
        ("1.0 1 100 200", []),  # a time
        ("1 1 100 200;2 2 300 400", []),
        ("1 1 100 200\t2 2 300 400", []),
        ("1 1 100 200 2 300 400;2 3 100 100", [(0.1, 0.2)]),
        ("1 1 100 200  2 300 400", [(0.1, 0.2)]),
        ("1 1 100 200 ", [(0.1, 0.2)]),
        ("1 1 100 200 2 300", [(0.1, 0.2)]),
        ("1", []),
        ("", []),
        ("1 x 900 700", []),
        ("1\n1 100 200", []),
        ("1 1 -10 200", []),
        ("1 1 \u0661\u0662\u0663 200", []),  # digits of another script
    ],
)
def test_bad_coords_are_malformed_and_never_guessed(
    coords: str, points: list[tuple[float, float]]
) -> None:
    assert outcome(f'<points coords="{coords}">x</points>') == ("malformed", points)


@pytest.mark.parametrize(
    "text",
    [
        '<tracks coords="0.5 1 152 487">dog</tracks>',
        '<tracks coords="1 1 152 487">dog</tracks>',
        '<points coords="1 1 100 200"/>',
        '<points coords="1 1 100 200">x</point>',
        '<points coords="1 1 100 200">x',
        '<points coords="1 1 100 200" alt="x">x</points>',
        '<points coords="1 1 100 200">a <points coords="1 1 100 200">b</points>',
        '<points alt="x">x</points>',
        '<points alt="a</points>" coords="1 1 100 200">x</points>',
        '<points  coords="1 1 100 200">x</points>',
        '<point x="63.5" y="44.5" alt="cup">cup</point>',
        "</points>",
        "<points",
        "<point>",
        "",
        "red mug",
        "6",
        "There are 2.",
    ],
)
def test_other_text_is_malformed(text: str) -> None:
    assert outcome(text)[0] == "malformed"


def test_prose_and_counts() -> None:
    assert outcome("There are none.") == ("not_found", [])
    assert outcome("none") == ("not_found", [])
    assert outcome("A <pointer> and <pointsX> and <track1>.")[0] == "malformed"
    text = 'A <pointer> to <points coords="1 1 043 200">eggs</points> and <points coords="1 1 000 1000">ham</points>.'
    assert outcome(text) == ("found", [(0.043, 0.2), (0.0, 1.0)])
    assert [point.label for point in parse_coords(text).points] == ["eggs", "ham"]
    assert parse_coords("6").stated_count == 6
    counted = 'Counting the <points coords="1 1 043 200">eggs</points> shows a total of 2.'
    assert parse_coords(counted).stated_count == 2
    assert parse_coords(counted[:-1], cut=True).stated_count is None
    assert (
        parse_coords('There are 3 <points coords="1 1 043 200">eggs</points>.').stated_count == 3
    )
    assert outcome(counted[: counted.index(">eggs")], cut=True) == ("truncated", [(0.043, 0.2)])


def test_a_point_is_complete_with_the_character_behind_its_digits() -> None:
    parser = CoordsParser(label="mug")
    assert parser.feed('<points coords="1 1 224 80') == []
    assert parser.feed("6") == []
    (point,) = parser.feed(" ")
    assert (point.x, point.y, point.label, point.index) == (0.224, 0.806, "mug", 0)
    assert [parser.text[slice(*span)] for span in parser.spans[0]] == ["224", "806"]
    assert parser.feed("2 1000 100") == []
    (point,) = parser.feed('0">red mug</points>')
    assert (point.x, point.y) == (1.0, 1.0)
    assert {point.label for point in parser.finish().points} == {"red mug"}


TEXTS = st.one_of(
    st.sampled_from(
        [case["text"] for case in FORMATS] + [case["text"] for case in READINGS["cases"]]
    ),
    st.text(alphabet='<points cord="1 234567890;\t>/altrk.', max_size=60),
)


@given(TEXTS, st.lists(st.integers(1, 7), max_size=20), st.integers(0, 200), st.booleans())
def test_pieces_make_no_difference(text: str, sizes: list[int], length: int, cut: bool) -> None:
    text = text[:length]
    parser, at, streamed = CoordsParser(), 0, []
    for size in [*sizes, len(text)]:
        streamed += parser.feed(text[at : at + size])
        at += size
    parsed = parser.finish(cut=cut)
    assert parsed == parse_coords(text, cut=cut)
    assert [(p.x, p.y) for p in streamed] == [(p.x, p.y) for p in parsed.points]


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=1, max_size=30))
def test_round_trip(places: list[tuple[int, int]]) -> None:
    points = [(x / 1000, y / 1000) for x, y in places]
    parsed = parse_coords(format_coords([Frame("1", points)], "mug", style="count"))
    assert [(point.x, point.y) for point in parsed.points] == sorted(points)
    assert (parsed.status, parsed.stated_count) == (Status.FOUND, len(points))


@pytest.mark.parametrize("label", ["a</points>", "a</point b"])
def test_a_label_cannot_close_its_tag(label: str) -> None:
    with pytest.raises(MarkupError, match="cannot hold"):
        format_coords([Frame("1", [(0.5, 0.5)])], label)
