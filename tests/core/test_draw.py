"""Drawings: marks where the points are, labels off each other, sizes that fit the image."""

from __future__ import annotations

import importlib
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import molmo_point as mp
from molmo_point import Point, Pointing, Status
from molmo_point.draw import PALETTE, draw
from molmo_point.draw.drawing import SIGMAS_95
from molmo_point.draw.layout import Box, marker_radius, place_labels, quiet_corner
from molmo_point.draw.lettering import load_font, shorten, text_size
from molmo_point.draw.shapes import ellipse_outline

IMAGES = Path(__file__).parents[1] / "golden/images"


def _pointing(
    *points: Point, status: Status | None = None, size: tuple[int, int] = (640, 480)
) -> Pointing:
    numbered = tuple(point.model_copy(update={"index": n}) for n, point in enumerate(points))
    found = Status.FOUND if points else Status.NOT_FOUND
    return Pointing(query="mugs", points=numbered, status=status or found, image_size=size)


def _grey(width: int, height: int, level: int = 128) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def _changed(drawing: Image.Image, base: np.ndarray) -> np.ndarray:
    return (np.asarray(drawing).astype(int) - base.astype(int) != 0).any(axis=2)


@pytest.mark.parametrize("path", sorted(IMAGES.glob("*.png")), ids=lambda path: path.stem)
def test_every_size_and_mode_of_image(path: Path) -> None:
    corners = ((0, 0), (1, 1), (0.4, 0.6))
    mug = Point(x=0, y=0, label="mug", score=0.5, covariance=(1e-3, 0, 1e-3))
    points = [mug.model_copy(update={"x": x, "y": y}) for x, y in corners]
    drawing = draw(path, _pointing(*points))
    width, height = Image.open(path).size
    assert drawing.mode == "RGB"
    assert max(drawing.size) <= max(2048, width, height)
    assert drawing.width / drawing.height == pytest.approx(width / height, rel=0.02)


def test_the_marker_has_its_colour_at_the_point_and_white_around() -> None:
    base = _grey(800, 600)
    pixels = np.asarray(draw(base, _pointing(Point(x=0.3, y=0.7)), labels=False, count=False))
    assert pixels.shape == base.shape
    assert tuple(pixels[420, 240].tolist()) == PALETTE[0]
    changed = _changed(Image.fromarray(pixels), base)
    rows, columns = np.nonzero(changed)
    assert (rows.mean() + 0.5, columns.mean() + 0.5) == pytest.approx((420.0, 240.0), abs=0.75)
    assert (pixels[changed] == 255).all(axis=1).sum() > 50
    assert np.array_equal(base, _grey(800, 600)), "the caller's image was painted on"


def test_labels_have_colours_of_their_own() -> None:
    points = [
        Point(x=0.2 + 0.3 * n, y=0.5, label=label) for n, label in enumerate(("a", "b", "a"))
    ]
    pixels = np.asarray(draw(_grey(900, 600), _pointing(*points), labels=False, count=False))
    colours = [tuple(pixels[300, column].tolist()) for column in (180, 450, 720)]
    assert colours == [PALETTE[0], PALETTE[1], PALETTE[0]]


def test_each_option_leaves_its_part_away() -> None:
    point = Point(x=0.5, y=0.5, label="mug", score=0.9, covariance=(4e-3, 1e-3, 2e-3))
    base = _grey(640, 480)

    def area(**options: Any) -> int:
        return int(_changed(draw(base, _pointing(point), **options), base).sum())

    everything = area()
    for name in ("labels", "scores", "ellipses", "count"):
        assert area(**{name: False}) < everything, name


def test_what_went_wrong_is_written() -> None:
    base = _grey(640, 480)
    badges = {
        status: draw(base, _pointing(status=status)).tobytes()
        for status in (Status.NOT_FOUND, Status.TRUNCATED, Status.MALFORMED)
    }
    assert len(set(badges.values())) == 3


def test_small_images_are_enlarged_unless_told() -> None:
    pointing = _pointing(Point(x=0.5, y=0.5), size=(99, 41))
    assert min(draw(_grey(99, 41), pointing).size) == 480
    assert draw(_grey(99, 41), pointing, min_side=0).size == (99, 41)
    assert draw(_grey(3000, 2000), pointing).size == (3000, 2000)


