"""Labelled data: what is read, and what is named when it cannot be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from molmo_point.datasets import BadEntries, read_labelled, split_by_image
from molmo_point.datasets.regions import labelled_examples
from molmo_point.errors import UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png"):
        Image.fromarray(np.zeros((40, 80, 3), np.uint8)).save(tmp_path / name)
    return tmp_path


def write_lines(folder: Path, *lines: Any) -> Path:
    path = folder / "labels.jsonl"
    path.write_text("\n".join(x if isinstance(x, str) else json.dumps(x) for x in lines))
    return path


def test_json_lines_in_pixels_normalized_and_as_boxes(folder: Path) -> None:
    path = write_lines(
        folder,
        {"image": "a.png", "query": "mugs", "points": [[20, 10], [60, 30]]},
        "",
        {"image": "a.png", "query": "mugs", "points": [{"x": 0.5, "y": 0.25, "score": 0.9}]},
        {"image": "b.png", "query": "pens", "boxes": [[0, 0, 40, 40]], "mode": "count"},
        {"image": "b.png", "query": "zebra", "points": []},
        {"image": "b.png", "query": "What is it?", "answer": "Nothing."},
        {"image": "b.png", "caption": "All black."},
    )
    items = read_labelled(path).items
    assert [item.points for item in items[:4]] == [
        ((0.25, 0.25), (0.75, 0.75)),
        ((0.5, 0.25),),
        ((0.25, 0.5),),
        (),
    ]
    assert items[2].boxes == ((0.0, 0.0, 0.5, 1.0),)
    assert [item.mode for item in items] == ["point", "point", "count", "point", "text", "text"]
    assert [item.text for item in items[4:]] == ["Nothing.", "All black."]
    assert items[1].source == "labels.jsonl:3"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"image": "a.png", "query": "m", "points": [[81, 10]]}, r"annotation 2: the point \(81, 10\) lies outside"),
        ({"image": "a.png", "query": "m", "points": [{"x": 1.2, "y": 0}]}, "annotation 2: expected a point inside the image"),
        ({"image": "c.png", "query": "m", "points": []}, "annotation 2: there is no image .*c.png"),
        ({"image": "a.png", "query": " ", "points": []}, "expected a query"),
        ({"image": "a.png", "query": "m"}, "expected one of points"),
        ({"image": "a.png", "query": "m", "boxes": [[9, 0, 3, 3]]}, "left < right"),
        ({"image": "a.png", "query": "m", "points": [], "status": "truncated"}, "it is not whole"),
        ("{", "expected a JSON object"),
    ],
)  # fmt: skip
def test_a_bad_line_is_named_and_can_be_skipped(folder: Path, line: Any, said: str) -> None:
    good = {"image": "a.png", "query": "mugs", "points": [[20, 10]]}
    path = write_lines(folder, good, line, good)
    with pytest.raises(BadEntries, match=rf"1 entry cannot be used: .*{said}.*--skip-bad"):
        read_labelled(path)
    data = read_labelled(path, skip_bad=True)
    assert (len(data.items), len(data.skipped)) == (2, 1)


def test_a_file_without_any_usable_line_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="holds no question that can be used, it is empty"):
        read_labelled(write_lines(folder, ""))
    with pytest.raises(UsageError, match="is a folder"):
        read_labelled(folder)


def coco(folder: Path, **changes: Any) -> Path:
    person = ["left_eye", "right_eye"]
    dataset = {
        "images": [{"id": 1, "file_name": "a.png", "width": 80, "height": 40}],
        "categories": [{"id": 1, "name": "mug"}, {"id": 2, "name": "person", "keypoints": person}],
        "annotations": [
            {"id": 7, "image_id": 1, "category_id": 1, "bbox": [0, 0, 40, 40]},
            {"id": 8, "image_id": 1, "category_id": 2, "keypoints": [20, 10, 2, 60, 30, 1]},
        ],
        **changes,
    }
    path = folder / "coco.json"
    path.write_text(json.dumps(dataset))
    return path


def test_coco_boxes_and_named_keypoints(folder: Path) -> None:
    items = read_labelled(coco(folder)).items
    assert {item.query: item.points for item in items} == {
        "mug": ((0.25, 0.5),),
        "left eye of person": ((0.25, 0.25),),
        "right eye of person": ((0.75, 0.75),),
    }


def test_coco_ids_of_other_types_and_entries_that_are_no_objects(folder: Path) -> None:
    images: list[Any] = [None, {"id": "1", "file_name": "a.png", "width": 80, "height": 40}]
    read = read_labelled(coco(folder, images=images), skip_bad=True)
    assert {item.query for item in read.items} == {
        "mug",
        "left eye of person",
        "right eye of person",
    }
    assert "expected an object, got None" in str(read.skipped[0])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"images": [{"id": 1, "file_name": "a.png", "width": 80, "height": 40}] * 2},
            "2 images have the id 1",
        ),
        (
            {"categories": [{"id": 1, "name": ""}, {"id": 2, "name": "person"}]},
            "categories, annotation 1: the category has no name; 1 annotations use it",
        ),
        (
            {"annotations": [{"id": 9, "image_id": 1, "category_id": 1, "bbox": [90, 0, 9, 9]}]},
            "a.png, annotation 9: expected a point inside the image",
        ),
        (
            {"images": [{"id": 1, "file_name": "a.png", "width": 81, "height": 40}]},
            "the annotations are for 81x40 pixels, the image has 80x40",
        ),
        (
            {"images": [{"id": 1, "file_name": "none.png", "width": 80, "height": 40}]},
            "there is no image .*none.png",
        ),
    ],
)
def test_bad_coco_entries_are_named(folder: Path, changes: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_labelled(coco(folder, **changes))


def test_a_split_keeps_images_whole_and_where_they_were(folder: Path) -> None:
    lines = [
        {"image": name, "query": query, "points": []}
        for name in ("a.png", "b.png")
        for query in "xy"
    ]
    items = read_labelled(write_lines(folder, *lines)).items
    kept, held = split_by_image(items, 0.3)
    assert len(kept) == len(held) == 2
    assert not {item.image for item in kept} & {item.image for item in held}
    assert split_by_image(kept + held, 0.3)[0] == kept
    with pytest.raises(UsageError, match="no image is left for training"):
        split_by_image(held, 0.3)


def test_regions_are_boxes_or_the_surroundings_of_points(folder: Path) -> None:
    path = write_lines(
        folder,
        {"image": "a.png", "query": "mugs", "points": [[20, 10]]},
        {"image": "b.png", "query": "pens", "boxes": [[0, 0, 40, 40]]},
        {"image": "b.png", "caption": "Black."},
    )
    near, box = labelled_examples(read_labelled(path).items)
    assert near.regions[0].contains(0.28, 0.25)
    assert not near.regions[0].contains(0.31, 0.25)
    assert box.regions[0].contains(0.5, 1.0)
    assert not box.regions[0].contains(0.6, 0.5)
