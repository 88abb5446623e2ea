"""An entry that foreign data names twice is one thing, as in an answer of our own; `duplicates` says how many were dropped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from molmo_point import Pointing, Status
from molmo_point.convert import (
    from_coco,
    from_gemini,
    from_label_studio,
    from_moondream,
    from_qwen,
    to_coco,
    to_label_studio,
    to_moondream,
)
from molmo_point.points import Point

SIZE = (1000, 500)
Place = tuple[float, float]


def moondream(*places: Place) -> Pointing:
    return from_moondream({"points": [{"x": x, "y": y} for x, y in places]}, "mug", SIZE)


def moondream_boxes(*places: Place) -> Pointing:
    boxes = [
        {"x_min": x - 0.1, "x_max": x + 0.1, "y_min": y - 0.1, "y_max": y + 0.1} for x, y in places
    ]
    return from_moondream({"objects": boxes}, "mug", SIZE)


def gemini(*places: Place) -> Pointing:
    entries = [{"point": [1000 * y, 1000 * x], "label": "mug"} for x, y in places]
    return from_gemini(entries, "mug", SIZE)


def qwen(*places: Place) -> Pointing:
    entries = [{"point_2d": [1000 * x, 500 * y], "label": "mug"} for x, y in places]
    return from_qwen(entries, "mug", SIZE, seen_size=SIZE)


def label_studio(*places: Place) -> Pointing:
    regions = [
        {
            "id": str(number),
            "type": "keypointlabels",
            "original_width": SIZE[0],
            "original_height": SIZE[1],
            "value": {"x": 100 * x, "y": 100 * y, "width": 1, "keypointlabels": ["mug"]},
        }
        for number, (x, y) in enumerate(places)
    ]
    return from_label_studio({"data": {"query": "mug"}, "annotations": [{"result": regions}]})[0]


def coco(*places: Place) -> Pointing:
    annotations = [
        {"id": n, "image_id": 1, "category_id": 1, "keypoints": [1000 * x, 500 * y, 2]}
        for n, (x, y) in enumerate(places)
    ]
    images = [{"id": 1, "file_name": "a.jpg", "width": SIZE[0], "height": SIZE[1]}]
    categories = [{"id": 1, "name": "mug"}]
    data = {"images": images, "annotations": annotations, "categories": categories}
    return from_coco(data)[0]


Reader = Callable[..., Pointing]
MODELS: list[Reader] = [moondream, moondream_boxes, gemini, qwen]
PEOPLE: list[Reader] = [label_studio, coco]


@pytest.mark.parametrize("read", MODELS + PEOPLE, ids=lambda read: read.__name__)
def test_the_same_place_counts_once(read: Reader) -> None:
    pointing = read((0.25, 0.5), (0.75, 0.5), (0.25, 0.5), (0.25, 0.5))
    assert [(round(p.x, 9), round(p.y, 9)) for p in pointing.points] == [(0.25, 0.5), (0.75, 0.5)]
    assert (pointing.count, pointing.duplicates, pointing.status) == (2, 2, Status.FOUND)
    assert [p.index for p in pointing.points] == [0, 1]


@pytest.mark.parametrize(("move", "count"), [(0.003, 1), (0.004, 2)])
@pytest.mark.parametrize("read", MODELS, ids=lambda read: read.__name__)
def test_what_a_model_writes_follows_the_rule_of_our_own_answers(
    read: Reader, move: float, count: int
) -> None:
    assert read((0.25, 0.5), (0.25 + move, 0.5)).count == count


@pytest.mark.parametrize("read", PEOPLE, ids=lambda read: read.__name__)
def test_neighbours_that_a_person_marked_stay(read: Reader) -> None:
    pointing = read((0.25, 0.5), (0.251, 0.5))
    assert (pointing.count, pointing.duplicates) == (2, 0)


def test_two_labels_at_one_place_are_two_things() -> None:
    entries: list[Any] = [{"point_2d": [100, 100], "label": label} for label in ("cup", "saucer")]
    assert [p.label for p in from_qwen(entries, "dishes", SIZE).points] == ["cup", "saucer"]


def test_a_repeat_keeps_the_best_score() -> None:
    points = tuple(Point(x=0.5, y=0.5, label="mug", score=s, index=0) for s in (0.2, 0.9))
    twice = Pointing(query="mug", points=points, status=Status.FOUND, image_size=SIZE)
    back = [from_coco(to_coco(twice))[0], from_label_studio(to_label_studio(twice, "a.jpg"))[0]]
    for pointing in back:
        assert [p.score for p in pointing.points] == [0.9]
        assert pointing.duplicates == 1
    assert from_moondream(to_moondream(twice), "mug", SIZE).duplicates == 1
