"""Counting in tiles: a pointer that sees whole and cut squares, as a model does, must count each once."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molmo_point.counting.grid import OVERLAP, Tile, shape_for, split
from molmo_point.counting.merge import merge
from molmo_point.counting.tiled import tiles_for
from molmo_point.errors import ModelFailed, UsageError
from molmo_point.points import Point, Pointing, Status
from molmo_point.testing import FakePointer

cv2 = pytest.importorskip("cv2", reason="the extra 'tracking' is not installed")
pytest.importorskip("scipy", reason="the extra 'count' is not installed")

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def squares(number: int, seed: int, size: tuple[int, int] = (1280, 960), side: int = 20) -> Pixels:
    """Draw white squares that do not touch each other."""
    rng = np.random.default_rng(seed)
    image = np.zeros((size[1], size[0], 3), np.uint8)
    cells = [(x, y) for x in range(size[0] // (2 * side)) for y in range(size[1] // (2 * side))]
    for index in rng.permutation(len(cells))[:number]:
        x, y = np.array(cells[index]) * 2 * side + rng.integers(1, side - 1, 2)
        image[y : y + side, x : x + side] = 255
    return image


def seen(image: Pixels, noise: float = 0.002, most: int = 10_000) -> list[Point]:
    """Point to the middle of what is visible of each square, with noise and its covariance."""
    number, _, _, centres = cv2.connectedComponentsWithStats(
        np.ascontiguousarray(image[..., 0]), connectivity=8
    )
    rng = np.random.default_rng(image.shape[0] + image.shape[1] + number)
    places = (centres[1:][:most] + 0.5) / [image.shape[1], image.shape[0]]
    places = np.clip(places + rng.normal(0, noise, places.shape), 0, 1)
    variance = noise * noise
    return [
        Point(x=float(x), y=float(y), covariance=(variance, 0.0, variance), index=index)
        for index, (x, y) in enumerate(places)
    ]


@given(st.integers(50, 4000), st.integers(50, 4000), st.integers(1, 60))
def test_tiles_cover_the_image_and_overlap(width: int, height: int, number: int) -> None:
    columns, rows = shape_for((width, height), number)
    assert columns * rows >= number
    tiles = split(Tile(0, 0, width, height), columns, rows)
    assert len(tiles) == columns * rows
    for start, end, side in (("left", "right", width), ("top", "bottom", height)):
        spans = sorted({(getattr(tile, start), getattr(tile, end)) for tile in tiles})
        assert spans[0][0] == 0
        assert spans[-1][1] == side
        for (left, right), (following, _) in itertools.pairwise(spans):
            assert right - following >= OVERLAP * (right - left) - 2
    assert len({tile.width for tile in tiles}) <= 3


@pytest.mark.parametrize("number", [41, 120, 250, 400])
@pytest.mark.parametrize("tiles", [12, 20])
def test_a_thing_at_a_seam_is_counted_once(number: int, tiles: int) -> None:
    doubled = 0
    for seed in range(4):
        pointer = FakePointer(lambda image, _: seen(image))
        answer = pointer.count(squares(number, seed), "squares", tiles=tiles)
        doubled += abs(answer.count - number)
        assert answer.tiling is not None
        assert answer.tiling.seam_duplicates > 0
        assert answer.tiling.whole_count == number
        assert answer.tiling.agrees is True
        assert answer.status is Status.FOUND
    assert doubled <= 0.01 * 4 * number


def test_merged_points_lie_where_the_things_are() -> None:
    image = squares(150, 7)
    truth = np.array([(p.x, p.y) for p in seen(image, noise=0.0)])
    answer = FakePointer(lambda crop, _: seen(crop)).count(image, "squares", tiles=12)
    places = np.array([(point.x, point.y) for point in answer.points])
    distances = np.linalg.norm(truth[:, None] - places, axis=-1).min(axis=1) * 1280
    assert np.quantile(distances, 0.99) < 4.0
    assert [point.index for point in answer.points] == list(range(answer.count))


def test_the_first_look_says_how_many_tiles() -> None:
    """A model that stops at 40 points: the whole look is short, the tiles are not, and the answer says that they disagree."""
    pointer = FakePointer(lambda image, _: seen(image, most=40))
    answer = pointer.count(squares(200, 3), "squares", tiles="auto")
    assert answer.tiling is not None
    assert (answer.tiling.whole_count, answer.tiling.agrees) == (40, False)
    assert answer.count == pytest.approx(200, abs=2)
    few = FakePointer(lambda image, _: seen(image))
    answer = few.count(squares(3, 3, size=(320, 240), side=40), "squares", tiles="auto")
    assert answer.tiling is not None
    assert (answer.tiling.looks, answer.count, len(few.calls)) == (1, 3, 1)
    assert few.count(np.zeros((240, 320, 3), np.uint8), "squares", tiles="auto").count == 0


def test_a_tile_that_is_too_full_is_divided_again() -> None:
    """Ten points are the most in one look: four tiles of fifty squares each are divided."""
    pointer = FakePointer(lambda image, _: seen(image, most=11))
    answer = pointer.count(squares(60, 2, size=(640, 480)), "squares", tiles=4)
    assert answer.tiling is not None
    assert answer.tiling.looks == 1 + 4 + 16
    assert answer.count > 50


def test_neighbours_of_one_tile_stay_two_things() -> None:
    covariance = (1e-4, 0.0, 1e-4)
    close = [Point(x=x, y=0.5, covariance=covariance) for x in (0.80, 0.84)]
    left, right = Tile(0, 0, 100, 100), Tile(75, 0, 175, 100)
    again = [Point(x=x, y=0.5, covariance=covariance) for x in (0.05 + 0.002, 0.09 + 0.002)]
    answers = [
        (tile, Pointing(query="x", points=points, status=Status.FOUND, image_size=(100, 100)))
        for tile, points in ((left, close), (right, again))
    ]
    merged = merge(answers, (175, 100))
    # 0.052 of the right tile is closer to its inner edge than half of a thing of this spacing may reach.
    assert len(merged.points) == 2
    assert merged.duplicates == 2
    assert merged.points[0].covariance is not None
    assert merged.points[0].covariance[0] < 1e-4 * (100 / 175) ** 2


def test_an_incomplete_tile_makes_the_count_unknown() -> None:
    def answer(image: Pixels, query: str) -> Any:
        if image.shape[1] < 640:
            return Pointing(query=query, status=Status.TRUNCATED, image_size=(9, 9))
        return seen(image)

    found = FakePointer(answer).count(squares(12, 1, (640, 480)), "squares", tiles=4)
    assert found.status is Status.TRUNCATED


def test_a_tile_that_fails_is_the_error_of_the_image(start: Any) -> None:
    """Over a real server: tiles travel side by side, and one of them is refused."""
    from molmo_point.client import connect

    def refused(image: Pixels, query: str) -> Any:
        return ModelFailed("out of memory") if image.shape[1] < 640 else seen(image)

    service = start(FakePointer(refused))
    with connect(service.zmq.address) as pointer:
        image = squares(12, 1, (640, 480))
        with pytest.raises(ModelFailed, match="out of memory"):
            pointer.count(image, "squares", tiles=4)
    service = start(FakePointer(lambda image, _: seen(image)))
    with connect(service.zmq.address) as pointer:
        found = pointer.count(image, "squares", tiles=4, frame_id="camera")
        assert (found.count, found.frame_id) == (12, "camera")


@pytest.mark.parametrize("tiles", [0, -1, 257, 2.5, "many", True])
def test_other_numbers_of_tiles_are_refused(tiles: Any) -> None:
    with pytest.raises(UsageError, match="expected tiles to be 'auto', None or a number from 1"):
        FakePointer().count(np.zeros((9, 9, 3), np.uint8), "x", tiles=tiles)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=40))
def test_the_number_of_tiles_is_bounded(places: list[tuple[float, float]]) -> None:
    points = [Point(x=x, y=y) for x, y in places]
    status = Status.FOUND if points else Status.NOT_FOUND
    whole = Pointing(query="x", points=points, status=status, image_size=(640, 480))
    assert 1 <= tiles_for(whole) <= 2 * max(1, -(-len(points) // 5))