def test_letters_that_the_font_lacks_are_looked_for(tmp_path: Path) -> None:
    own = load_font(20, "plain")
    assert text_size(own, "wide label")[0] > text_size(own, "wide")[0] > 0
    drawn = draw(_grey(640, 480), _pointing(Point(x=0.5, y=0.5, label="赤いマグ \U0001f375\n«é»")))
    assert drawn.size == (640, 480)
    with pytest.raises(OSError, match="cannot open resource"):
        draw(_grey(64, 48), _pointing(), font=str(tmp_path / "none.ttf"))


def test_shorten() -> None:
    assert shorten("a  b\nc", 9) == "a b c"
    assert shorten("abcdefghij", 5) == "abcd…"


def test_the_ellipse_holds_95_percent() -> None:
    covariance = (40.0, 12.0, 9.0)
    matrix = np.array([[40.0, 12.0], [12.0, 9.0]])
    outline = ellipse_outline(100.0, 50.0, covariance, SIGMAS_95) - (100.0, 50.0)
    distances = np.sqrt(np.einsum("ni,ij,nj->n", outline, np.linalg.inv(matrix), outline))
    assert distances == pytest.approx(np.full(96, SIGMAS_95), rel=1e-9)
    sample = np.random.default_rng(3).multivariate_normal((0, 0), matrix, 40_000)
    inside = np.einsum("ni,ij,nj->n", sample, np.linalg.inv(matrix), sample) <= SIGMAS_95**2
    assert inside.mean() == pytest.approx(0.95, abs=0.005)


@given(
    st.lists(
        st.tuples(st.floats(0, 640), st.floats(0, 480), st.floats(20, 200), st.floats(10, 30)),
        max_size=14,
    )
)
@settings(max_examples=60)
def test_labels_never_meet(items: list[tuple[float, float, float, float]]) -> None:
    places, sizes = [(x, y) for x, y, _, _ in items], [(w, h) for _, _, w, h in items]
    canvas, taken = Box(0, 0, 640, 480), [Box(0, 0, 150, 30)]
    boxes = place_labels(places, sizes, 9.0, canvas, taken)
    placed = [box for box in boxes if box is not None]
    markers = [Box(x - 9, y - 9, x + 9, y + 9) for x, y in places]
    for n, box in enumerate(placed):
        assert box.within(canvas)
        assert not any(box.meets(other) for other in (*taken, *markers, *placed[n + 1 :]))
    for found, size in zip(boxes, sizes, strict=True):
        if found is not None:
            assert (found.right - found.left, found.bottom - found.top) == pytest.approx(size)


def test_a_lone_label_stands_at_the_right_of_its_marker() -> None:
    (box,) = place_labels([(100.0, 100.0)], [(60.0, 20.0)], 10.0, Box(0, 0, 640, 480))
    assert box is not None
    assert (box.left, (box.top + box.bottom) / 2) == pytest.approx((113.5, 100.0))
    (other,) = place_labels([(630.0, 100.0)], [(60.0, 20.0)], 10.0, Box(0, 0, 640, 480))
    assert other is not None
    assert other.right == pytest.approx(616.5)


def test_the_badge_goes_where_nobody_is() -> None:
    canvas, size = Box(0, 0, 640, 480), (120.0, 30.0)
    assert quiet_corner(size, [], 10, canvas)[:2] == (10, 10)
    assert quiet_corner(size, [(50, 20)], 10, canvas)[:2] == (510, 10)
    assert quiet_corner(size, [(50, 20), (600, 20), (50, 470)], 10, canvas)[:2] == (510, 440)


def test_markers_shrink_in_a_crowd() -> None:
    assert marker_radius([(5, 5)], 10) == 10
    assert marker_radius([(0, 0), (1000, 0)], 10) == 10
    assert marker_radius([(0, 0), (16, 0), (32, 0)], 10) == pytest.approx(7.2)
    assert marker_radius([(0, 0)] * 5, 10) == 5


def test_the_package_offers_the_function_however_it_was_imported() -> None:
    importlib.import_module("molmo_point.draw")
    for _ in range(2):
        assert mp.draw(_grey(64, 48), _pointing()).mode == "RGB"
    data = io.BytesIO()
    mp.draw(_grey(64, 48), _pointing()).save(data, "PNG")
    assert math.log2(data.tell()) > 8
