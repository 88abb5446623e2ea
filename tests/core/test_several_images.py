"""Several images and videos in one question to a Molmo 2: the reference's tokens, and points that say where they lie."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import molmo_point as mp
from molmo_point.engine.point_grammar import THOUSANDTHS
from molmo_point.errors import PointError, QueryError, UsageError
from molmo_point.markup import Frames, parse_coords
from molmo_point.points import Status

GOLDEN = Path(__file__).parents[1] / "golden/molmo2"
BOTH = [GOLDEN / f"images/{name}.png" for name in ("img0_336x336", "img3_200x150")]
FRAMES = [GOLDEN / f"images/video_160x120_frame{frame}.png" for frame in range(3)]
VIDEO = mp.Video(FRAMES, (0.0, 0.5, 1.0))


@pytest.mark.parametrize("drafts", [False, True])
@pytest.mark.parametrize("name", ["tiny2-q", "tiny2-o"])
@pytest.mark.parametrize(("case", "given"), [("multi", BOTH), ("video", VIDEO)])
def test_tokens_are_the_references(name: str, case: str, given: Any, drafts: bool) -> None:
    folder = GOLDEN / "models" / name
    pointer = mp.load(folder, device="cpu", max_new_tokens=24, drafts=drafts)
    cases = json.loads((folder / "golden.json").read_text())["cases"]
    (question,) = (entry["prompt"] for entry in cases if entry["name"] == case)
    tokens = np.load(folder / "golden.npz")[f"{case}/greedy24"].tolist()
    expected = pointer.engine.tokenizer.decode(tokens)
    assert pointer.point(given, question).text == expected
    with pointer.open(given) as view:
        assert view.point(question).text == expected


def outcome(text: str, frames: Frames) -> tuple[Status, list[tuple[Any, ...]]]:
    whole = parse_coords(text, frames=frames)
    parser = THOUSANDTHS.parser("", frames)
    streamed = [point for letter in text for point in parser.feed(letter)]
    assert parser.finish().status is whole.status
    assert [(p.x, p.y) for p in streamed] == [(p.x, p.y) for p in whole.points]
    return whole.status, [(p.image_index, p.time_s, p.track, p.x, p.y) for p in whole.points]


TIMES = Frames(0, (0.5, 1.0, 2.5))


@pytest.mark.parametrize(
    ("text", "frames", "points"),
    [
        (
            '<points coords="1 1 100 200;2 2 300 400">x</points>',
            Frames(2),
            [(0, None, None, 0.1, 0.2), (1, None, None, 0.3, 0.4)],
        ),
        (
            '<points coords="0.5 1 100 200;2.5 2 300 400">x</points>',
            TIMES,
            [(0, 0.5, None, 0.1, 0.2), (2, 2.5, None, 0.3, 0.4)],
        ),
        (
            '<points coords="1.0 1 100 200;1.0 2 300 400">x</points>',
            Frames(0, (0.5, 1.0, 1.04)),
            [(1, 1.0, None, 0.1, 0.2), (2, 1.04, None, 0.3, 0.4)],
        ),
        (
            '<tracks coords="0.5 1 100 200 3 300 400;1.0 1 110 200">x</tracks>',
            TIMES,
            [(0, 0.5, 1, 0.1, 0.2), (0, 0.5, 3, 0.3, 0.4), (1, 1.0, 1, 0.11, 0.2)],
        ),
    ],
)
def test_points_say_where_they_lie(text: str, frames: Frames, points: list[Any]) -> None:
    assert outcome(text, frames) == (Status.FOUND, points)


@pytest.mark.parametrize(
    ("coords", "frames", "count"),
    [
        ("1 1 100 200;3 2 300 400", Frames(2), 1),
        ("0 1 100 200", Frames(2), 0),
        ("2 1 100 200;1 2 300 400", Frames(2), 0),
        ("1 1 100 200;1 2 300 400", Frames(2), 1),
        ("1 1 100 200;2 1 300 400", Frames(2), 1),
        ("1 1 100 1001", Frames(2), 0),
        ("0.7 1 100 200", TIMES, 0),
        ("1.0 1 100 200;0.5 2 300 400", TIMES, 1),
        ("0.5 1 100 200", Frames(2), 0),
    ],
)
def test_what_was_not_given_is_malformed(coords: str, frames: Frames, count: int) -> None:
    status, points = outcome(f'<points coords="{coords}">x</points>', frames)
    assert (status, len(points)) == (Status.MALFORMED, count)


def test_objects_whose_numbers_run_backwards_are_malformed() -> None:
    text = '<tracks coords="0.5 3 100 200 1 300 400">x</tracks>'
    assert outcome(text, TIMES)[0] is Status.MALFORMED


def test_bad_input_is_refused() -> None:
    pointer = mp.load(GOLDEN / "models/tiny2-q", device="cpu")
    image = np.zeros((20, 20, 3), np.uint8)
    long = mp.Video([image] * 200, [n / 2 for n in range(200)])
    with pytest.raises(QueryError, match="200 frames take"):
        pointer.point(long, "x")
    with pytest.raises(UsageError, match="empty list"):
        pointer.point([], "x")
    for times in ((0.0, 0.5), (0.0, 1.0, 0.5), (0.51, 0.52, 1.0), (-1.0, 0.0, 1.0)):
        with pytest.raises(UsageError):
            mp.Video(FRAMES, times)
    with pytest.raises(PointError, match="one image"):
        mp.load("nano", device="cpu").point(BOTH, "x")
