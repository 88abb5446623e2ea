"""Published layouts: what is read of our own sets in them, how they are told apart, and what is named when it cannot be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from molmo_point.datasets import BadEntries, read_labelled
from molmo_point.datasets.coco import region_of
from molmo_point.datasets.labelled import LabelledItem
from molmo_point.datasets.layouts.table import LAYOUTS
from molmo_point.datasets.manifest import manifest
from molmo_point.datasets.masks import StoredMask, decode_runs, point_inside
from molmo_point.datasets.regions import Polygons, labelled_examples
from molmo_point.errors import UsageError
from tests.datasets.benchmarks import (
    BOXES,
    CENTRES,
    HEIGHT,
    LAYOUT_WRITERS,
    WIDTH,
    Writer,
    mask,
    photo,
    put,
)

WRITERS = [(name, writer) for name, writers in LAYOUT_WRITERS.items() for writer in writers]
IDS = [writer.__name__ for _, writer in WRITERS]

# For each writer: (query, mode, category, number of things, index of the boxes on which a point is right).
EXPECTED: dict[str, list[tuple[str, str, str, int, tuple[int, ...]]]] = {
    "pixmo_points": [("mugs", "point", "", 2, (0, 1)), ("zebra", "point", "", 0, ())],
    "pixmo_count": [("mugs", "count", "", 2, ())],
    "countbenchqa": [("How many mugs are there?", "count", "2 things", 2, ())],
    "tallyqa": [
        ("How many mugs are there?", "count", "complex", 2, ()),
        ("How many zebras are there?", "count", "simple", 0, ()),
    ],
    "point_bench": [
        ("Point to the mug on the left", "point", "spatial", 1, (0,)),
        ("Point to all mugs", "count", "counting", 2, (0, 1)),
    ],
    "where2place": [("the free places", "point", "", 1, (0, 1))],
    "where2place_parquet": [("the free places", "point", "", 1, (0, 1))],
    "refspatial": [("the mugs", "point", "location", 1, (0, 1))],
    "refspatial_parquet": [("the mugs", "point", "location", 1, (0, 1))],
    "robospatial": [("Pinpoint the free space left of the mug.", "point", "context", 1, (0,))],
    "screenspot": [
        ("open the mug", "point", "web text", 1, (0,)),
        ("open the mug", "point", "web icon", 1, (1,)),
    ],
    "screenspot_parquet": [("open the mug", "point", "desktop icon", 1, (0,))],
    "screenspot_v2": [
        ("open the mug", "point", "desktop icon", 1, (0,)),
        ("open the mug", "point", "mobile text", 1, (1,)),
    ],
    "screenspot_pro": [
        ("open the mug", "point", "CAD icon", 1, (0,)),
        ("the zebra", "point", "CAD icon", 0, ()),
    ],
    "yolo_pose": [("mugs", "point", "mugs", 2, (0, 1))],
    "coco_masks": [("mugs", "point", "mugs", 2, (0, 1)), ("mug", "point", "mug", 1, (0,))],
}


@pytest.mark.parametrize(("layout", "writer"), WRITERS, ids=IDS)
def test_every_layout_is_recognised_and_read(tmp_path: Path, layout: str, writer: Writer) -> None:
    data = read_labelled(writer(tmp_path))
    assert data.layout == layout
    examples = list(labelled_examples(data.items))
    read = [
        (e.query, e.mode, e.group, e.things, tuple(i for i in (0, 1) if any(r.contains(*CENTRES[i]) for r in e.regions)))
        for e in examples
    ]  # fmt: skip
    assert read == EXPECTED[writer.__name__]
    assert not any(region.contains(0.01, 0.99) for e in examples for region in e.regions)
    assert all(item.source for item in data.items)


def test_every_layout_has_a_set_of_our_own_or_a_test_elsewhere() -> None:
    assert set(LAYOUTS) - set(LAYOUT_WRITERS) == {"json-lines", "label-studio", "table"}


def test_answers_in_words_are_kept_apart(tmp_path: Path) -> None:
    items = read_labelled(LAYOUT_WRITERS["robospatial"][0](tmp_path)).items
    assert [(item.mode, item.text) for item in items] == [("point", ""), ("text", "yes")]


@pytest.mark.parametrize(("layout", "writer"), WRITERS, ids=IDS)
def test_a_named_layout_is_taken_as_named(tmp_path: Path, layout: str, writer: Writer) -> None:
    path = writer(tmp_path)
    assert len(read_labelled(path, layout=layout).items) == len(read_labelled(path).items)
    with pytest.raises(UsageError, match=r"expected a layout of coco, .*yolo-pose, got 'voc'"):
        read_labelled(path, layout="voc")


def test_the_manifest_names_files_and_changes_with_any_of_them(tmp_path: Path) -> None:
    path = LAYOUT_WRITERS["point-bench"][0](tmp_path / "one")
    made = manifest(path, read_labelled(path))
    assert (made.layout, made.items, made.images, made.skipped) == ("point-bench", 2, 2, 0)
    assert [file.name for file in made.files] == ["data.json", "selected_masks.zip"]
    again = LAYOUT_WRITERS["point-bench"][0](tmp_path / "two")
    for name in ("data.json",):
        (again / name).write_bytes((path / name).read_bytes())
    (again / "selected_masks.zip").write_bytes((path / "selected_masks.zip").read_bytes())
    assert manifest(again, read_labelled(again)).sha256 == made.sha256
    image = again / "selected_images" / "spatial" / "a.png"
    image.write_bytes(image.read_bytes() + b"\0")
    assert manifest(again, read_labelled(again)).sha256 != made.sha256


def test_answers_that_are_not_known_in_full_are_not_learned_from(tmp_path: Path) -> None:
    for layout, learns in (("pixmo-count", False), ("refspatial", False), ("yolo-pose", True)):
        path = LAYOUT_WRITERS[layout][0](tmp_path / layout)
        data = read_labelled(path)
        if learns:
            assert data.to_learn_from(path) is data
        else:
            with pytest.raises(
                UsageError, match=r"1 entry \(first: .*can be evaluated, not learned from"
            ):
                data.to_learn_from(path)


def _pro(folder: Path, **changes: Any) -> Path:
    path = LAYOUT_WRITERS["screenspot-pro"][0](folder)
    rows = json.loads((path / "annotations" / "autocad.json").read_text())
    put(path / "annotations" / "autocad.json", [rows[0], {**rows[0], **changes}])
    return path


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bbox": [90, 0, 99, 10]}, "autocad.json, annotation 1: expected a box inside of the image"),
        ({"bbox": [5, 5, 5, 9]}, "annotation 1: expected a box inside of the image with left < right"),
        ({"bbox": None}, "annotation 1: expected a bbox"),
        ({"bbox": [1, 2]}, "annotation 1: bbox.2: Field required"),
        ({"img_size": [81, 40]}, "annotation 1: the box is for 81x40 pixels, the image has 80x40"),
        ({"img_filename": "none.png"}, "annotation 1: there is no image none.png in .*images"),
        ({"img_filename": "../annotations/autocad.json"}, "annotation 1: there is no image"),
        ({"instruction": ""}, "annotation 1: instruction: "),
    ],
)  # fmt: skip
def test_bad_entries_are_named_and_counted(tmp_path: Path, changes: Any, said: str) -> None:
    path = _pro(tmp_path, **changes)
    with pytest.raises(BadEntries, match=f"1 entry cannot be used: .*{said}"):
        read_labelled(path)
    data = read_labelled(path, skip_bad=True)
    assert (len(data.items), len(data.skipped)) == (1, 1)


def test_masks_that_are_missing_empty_or_damaged_are_named(tmp_path: Path) -> None:
    path = LAYOUT_WRITERS["refspatial"][0](tmp_path)
    file = path / "Location" / "mask" / "0.png"
    for data, said in (
        (b"no image", "annotation 0: the mask cannot be read"),
        (photo()[:60], "annotation 0: the mask cannot be read"),
    ):
        file.write_bytes(data)
        with pytest.raises(BadEntries, match=f"Location/question.json, {said}"):
            read_labelled(path)
    file.unlink()
    with pytest.raises(BadEntries, match=r"annotation 0: there is no image Location/mask/0\.png"):
        read_labelled(path)


def test_data_that_are_nothing_known_or_nothing_at_all(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such file or folder"):
        read_labelled(tmp_path / "none")
    with pytest.raises(
        UsageError, match="a folder in no layout that is known: expected JSON Lines"
    ):
        read_labelled(tmp_path)
    with pytest.raises(UsageError, match="a file in no layout that is known"):
        read_labelled(put(tmp_path / "x.json", [{"a": 1}]))
    with pytest.raises(UsageError, match="cannot be read as Parquet"):
        read_labelled(put(tmp_path / "x.parquet", b"PAR1"))


def test_points_of_pixmo_in_both_shapes_of_parquet(tmp_path: Path) -> None:
    from tests.datasets.benchmarks import parquet

    put(tmp_path / "two.png", photo())
    xs, ys = ([100 * c[i] for c in CENTRES] for i in (0, 1))
    row = {"image_url": "http://x/two.png", "label": "mugs", "count": 2, "collection_method": "counting",
           "points": {"x": xs, "y": ys}}  # fmt: skip
    item = read_labelled(parquet(tmp_path / "train.parquet", [row])).items[0]
    assert item == LabelledItem(
        tmp_path / "two.png",
        "mugs",
        CENTRES,
        "count",
        category="counting",
        source="train.parquet:0",
    )


def test_run_lengths_as_text_and_as_numbers() -> None:
    # The texts are pycocotools 2.0.11's `mask.encode` of these masks.
    noise = (np.random.default_rng(0).random((7, 9)) > 0.5).astype(bool)
    for text, expected in (
        (r"d<:n00000000000000000000000000000000000000\n1", mask(BOXES[0])),
        ("d<:n00000000000000000000000000000000000000`i06ZVO0000000000000000000000000000000000000l;", mask(*BOXES)),
        ("021O0010O141MNO011OO01011NO0021OOO00023", noise),
    ):  # fmt: skip
        assert np.array_equal(decode_runs(text, *expected.shape), expected)
    counts = [0, 3, 1, 2]
    assert decode_runs(counts, 3, 2).tolist() == [[True, False], [True, True], [True, True]]
    with pytest.raises(UsageError, match="expected run lengths that fill 2x3 pixels, got 5"):
        decode_runs([0, 3, 1, 1], 3, 2)
    with pytest.raises(UsageError, match="ends within a number"):
        decode_runs("n", 3, 2)


def test_a_point_of_a_mask_lies_on_it() -> None:
    ring = np.ones((9, 9), bool)
    ring[2:7, 2:7] = False
    x, y = StoredMask(ring).center
    assert StoredMask(ring).contains(x, y)
    assert point_inside(mask(BOXES[0])) == pytest.approx(CENTRES[0])
    concave = Polygons(
        (((0, 0), (1, 0), (1, 1), (0.9, 1), (0.9, 0.1), (0.1, 0.1), (0.1, 1), (0, 1)),)
    )
    assert concave.contains(*concave.center)
    with pytest.raises(UsageError, match="the mask is empty"):
        StoredMask(np.zeros((4, 4), bool))


def test_a_crowd_takes_its_question_out_of_the_data(tmp_path: Path) -> None:
    path = LAYOUT_WRITERS["coco"][0](tmp_path)
    dataset = json.loads(path.read_text())
    dataset["annotations"][1]["iscrowd"] = 1
    path.write_text(json.dumps(dataset))
    with pytest.raises(BadEntries, match=r"a.png, annotation 2: it is a crowd"):
        read_labelled(path)
    assert [item.query for item in read_labelled(path, skip_bad=True).items] == ["mug"]


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        ({"segmentation": [[1, 2, 3, 4]]}, "three or more corners"),
        ({"segmentation": [[1, 2, 3]]}, "expected a segmentation of polygons or run lengths"),
        ({"segmentation": {"counts": [1]}}, "expected a segmentation of polygons or run lengths"),
        ({"segmentation": {"size": [4, 4], "counts": [16]}}, "its mask is for 4x4 pixels, the image has 80x40"),
        ({"segmentation": []}, r"expected bbox as \[x, y, width, height\], got None"),
    ],
)  # fmt: skip
def test_areas_that_cannot_be_read_are_named(annotation: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        region_of(annotation, (WIDTH, HEIGHT))
