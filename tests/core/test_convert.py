"""Other tools' formats: what they hold comes back, and what they do not accept is refused."""

from __future__ import annotations

import json
import re
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molmo_point import Point, PointError, Pointing, Status
from molmo_point.convert import (
    from_coco,
    from_gemini,
    from_label_studio,
    from_moondream,
    to_coco,
    to_fiftyone,
    to_gemini,
    to_label_studio,
    to_moondream,
    to_supervision,
)
from molmo_point.install import install_line

unit = st.floats(0.0, 1.0)
cells = st.tuples(st.integers(0, 100), st.integers(0, 100))
offsets = st.tuples(st.floats(0.0, 0.005), st.floats(0.0, 0.005))
sizes = st.tuples(st.integers(1, 9000), st.integers(1, 9000))
words = st.text(min_size=1, max_size=12)


@st.composite
def pointings(draw: st.DrawFn, scores: bool = True) -> Pointing:
    query = draw(words)
    score = (unit | st.none()) if scores else st.none()
    item = st.tuples(cells, offsets, st.just(query) | words, score)
    # Half a percent apart: nearer ones would be one thing.
    items = draw(st.lists(item, max_size=5, unique_by=lambda drawn: drawn[0]))
    points = tuple(
        Point(
            x=min(1.0, cell[0] / 100 + offset[0]),
            y=min(1.0, cell[1] / 100 + offset[1]),
            label=label,
            score=p,
            index=n,
        )
        for n, (cell, offset, label, p) in enumerate(items)
    )
    status = Status.FOUND if points else Status.NOT_FOUND
    return Pointing(query=query, points=points, status=status, image_size=draw(sizes), model="m")


def _assert_same(
    back: Pointing, first: Pointing, *, labels: bool, scores: bool, places: float
) -> None:
    assert (back.query, back.status, back.image_size) == (
        first.query,
        first.status,
        first.image_size,
    )
    assert [point.index for point in back.points] == list(range(first.count))
    for one, other in zip(back.points, first.points, strict=True):
        assert (one.x, one.y) == pytest.approx((other.x, other.y), abs=places)
        assert one.label == (other.label if labels else first.query)
        assert one.score == (other.score if scores else None)


def _json(value: Any) -> Any:
    return json.loads(json.dumps(value))


@given(pointings())
def test_moondream_round_trip(pointing: Pointing) -> None:
    back = from_moondream(_json(to_moondream(pointing)), pointing.query, pointing.image_size)
    _assert_same(back, pointing, labels=False, scores=False, places=0.0)


@given(pointings())
def test_gemini_round_trip(pointing: Pointing) -> None:
    back = from_gemini(_json(to_gemini(pointing)), pointing.query, pointing.image_size)
    _assert_same(back, pointing, labels=True, scores=False, places=0.0005 + 1e-12)


@given(pointings())
def test_label_studio_round_trip(pointing: Pointing) -> None:
    task = _json(to_label_studio(pointing, "https://example.com/a.jpg"))
    if not pointing.points:
        with pytest.raises(PointError, match="an empty answer cannot be read back"):
            from_label_studio(task)
        return
    (back,) = from_label_studio(task)
    _assert_same(back, pointing, labels=True, scores=True, places=1e-12)
    assert back.model == "m"


@given(st.lists(pointings(), max_size=3))
def test_coco_round_trip(answers: list[Pointing]) -> None:
    dataset = _json(to_coco(answers, [f"{n}.png" for n in range(len(answers))]))
    back = from_coco(dataset)
    assert [pointing.frame_id for pointing in back] == [f"{n}.png" for n in range(len(answers))]
    for one, other in zip(back, answers, strict=True):
        _assert_same(one, other, labels=True, scores=True, places=1e-12)
    ids = [annotation["id"] for annotation in dataset["annotations"]]
    assert len(set(ids)) == len(ids)


MUG = Point(x=0.25, y=0.5, label="mug", score=0.75, covariance=(1e-4, 0.0, 4e-4))
PAN = Point(x=1.0, y=0.125, label="", index=1)
KITCHEN = Pointing(query="things", points=(MUG, PAN), status=Status.FOUND, image_size=(800, 400), model="nano")  # fmt: skip
EMPTY = Pointing(query="things", status=Status.NOT_FOUND, image_size=(800, 400))


