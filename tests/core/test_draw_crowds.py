"""Drawings of many points, on any background, with labels in any script."""

from __future__ import annotations

import math
import unicodedata
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molmo_point import Point, Pointing, Status
from molmo_point.draw import PALETTE, draw, lettering
from molmo_point.draw.colours import colours_of, surroundings
from molmo_point.draw.lettering import lay_line, plain, shorten, substitute
from molmo_point.draw.marks import CROWD, MANY

BIDI_MARKS = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u061c"


def _grid(count: int, labels: tuple[str, ...] = ("cell",), **fields: Any) -> Pointing:
    columns = min(count, math.ceil(math.sqrt(count * 1.5)))
    rows = math.ceil(count / columns)
    points = tuple(
        Point(
            x=(n % columns + 0.5) / columns,
            y=(n // columns + 0.5) / rows,
            label=labels[n % len(labels)],
            index=n,
            **fields,
        )
        for n in range(count)
    )
    return Pointing(query="cells", points=points, status=Status.FOUND, image_size=(900, 600))


def _flat(colour: tuple[int, int, int]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.full((600, 900, 3), colour, np.uint8)


def _noise() -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (600, 900, 3), dtype=np.uint8)


@pytest.mark.parametrize("count", [MANY + 1, 100, CROWD + 1, 400])
@pytest.mark.parametrize("labels", [("cell",), tuple("abcdefghij")])
def test_what_is_under_many_points_stays_to_be_seen(count: int, labels: tuple[str, ...]) -> None:
    base = _noise()
    pointing = _grid(count, labels, covariance=(9e-5, 0.0, 9e-5), score=0.9)
    pixels = np.asarray(draw(base, pointing, count=False))
    places = [(int(x), int(y)) for x, y in pointing.pixels()]
    same = [(pixels[y, x] == base[y, x]).all() for x, y in places]
    assert np.mean(same) > 0.97
    assert (pixels == base).all(axis=2).mean() > 0.55, "more is covered than left free"


def test_no_panel_hides_a_point_in_a_crowd() -> None:
    pointing = _grid(100, tuple("abcdefg"))
    with_panel = np.asarray(draw(_flat((240, 240, 240)), pointing, labels=False))
    without = np.asarray(draw(_flat((240, 240, 240)), pointing, labels=False, count=False))
    for x, y in pointing.pixels():
        box = np.s_[max(0, int(y) - 9) : int(y) + 9, max(0, int(x) - 9) : int(x) + 9]
        rings = [
            (np.ptp(drawing[box].astype(int), axis=2) > 60).sum()
            for drawing in (with_panel, without)
        ]
        assert rings[0] > 0.5 * rings[1]


def test_the_legend_names_what_the_colours_are() -> None:
    base = _flat((240, 240, 240))
    few, many = _grid(MANY, ("mug", "plate")), _grid(MANY + 1, ("mug", "plate"))
    legend = np.asarray(draw(base, many))
    badge_only = np.asarray(draw(base, many.replace(points=many.points[:1]), labels=False))
    dark = [(drawing.max(axis=2) < 60).sum() for drawing in (legend, badge_only)]
    assert dark[0] > 1.5 * dark[1]
    assert np.asarray(draw(base, few)).shape == base.shape


@pytest.mark.parametrize("background", PALETTE)
def test_a_marker_is_not_the_colour_of_what_it_lies_on(background: tuple[int, int, int]) -> None:
    chosen = colours_of(["burger", "bun"], [background, background])
    assert background not in chosen.values()
    assert len(set(chosen.values())) == 2
    pixels = np.asarray(draw(_flat(background), _grid(1), labels=False, count=False))
    assert tuple(pixels[300, 450].tolist()) in set(PALETTE) - {background}


def test_surroundings_at_the_edges() -> None:
    image = np.zeros((4, 6, 3), np.uint8)
    image[:2] = 200
    assert surroundings(image, [(0, 0), (6, 4), (3, 2)], 1.0)[:2] == [(200, 200, 200), (0, 0, 0)]


def test_more_labels_than_colours() -> None:
    names = [f"label {n}" for n in range(20)]
    chosen = colours_of(names, [(128, 128, 128)] * 20)
    assert list(chosen) == names
    assert draw(_noise(), _grid(40, tuple(names))).size == (900, 600)


def test_a_large_ellipse_does_not_tint_the_image() -> None:
    base = _flat((128, 128, 128))
    wide = _grid(1, covariance=(0.03, 0.0, 0.03))
    pixels = np.asarray(draw(base, wide, labels=False, count=False))
    assert (pixels == base).all(axis=2).mean() > 0.97
    small = _grid(1, covariance=(4e-4, 0.0, 4e-4))
    tinted = np.asarray(draw(base, small, labels=False, count=False))
    assert tuple(tinted[300, 450 + 25].tolist()) != (128, 128, 128)


@pytest.mark.parametrize(("x", "y"), [(0, 0), (1, 0), (0, 1), (1, 1), (0, 0.5), (0.5, 1)])
def test_a_marker_at_the_edge_is_whole(x: float, y: float) -> None:
    base = _flat((128, 128, 128))

    def coloured(at: tuple[float, float]) -> int:
        point = Point(x=at[0], y=at[1], label="cell")
        pointing = _grid(1).replace(points=(point,))
        pixels = np.asarray(draw(base, pointing, labels=False, count=False))
        return int((pixels == PALETTE[0]).all(axis=2).sum())

    assert coloured((x, y)) >= 0.95 * coloured((0.5, 0.5))


SCRIPTS = [
    "赤いマグ",
    "빨간 컵",
    "लाल कप",
    "كوب أحمر 3",
    "☕ 🍵",
    "ไทย",
    "naïve Ünï",
    "красный",
    "𓀀",
    "\ue000",
    "é",
]


@pytest.mark.parametrize("text", SCRIPTS)
@pytest.mark.parametrize("fonts", [True, False])
def test_no_letter_becomes_an_empty_box(
    text: str, fonts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not fonts:
        monkeypatch.setattr(lettering, "installed_fonts", tuple)
    lettering.load_font.cache_clear()
    lay_line.cache_clear()
    line = lay_line(text, 20)
    assert line.text.strip()
    for run, font in line.runs:
        missing = bytes(font.getmask("\U0010fffd"))
        for character in set(run) - {" "}:
            if not unicodedata.category(character).startswith(("M", "C")):
                assert bytes(font.getmask(character)) != missing
    lettering.load_font.cache_clear()
    lay_line.cache_clear()


def test_joiners_between_substitutes_are_no_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lettering, "installed_fonts", tuple)
    lay_line.cache_clear()
    lettering.load_font.cache_clear()
    assert lay_line("\U0001f469\u200d\U0001f680 x", 20).text == "[woman][rocket] x"
    lay_line.cache_clear()
    lettering.load_font.cache_clear()


def test_substitutes_can_be_read() -> None:
    assert [substitute(c) for c in "빨い赤é"] == ["bbal", "i", " U+8D64 ", "e"]
    assert substitute("\u2615") == "[hot beverage]"


@pytest.mark.parametrize("mark", BIDI_MARKS)
def test_marks_cannot_turn_a_label_around(mark: str) -> None:
    assert shorten(f"a{mark}bc", 9) == "abc"
    assert lay_line(f"a{mark}bc", 20).text == "abc"


@given(st.text(max_size=12))
@settings(max_examples=60, deadline=None)
def test_any_text_can_be_drawn(text: str) -> None:
    line = lay_line(text, 14)
    assert line.size[0] >= 0
    assert not set(plain(text)) & set(BIDI_MARKS)
    assert "\n" not in line.text


def test_a_label_of_surrogates_is_drawn() -> None:
    assert lay_line("caf\udce9", 20).text == "caf"


def test_without_raqm_right_to_left_is_written_from_the_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lettering.features, "check", lambda name: False)
    assert lettering._in_order("שלום") == "םולש"
    assert lettering._in_order("mug") == "mug"
