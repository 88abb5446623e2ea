"""Other tools' data as it comes: damaged entries are reported by file, annotation and reason, and cost no others."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molmo_point import Point, PointError, Pointing, Status
from molmo_point.convert import (
    TOLERANCE,
    Converted,
    from_coco,
    from_gemini,
    from_label_studio,
    from_moondream,
    from_qwen,
    qwen_seen_size,
    to_coco,
    to_label_studio,
    to_qwen,
)

SIZE = (200, 100)
IMAGE = {"id": 1, "file_name": "a.jpg", "width": 200, "height": 100}
MUG = {"id": 1, "name": "mug"}


def _coco(*annotations: Any, images: Any = None, categories: Any = (MUG,)) -> dict[str, Any]:
    return {
        "images": images or [IMAGE],
        "annotations": [{"image_id": 1, "category_id": 1, **entry} for entry in annotations],
        "categories": list(categories),
    }


GOOD = {"id": 7, "keypoints": [50, 20, 2]}


def _region(x: Any = 50, y: Any = 50, **fields: Any) -> dict[str, Any]:
    return {
        "id": "r1",
        "type": "keypointlabels",
        "original_width": 200,
        "original_height": 100,
        "value": {"x": x, "y": y, "width": 1, "keypointlabels": ["mug"]},
        **fields,
    }


def _task(*annotations: Any, **fields: Any) -> dict[str, Any]:
    return {"data": {"image": "b.jpg", "query": "mug"}, "annotations": list(annotations), **fields}


def _places(pointing: Pointing) -> list[tuple[float, float]]:
    return [(point.x, point.y) for point in pointing.points]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"keypoints": [1, 2, 2, 3]}, "expected keypoints as"),
        ({"keypoints": "1,2,2"}, "expected keypoints as"),
        ({"keypoints": [1, 2, None]}, "keypoint 0: expected a number as 'visibility', got None"),
        ({"keypoints": [1, "2", 2]}, "got '2'"),
        ({"keypoints": [float("nan"), 2, 2]}, "got nan"),
        ({"keypoints": [10**400, 2, 2]}, "expected a number as 'x'"),
        ({"keypoints": [300, 50, 2]}, "inside the image"),
        ({"keypoints": [0, 0, 0]}, "no labelled keypoint"),
        ({"bbox": [10, 10, 20, 20]}, "no labelled keypoint"),
        ({"segmentation": [[1, 2, 3, 4]]}, "no labelled keypoint"),
        ({"keypoints": None}, "no labelled keypoint"),
    ],
)
def test_coco_annotations(bad: dict[str, Any], reason: str) -> None:
    read = from_coco(_coco({"id": 6, **bad}, GOOD))
    assert isinstance(read, Converted)
    (pointing,) = read
    assert _places(pointing) == [(0.25, 0.2)]
    assert pointing.status is Status.MALFORMED
    (skipped,) = read.skipped
    assert (skipped.file, skipped.annotation) == ("a.jpg", "6")
    assert reason in skipped.reason
    alone = from_coco(_coco({"id": 6, **bad}))
    assert (alone[0].status, alone[0].count) == (Status.MALFORMED, 0)


def test_coco_boxes_can_be_asked_for() -> None:
    read = from_coco(_coco({"bbox": [10, 10, 20, 40]}, {"bbox": [1, 2]}, GOOD), boxes=True)
    assert _places(read[0]) == [(0.1, 0.3), (0.25, 0.2)]
    assert "expected bbox as" in str(read.skipped[0])


def test_coco_images_and_ids() -> None:
    images = [
        {**IMAGE, "id": 2, "width": 0},
        {"id": [3]},
        IMAGE,
        {**IMAGE, "id": 4, "width": None},
    ]
    read = from_coco(_coco(GOOD, {"id": 8, "image_id": 99, "keypoints": [1, 2, 2]}, images=images))
    assert [pointing.frame_id for pointing in read] == ["a.jpg"]
    assert read[0].status is Status.FOUND
    reasons = [str(skipped) for skipped in read.skipped]
    assert any("annotation 8: there is no image with the id 99" in reason for reason in reasons)
    assert sum("'width'" in reason for reason in reasons) == 3
    with pytest.raises(PointError, match=r"a\.jpg.*'width' of at least 1 pixel, got 0"):
        from_coco(_coco(images=[{**IMAGE, "width": 0}]))
    with pytest.raises(PointError, match="got a list"):
        from_coco([GOOD])  # type: ignore[arg-type]
    nameless = from_coco(_coco(GOOD, categories=[{"name": "mug"}, {"id": 1}]))
    assert nameless[0].points[0].label == ""


@pytest.mark.parametrize(
    ("one", "other"), [(1, "1"), ("1", 1), (1.0, 1), ("a-7", "a-7"), ([3], [3])]
)
def test_coco_ids_are_the_same_as_text(one: Any, other: Any) -> None:
    images = [{**IMAGE, "id": one}]
    kinds = [{"id": one, "name": "mug"}]
    read = from_coco(
        _coco({**GOOD, "image_id": other, "category_id": other}, images=images, categories=kinds)
    )
    assert read[0].points[0].label == "mug"
    assert not read.skipped


def test_annotations_that_could_belong_to_two_images_are_counted_in_none() -> None:
    images = [IMAGE, {**IMAGE, "file_name": "b.jpg"}, {**IMAGE, "id": 2, "file_name": "c.jpg"}]
    read = from_coco(_coco(GOOD, {**GOOD, "image_id": 2}, images=images))
    assert [p.status for p in read] == [Status.MALFORMED, Status.MALFORMED, Status.FOUND]
    assert "one of 2 with the id 1" in str(read.skipped[0])
    nameless = from_coco(_coco({**GOOD, "image_id": None}, images=[{**IMAGE, "id": None}]))
    assert nameless[0].status is Status.MALFORMED


def test_coco_entries_that_are_no_objects_do_not_lose_the_others() -> None:
    data = _coco(GOOD, images=[None, IMAGE, 5])
    read = from_coco({**data, "annotations": [None, *data["annotations"]]})
    assert [p.status for p in read] == [Status.FOUND]
    assert [skipped.annotation for skipped in read.skipped] == [
        "annotations[0]",
        "images[0]",
        "images[2]",
    ]


def test_a_crowd_is_no_thing() -> None:
    crowd = {"bbox": [10, 10, 20, 40], "iscrowd": 1}
    read = from_coco(_coco(crowd, GOOD), boxes=True)
    assert _places(read[0]) == [(0.25, 0.2)]
    assert read[0].status is Status.MALFORMED
    assert "crowd" in str(read.skipped[0])


def test_an_image_without_annotations_shows_nothing() -> None:
    (pointing,) = from_coco(_coco())
    assert pointing.status is Status.NOT_FOUND


@pytest.mark.parametrize(("score", "kept"), [(1.0000001, 1.0), (-1e-9, 0.0), (None, None)])
def test_scores_a_hair_outside(score: Any, kept: Any) -> None:
    read = from_coco(_coco({**GOOD, "score": score}))
    assert read[0].points[0].score == kept
    assert not read.skipped


@pytest.mark.parametrize("score", [87, "high", float("nan")])
def test_a_score_that_is_none_costs_only_the_score(score: Any) -> None:
    read = from_coco(_coco({**GOOD, "score": score}))
    assert (read[0].status, read[0].points[0].score) == (Status.FOUND, None)
    assert "kept without a score" in read.skipped[0].reason


@given(st.floats(-0.1, 1.1))
def test_a_point_a_hair_outside_is_moved_onto_the_edge(x: float) -> None:
    right = min(max(x, 0.0), 1.0)
    if -TOLERANCE + 1e-9 < x < 1 + TOLERANCE - 1e-9:
        readers = [
            from_coco(_coco({"keypoints": [x * 200, 50, 2]}))[0],
            from_label_studio(_task({"result": [_region(x * 100)]}))[0],
            from_gemini([{"point": [500, x * 1000]}], "mug", SIZE),
            from_qwen([{"point_2d": [x * 1000, 500]}], "mug", SIZE),
            from_moondream({"points": [{"x": x, "y": 0.5}]}, "mug", SIZE),
        ]
        for pointing in readers:
            assert pointing.points[0].x == pytest.approx(right, abs=1e-9)
            assert pointing.status is Status.FOUND
    elif not -TOLERANCE - 1e-9 < x < 1 + TOLERANCE + 1e-9:
        with pytest.raises(PointError, match="inside the image"):
            from_gemini([{"point": [500, x * 1000]}], "mug", SIZE)


def test_label_studio_one_skipped_one_done() -> None:
    read = from_label_studio(
        _task({"id": 3, "was_cancelled": True, "result": []}, {"result": [_region()]})
    )
    assert [pointing.status for pointing in read] == [Status.FOUND]
    assert str(read.skipped[0]) == "b.jpg, annotation 3: skipped by its annotator"


def test_label_studio_submitted_empty() -> None:
    prediction = {"result": [_region()], "model_version": "nano"}
    (pointing,) = from_label_studio(_task({"result": []}, predictions=[prediction]))
    assert (pointing.status, pointing.image_size) == (Status.NOT_FOUND, SIZE)
    (told,) = from_label_studio(_task({"result": []}), image_size=(40, 30))
    assert (told.status, told.image_size) == (Status.NOT_FOUND, (40, 30))


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"result": None}, "'result' in Label Studio data"),
        (5, "'result' in Label Studio data"),
        ({"result": [{"type": "choices", "value": {"choices": ["ok"]}}]}, "got choices only"),
    ],
)
def test_label_studio_annotations(bad: Any, reason: str) -> None:
    read = from_label_studio(_task(bad, {"result": [_region()]}))
    assert [pointing.count for pointing in read] == [1]
    assert reason in read.skipped[0].reason


@pytest.mark.parametrize("bad", [{"x": 140}, {"x": None}, {"value": None}, {"value": [1]}])
def test_label_studio_regions(bad: dict[str, Any]) -> None:
    (pointing,) = read = from_label_studio(_task({"result": [_region(), _region(**bad)]}))
    assert (pointing.status, pointing.count) == (Status.MALFORMED, 1)
    assert read.skipped[0].annotation == "0, region r1"


def test_label_studio_shapes() -> None:
    good = _task({"result": [_region()]})
    assert len(from_label_studio([good, good])) == 2
    assert len(from_label_studio([good, {"kp-1": []}, 7]).skipped) == 2  # type: ignore[list-item]
    assert from_label_studio({"data": {}, "annotations": None, "predictions": None}) == []
    old = {"data": {}, "completions": [{"result": [_region()]}]}
    assert from_label_studio(old)[0].count == 1
    with pytest.raises(PointError, match="JSON-MIN"):
        from_label_studio({"id": 1, "image": "/a.png", "kp-1": [{"x": 50, "y": 50}]})
    unsized = _task({"result": [_region(original_width=None)]})
    with pytest.raises(PointError, match="give image_size"):
        from_label_studio(unsized)
    assert from_label_studio(unsized, image_size=SIZE)[0].count == 1


@pytest.mark.parametrize("status", [Status.TRUNCATED, Status.MALFORMED, Status.PENDING])
def test_an_answer_that_is_not_whole_does_not_come_back_as_whole(status: Status) -> None:
    points = () if status is Status.PENDING else (Point(x=0.5, y=0.5, label="mug"),)
    pointing = Pointing(query="mug", points=points, status=status, image_size=SIZE)
    assert from_coco(json.loads(json.dumps(to_coco(pointing))))[0].status is status
    task = json.loads(json.dumps(to_label_studio(pointing)))
    assert from_label_studio(task, image_size=SIZE)[0].status is status


@pytest.mark.parametrize(
    "text",
    [
        '[{"point": [500, 250], "label": "mug"}]',
        '```json\n[{"point": [500, 250], "label": "mug"}]\n```',
        'Here they are:\n```\n[{"point": [500, 250], "label": "mug"}]\n```\nThat is all.',
        'The points: [{"point": [500, 250], "label": "mug"}] as asked',
        '{"points": [{"point": [500, 250], "label": "mug"}]}',
        '{"point": [500, 250], "label": "mug"}',
        '[{"box_2d": [400, 200, 600, 300], "label": "mug"}]',
    ],
)
def test_gemini_as_text(text: str) -> None:
    pointing = from_gemini(text, "mug", SIZE)
    assert _places(pointing) == [(0.25, 0.5)]
    assert pointing.status is Status.FOUND


@pytest.mark.parametrize("text", ["", "no points", '```json\n[{"point": [500,', "[1, 2"])
def test_text_without_an_answer(text: str) -> None:
    with pytest.raises(PointError, match="expected JSON in Gemini's answer"):
        from_gemini(text, "mug", SIZE)


def test_an_entry_of_moondream_that_is_no_object_does_not_lose_the_others() -> None:
    read = from_moondream({"points": [{"x": 0.5, "y": 0.5}, None]}, "mug", SIZE)
    assert read.status is Status.MALFORMED
    assert _places(read) == [(0.5, 0.5)]


def test_one_bad_entry_of_an_answer_does_not_lose_the_others() -> None:
    answer = [{"point": [500, 250]}, {"point": [1, None]}, "mug", {"point": [1, 2000]}]
    pointing = from_gemini(answer, "mug", SIZE)
    assert (pointing.status, _places(pointing)) == (Status.MALFORMED, [(0.25, 0.5)])
    assert json.loads(pointing.text) == answer
    assert from_gemini([], "mug", SIZE).status is Status.NOT_FOUND


def test_qwen() -> None:
    relative = from_qwen('```json\n[{"point_2d": [250, 500], "label": "mug"}]\n```', "mug", SIZE)
    assert _places(relative) == [(0.25, 0.5)]
    pixels = from_qwen([{"point_2d": [140, 42]}], "mug", SIZE, seen_size=(280, 84))
    assert _places(pixels) == [(0.5, 0.5)]
    boxes = from_qwen([{"bbox_2d": [200, 400, 300, 600], "label": "mug"}], "mug", SIZE)
    assert _places(boxes) == [(0.25, 0.5)]
    with pytest.raises(PointError, match=r'"point_2d": \[x, y\] in Qwen'):
        from_qwen([{"point_2d": [1]}], "mug", SIZE)


@given(
    st.floats(0, 1),
    st.floats(0, 1),
    st.none() | st.tuples(st.integers(28, 2000), st.integers(28, 2000)),
)
def test_qwen_round_trip(x: float, y: float, seen: tuple[int, int] | None) -> None:
    first = Pointing(query="a", points=(Point(x=x, y=y, label="b"),), status=Status.FOUND, image_size=SIZE)  # fmt: skip
    (back,) = from_qwen(to_qwen(first, seen_size=seen), "a", SIZE, seen_size=seen).points
    width, height = seen or (1000, 1000)
    assert abs(back.x - x) <= 0.5 / width + 1e-12
    assert abs(back.y - y) <= 0.5 / height + 1e-12
    assert back.label == "b"


def test_what_qwen_sees() -> None:
    """Values of the published `smart_resize`, worked out by hand."""
    assert qwen_seen_size((640, 480)) == (644, 476)
    assert qwen_seen_size((20, 20)) == (56, 56)
    width, height = qwen_seen_size((4000, 3000))
    assert (width % 28, height % 28) == (0, 0)
    assert width * height <= 1_003_520
    assert width / height == pytest.approx(4 / 3, rel=0.04)


KEYS = [
    "id",
    "image_id",
    "keypoints",
    "bbox",
    "width",
    "height",
    "result",
    "value",
    "x",
    "y",
    "type",
    "point",
    "score",
    "name",
    "data",
    "points",
]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 300) | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=40)
@given(json_values, json_values, json_values)
def test_no_data_raises_anything_but_errors_of_ours(one: Any, two: Any, three: Any) -> None:
    for read in (
        lambda: from_coco({"images": one, "annotations": two, "categories": three}),
        lambda: from_coco({"images": [IMAGE], "annotations": [two, {"image_id": 1, "keypoints": one}], "categories": [three]}),
        lambda: from_coco(_coco({"keypoints": one, "score": two, "category_id": three}), boxes=True),
        lambda: from_label_studio(_task(one, {"result": [two, _region(value=three)]})),
        lambda: from_label_studio({"data": one, "annotations": two, "predictions": three}),
        lambda: from_gemini([one, {"point": two}], "mug", SIZE),
        lambda: from_qwen(one, "mug", SIZE, seen_size=two),
        lambda: from_moondream({"points": [one, {"x": two, "y": three}]}, "mug", SIZE),
        lambda: from_moondream(one, "mug", three),
    ):  # fmt: skip
        try:
            read()
        except PointError:
            continue