def test_what_the_formats_look_like() -> None:
    assert to_moondream(KITCHEN) == {"points": [{"x": 0.25, "y": 0.5}, {"x": 1.0, "y": 0.125}]}
    assert to_gemini(KITCHEN) == [
        {"point": [500, 250], "label": "mug"},
        {"point": [125, 1000], "label": "things"},
    ]
    region = to_label_studio(KITCHEN)["predictions"][0]["result"][0]
    assert region["value"] == {"x": 25.0, "y": 50.0, "width": 1.0, "keypointlabels": ["mug"]}
    assert (region["original_width"], region["original_height"], region["score"]) == (
        800,
        400,
        0.75,
    )
    dataset = to_coco(KITCHEN, ["a.jpg"])
    assert dataset["categories"][0] == {
        "id": 1,
        "name": "mug",
        "keypoints": ["point"],
        "skeleton": [],
    }
    assert [item["keypoints"] for item in dataset["annotations"]] == [
        [200.0, 200.0, 2],
        [800.0, 50.0, 2],
    ]
    assert [item["category_id"] for item in dataset["annotations"]] == [1, 2]
    assert "score" not in dataset["annotations"][1]
    for nothing in (
        to_moondream(EMPTY)["points"],
        to_gemini(EMPTY),
        to_coco(EMPTY)["annotations"],
    ):
        assert nothing == []


@pytest.mark.parametrize(
    ("convert", "message"),
    [
        (lambda: from_moondream({}, "a", (8, 8)), "a list of objects as 'points' in Moondream data"),
        (lambda: from_moondream({"points": [{"x": "1"}]}, "a", (8, 8)), "a number as 'x', got '1'"),
        (lambda: from_moondream({"points": [{"x": 1.5, "y": 0}]}, "a", (8, 8)), r"inside the image.*x = 1\.5"),
        (lambda: from_gemini([{"point": [1]}], "a", (8, 8)), r"\[y, x\] in Gemini's answer, got \[1\]"),
        (lambda: from_gemini([{"point": [1, 1200]}], "a", (8, 8)), r"got x = 1\.2"),
        (lambda: from_gemini([{"point": [True, 3]}], "a", (8, 8)), "a number as 'y', got True"),
        (lambda: from_label_studio({"annotations": [{"result": 3}]}), "'result' in Label Studio data, got 3"),
        (lambda: from_coco({"images": []}), "'categories' in COCO data"),
        (lambda: to_coco([KITCHEN], []), "expected 1 file names, one for each pointing, got 0"),
    ],
)  # fmt: skip
def test_other_shapes_are_refused(convert: Any, message: str) -> None:
    with pytest.raises(PointError, match=message):
        convert()


def test_corrected_annotations_come_before_predictions() -> None:
    task = to_label_studio(KITCHEN)
    corrected = json.loads(json.dumps(task["predictions"][0]["result"]))
    corrected[0]["value"]["x"] = 30.0
    task["annotations"] = [{"result": corrected}]
    (back,) = from_label_studio(task, query="cups")
    assert (back.query, back.points[0].x) == ("cups", 0.3)


def test_supervision() -> None:
    sv = pytest.importorskip("supervision")
    key_points = to_supervision(KITCHEN)
    assert isinstance(key_points, sv.KeyPoints)
    assert key_points.xy.tolist() == [[[200.0, 200.0]], [[800.0, 50.0]]]
    assert key_points.class_id.tolist() == [0, 1]
    assert key_points.data["class_name"].tolist() == ["mug", "things"]
    assert key_points.data["covariance_px"][0].tolist() == pytest.approx([64.0, 0.0, 64.0])
    assert np.isnan(key_points.data["covariance_px"][1]).all()
    scored = to_supervision(KITCHEN.replace(points=(MUG,)))
    assert np.asarray(scored.keypoint_confidence).tolist() == [[0.75]]
    assert len(to_supervision(EMPTY)) == 0
    canvas = np.zeros((400, 800, 3), np.uint8)
    drawn = sv.VertexAnnotator(color=sv.Color.WHITE, radius=4).annotate(canvas.copy(), key_points)
    assert drawn[200, 200].tolist() == [255, 255, 255]


class _Embedded:
    def __init__(self, **fields: Any) -> None:
        self.fields = fields


def test_fiftyone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the fields of fiftyone's own classes; the package itself brings a database server along."""
    fiftyone = ModuleType("fiftyone")
    fiftyone.Keypoint = fiftyone.Keypoints = _Embedded  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fiftyone", fiftyone)
    first, second = to_fiftyone(KITCHEN).fields["keypoints"]
    assert first.fields == {
        "label": "mug",
        "points": [(0.25, 0.5)],
        "confidence": [0.75],
        "index": 0,
    }
    assert second.fields == {"label": "things", "points": [(1.0, 0.125)], "index": 1}


@pytest.mark.parametrize("package", ["supervision", "fiftyone"])
def test_a_missing_package_says_what_to_type(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    convert = {"supervision": to_supervision, "fiftyone": to_fiftyone}[package]
    with pytest.raises(PointError, match=re.escape(install_line(package))):
        convert(KITCHEN)
