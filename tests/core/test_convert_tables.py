"""CSV, YOLO pose, Molmo's and Qwen's text: there and back (hypothesis), and foreign files with damage."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import molmo_point as mp
from molmo_point import Point, Pointing, Status
from molmo_point.errors import MarkupError, UsageError

SIZE = (200, 100)
NAMES = ("cup", "red mug", "plate")

cells = st.tuples(st.integers(0, 100), st.integers(0, 100))
offset = st.floats(0.0, 0.005)


@st.composite
def pointings(draw: st.DrawFn, labels: tuple[str, ...] = NAMES, scores: bool = True) -> Pointing:
    places = draw(st.lists(cells, max_size=6, unique=True))
    query = draw(st.sampled_from(labels))
    points = tuple(
        Point(
            x=min(1.0, x / 100 + draw(offset)),
            y=min(1.0, y / 100 + draw(offset)),
            label=draw(st.sampled_from(labels)),
            score=draw(st.none() | st.floats(0.0, 1.0)) if scores else None,
            index=index,
        )
        for index, (x, y) in enumerate(places)
    )
    status = Status.FOUND if points else Status.NOT_FOUND
    sizes = st.tuples(st.integers(1, 9000), st.integers(1, 9000))
    return Pointing(query=query, points=points, status=status, image_size=draw(sizes), model="m")


def places_of(pointing: Pointing) -> list[tuple[float, float]]:
    return [(point.x, point.y) for point in pointing.points]


@given(st.lists(pointings(), min_size=1, max_size=3), st.integers(0, 2**62))
def test_csv_round_trip(answers: list[Pointing], stamp: int) -> None:
    named = [a.replace(frame_id=f"{n}.jpg", stamp_ns=stamp) for n, a in enumerate(answers)]
    for back in (mp.from_csv(mp.to_csv(named)), mp.from_csv(mp.to_rows(named))):
        assert back.skipped == ()
        for one, other in zip(back, named, strict=True):
            assert one.replace(text="") == other


@pytest.mark.parametrize("status", ["truncated", "malformed", "pending"])
def test_csv_keeps_that_an_answer_is_not_whole(status: str) -> None:
    answer = Pointing(query="mug", status=Status(status), image_size=SIZE)
    (back,) = mp.from_csv(mp.to_csv(answer))
    assert (back.status, back.points) == (Status(status), ())


@pytest.mark.parametrize(
    "text",
    [
        "image,label,x_px,y_px\na.jpg,mug,10.5,20\n",
        "image;label;x_px;y_px\na.jpg;mug;10,5;20\n",
        "image\tlabel\tx_px\ty_px\na.jpg\tmug\t10.5\t20\n",
        '\ufeff"image";"label";"X_px";"Y_px"\r\n"a.jpg";"mug";"10,5";"20,0"\r\n',
    ],
)
def test_tables_of_spreadsheets(text: str) -> None:
    (pointing,) = mp.from_csv(text, query="mug", image_size=SIZE)
    assert pointing.frame_id == "a.jpg"
    assert [(p.x, p.y, p.label) for p in pointing.points] == [(0.0525, 0.2, "mug")]


def test_a_comma_that_may_stand_between_thousands_is_not_read_as_decimal() -> None:
    text = "image\tx_px\ty_px\na.jpg\t1,500\t20\na.jpg\t10\t20\n"
    read = mp.from_csv(text, query="mug", image_size=SIZE)
    assert read[0].status is Status.MALFORMED
    assert "'1,500'" in str(read.skipped[0])
    kept = mp.from_csv("label;x;y\n1,5;0,5;0,5\n", query="mug", image_size=SIZE)
    assert [(p.label, p.x) for p in kept[0].points] == [("1,5", 0.5)]


def test_a_foreign_csv_is_read_and_its_damage_reported(tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    path.write_text(
        "\ufeffimage,X_px,Y_px,label,score\n"
        "a.png,20,50,cup,0.5\n"
        "a.png,far,50,cup,\n"
        "b.png,500,50,cup,\n"
        "b.png,100,50,,7\n"
        'c.png,,50,"cup, old",\n'
        "d.png,,,,\n"
    )
    back = mp.from_csv(path, query="cup", image_size=SIZE)
    by_name = {str(answer.frame_id): answer for answer in back}
    assert places_of(by_name["a.png"]) == [(0.1, 0.5)]
    assert [answer.status for answer in back] == [
        Status.MALFORMED, Status.MALFORMED, Status.MALFORMED, Status.NOT_FOUND
    ]  # fmt: skip
    assert places_of(by_name["b.png"]) == [(0.5, 0.5)]
    assert by_name["b.png"].points[0].score is None
    reasons = [(skipped.file, skipped.annotation, skipped.reason) for skipped in back.skipped]
    assert [reason[:2] for reason in reasons] == [
        ("a.png", "2"),
        ("b.png", "3"),
        ("b.png", "4"),
        ("c.png", "5"),
    ]
    for reason, words in zip(
        reasons,
        (
            "a number as 'x_px', got 'far'",
            "inside the image",
            "score of 0-1",
            "both x_px and y_px",
        ),
        strict=True,
    ):
        assert words in reason[2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", r"columns x and y .* got \['a', 'b'\]"),
        ("x,y,width,height\n0.5,0.5,8,8\n", "column 'query', or query="),
        ("query,x,y\nmug,0.5,0.5\n", "'width' and 'height', or image_size="),
        ("query,x,y,width,height\nmug,0.5,7,8,8\n", "inside the image"),
        pytest.param(
            'query,x,y\n"' + "a" * 200_000 + '",1,1\n', "expected a CSV table", id="huge"
        ),
        ("query,x,y,width,height,status\nmug,0.5,0.5,8,8,lost\n", "a status of .*, got 'lost'"),
    ],
)
def test_tables_that_hold_no_points_are_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        mp.from_csv(text)


@given(pointings(scores=False), st.floats(0.001, 1.0))
def test_yolo_pose_round_trip(pointing: Pointing, side: float) -> None:
    text = mp.to_yolo_pose(pointing, NAMES, side=side)
    (back,) = mp.from_yolo_pose(text, NAMES, pointing.image_size, query=pointing.query)
    assert (back.status, back.image_size, back.query) == (
        pointing.status, pointing.image_size, pointing.query
    )  # fmt: skip
    for one, other in zip(back.points, pointing.points, strict=True):
        assert (one.x, one.y) == pytest.approx((other.x, other.y), abs=1e-6)
        assert one.label == other.label
    for line in text.splitlines():
        cx, cy, width, height = map(float, line.split()[1:5])
        for centre, extent in ((cx, width), (cy, height)):
            assert extent > 0
            assert centre - extent / 2 >= -1e-6
            assert centre + extent / 2 <= 1 + 1e-6


def test_a_foreign_label_file_is_read_and_its_damage_reported() -> None:
    """Three keypoints an object, a prediction with a score, an unlabelled keypoint, and lines that are none."""
    text = (
        "0 0.5 0.5 0.2 0.2 0.4 0.4 2 0.6 0.6 1 0 0 0 0.9\n"
        "0 0.5 0.5 0.2 0.2 0.4 0.4\n"
        "7 0.5 0.5 0.2 0.2 0.1 0.1 2 0 0 0 0 0 0\n"
        "\n"
        "1 0.5 0.5 0.2 0.2 0.3 nan 2 0 0 0 0 0 0\n"
        "1 0.5 0.5 0.2 0.2 0.3 1.3 2 0 0 0 0 0 0\n"
        "2 0.25 0.5 0.2 0.2 0 0 0 0 0 0 0 0 0\n"
    )
    back = mp.from_yolo_pose(text, NAMES, SIZE, kpt_shape=(3, 3), file="a.txt")
    (pointing,) = back
    assert (pointing.status, pointing.frame_id, pointing.query) == (
        Status.MALFORMED,
        "a.txt",
        "cup",
    )
    assert places_of(pointing) == [(0.4, 0.4), (0.6, 0.6)]
    assert [point.score for point in pointing.points] == [0.9, 0.9]
    assert [skipped.annotation for skipped in back.skipped] == ["2", "3", "5", "6", "7"]
    with_boxes = mp.from_yolo_pose(text, NAMES, SIZE, kpt_shape=(3, 3), boxes=True)
    assert places_of(with_boxes[0])[-1] == (0.25, 0.5)
    (detections,) = mp.from_yolo_pose(
        "1 0.5 0.25 0.1 0.1\n", {1: "mug"}, SIZE, kpt_shape=(0, 0), boxes=True
    )
    assert (places_of(detections), detections.points[0].label) == ([(0.5, 0.25)], "mug")
    assert mp.from_yolo_pose("", NAMES, SIZE)[0].status is Status.NOT_FOUND


def test_yolo_refuses_what_a_label_file_cannot_say() -> None:
    found = Pointing(
        query="dog", points=(Point(x=0.5, y=0.5),), status=Status.FOUND, image_size=SIZE
    )
    with pytest.raises(UsageError, match=r"one of \['cup', 'red mug', 'plate'\], got 'dog'"):
        mp.to_yolo_pose(found, NAMES)
    with pytest.raises(UsageError, match="complete answer, got one that is truncated"):
        mp.to_yolo_pose(found.replace(status=Status.TRUNCATED), NAMES)
    with pytest.raises(UsageError, match="no line of the label file can be read"):
        mp.from_yolo_pose("hello\n", NAMES, SIZE)
    with pytest.raises(UsageError, match="kpt_shape"):
        mp.from_yolo_pose("", NAMES, SIZE, kpt_shape=(1, 5))
    with pytest.raises(UsageError, match="names of the classes"):
        mp.from_yolo_pose("", "cup", SIZE)


@given(st.sampled_from(NAMES).flatmap(lambda name: pointings(labels=(name,), scores=False)))
def test_molmo_text_round_trips(pointing: Pointing) -> None:
    for write, read in ((mp.to_molmo, mp.from_molmo), (mp.to_molmo2, mp.from_molmo2)):
        back = read(write(pointing), pointing.query, pointing.image_size)
        assert (back.status, back.image_size) == (pointing.status, pointing.image_size)
        assert {point.label for point in back.points} <= {pointing.query}
        left = list(places_of(pointing))
        assert len(places_of(back)) == len(left)
        for one in places_of(back):
            # By distance: rounding may change the order of points that are nearly level.
            near = min(left, key=lambda other: max(abs(np.subtract(one, other))))
            assert one == pytest.approx(near, abs=6e-3)
            left.remove(near)


def test_molmo_text_that_cannot_be() -> None:
    two = (Point(x=0.1, y=0.1, label="a"), Point(x=0.9, y=0.9, label="b"))
    answer = Pointing(query="a", points=two, status=Status.FOUND, image_size=SIZE)
    with pytest.raises(UsageError, match=r"points of one label, got \['a', 'b'\]"):
        mp.to_molmo2(answer)
    with pytest.raises(UsageError, match="complete answer"):
        mp.to_molmo(answer.replace(status=Status.TRUNCATED))
    with pytest.raises(MarkupError):
        mp.to_molmo2(answer.replace(points=(Point(x=0.1, y=0.1, label="</points>"),)))
    cut = mp.from_molmo2('<points coords="1 1 250 500 2 6', "mug", SIZE)
    assert (cut.status, places_of(cut)) == (Status.MALFORMED, [(0.25, 0.5)])
    assert mp.from_molmo("Sorry.", "mug", SIZE).status is not Status.NOT_FOUND


@given(pointings(scores=False), st.booleans(), st.booleans())
def test_qwen_boxes_and_points_round_trip(pointing: Pointing, boxes: bool, pixels: bool) -> None:
    seen = (1092, 728) if pixels else None
    written = mp.to_qwen(pointing, seen_size=seen, boxes=boxes)
    assert all(("bbox_2d" in entry) is boxes for entry in written)
    back = mp.from_qwen(written, pointing.query, pointing.image_size, seen_size=seen)
    assert (back.status, back.count) == (pointing.status, pointing.count)
    for one, other in zip(back.points, pointing.points, strict=True):
        assert (one.x, one.y) == pytest.approx((other.x, other.y), abs=1e-3)
        assert one.label == other.label


def test_the_csv_reads_in_other_programs() -> None:
    answer = Pointing(
        query="mug", points=(Point(x=0.5, y=0.25),), status=Status.FOUND, image_size=SIZE
    )
    (row,) = csv.DictReader(io.StringIO(mp.to_csv(answer)))
    assert (row["x_px"], row["y_px"], row["status"]) == ("100.0", "25.0", "found")


def test_supervision_detections_are_boxes_around_the_points() -> None:
    sv = pytest.importorskip("supervision", reason="supervision is not installed")
    points = (
        Point(x=0.5, y=0.5, label="b", score=0.75),
        Point(x=1.0, y=0.0, label="a", score=0.5),
    )
    answer = Pointing(query="b", points=points, status=Status.FOUND, image_size=SIZE)
    boxes = mp.to_supervision_detections(answer, box_px=20)
    assert boxes.xyxy.tolist() == [[90, 40, 110, 60], [190, 0, 200, 10]]
    assert (boxes.confidence.tolist(), boxes.class_id.tolist()) == ([0.75, 0.5], [1, 0])
    assert boxes[boxes.confidence > 0.6].data["point"].tolist() == [[100, 50]]
    absent = answer.replace(points=(), status=Status.NOT_FOUND)
    assert len(mp.to_supervision_detections(absent, box_px=20)) == 0
    assert isinstance(boxes, sv.Detections)
    with pytest.raises(UsageError, match="box_px above 0"):
        mp.to_supervision_detections(answer, box_px=0)
