"""`molmo-point eval DATA`: labelled images of every layout, scored with a pointer that knows the truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import molmo_point as mp
from molmo_point.datasets import read_labelled
from molmo_point.datasets.label_studio import find_image
from molmo_point.errors import UsageError
from molmo_point.testing import FakePointer
from tests.cli.conftest import Run, Stage

SIZE = (80, 40)
TRUTH = {"mug": [(0.25, 0.25), (0.75, 0.75)], "pen": [(0.5, 0.5)], "zebra": []}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    Image.fromarray(np.zeros((40, 80, 3), np.uint8)).save(tmp_path / "photos" / "a.png")
    return tmp_path


def pointing(query: str) -> mp.Pointing:
    points = tuple(
        mp.Point(x=x, y=y, label=query, index=i) for i, (x, y) in enumerate(TRUTH[query])
    )
    status = mp.Status.FOUND if points else mp.Status.NOT_FOUND
    return mp.Pointing(
        query=query, points=points, status=status, image_size=SIZE, frame_id="a.png"
    )


def write(folder: Path, layout: str) -> Path:
    path = (
        folder
        / {"jsonl": "x.jsonl", "coco": "x.json", "studio": "x.json", "table": "x.csv"}[layout]
    )
    asked = [pointing(query) for query in TRUTH]
    if layout == "jsonl":
        lines = [
            {
                "image": "photos/a.png",
                "query": p.query,
                "points": [{"x": q.x, "y": q.y} for q in p.points],
            }
            for p in asked
        ]
        path.write_text("\n".join(map(json.dumps, lines)))
    elif layout == "coco":
        dataset = mp.to_coco([p for p in asked if p.points], file_names=["a.png"] * 2)
        path.write_text(json.dumps(dataset))
    elif layout == "studio":
        tasks: list[Any] = [
            {**mp.to_label_studio(p, "/data/upload/3/0a1b2c3d-a.png")} for p in asked if p.points
        ]
        path.write_text(json.dumps(tasks))
    else:
        path.write_text(mp.to_csv(asked))
    return path


@pytest.mark.parametrize("layout", ["jsonl", "coco", "studio", "table"])
def test_the_truth_scores_one(folder: Path, stage: Stage, run: Run, layout: str) -> None:
    stage.pointer = FakePointer(lambda _image, query: TRUTH[query])
    path = write(folder, layout)
    more = [] if layout == "jsonl" else ["--images", folder / "photos"]
    ran = run("eval", path, *more, "--json", "--out", folder / "report.json")
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    assert report["overall"]["f1"] == 1.0
    assert report["overall"]["questions"] == (3 if layout in ("jsonl", "table") else 2)
    assert json.loads((folder / "report.json").read_text()) == report


def test_a_point_beside_is_wrong(folder: Path, stage: Stage, run: Run) -> None:
    stage.pointer = FakePointer(lambda _image, query: [(x + 0.06, y) for x, y in TRUTH[query]])
    report = json.loads(run("eval", write(folder, "jsonl"), "--json").out)
    assert report["overall"]["f1"] == 0.0


def test_bad_entries_are_named_or_left_out(folder: Path, stage: Stage, run: Run) -> None:
    stage.pointer = FakePointer(lambda _image, query: TRUTH[query])
    path = write(folder, "jsonl")
    path.write_text(path.read_text() + '\n{"image": "none.png", "query": "mug", "points": []}')
    refused = run("eval", path)
    assert refused.code == 2
    assert "1 entry cannot be used: x.jsonl, annotation 4: there is no image" in refused.err
    kept = run("eval", path, "--skip-bad", "--json")
    assert kept.code == 0
    assert "there is no image" in kept.err


def test_answers_in_words_alone_are_refused(folder: Path, stage: Stage, run: Run) -> None:
    path = folder / "x.jsonl"
    path.write_text('{"image": "photos/a.png", "caption": "All black."}')
    assert "answers in words are not scored" in run("eval", path).err


@pytest.mark.parametrize(
    "address",
    ["photos/a.png", "/data/local-files/?d=photos/a.png", "http://studio/data/upload/1/0a1b2c3d-a.png", "a.png"],
)  # fmt: skip
def test_images_of_tasks_are_found(folder: Path, address: str) -> None:
    where = folder if "photos" in address else folder / "photos"
    assert find_image(where, address) == folder / "photos" / "a.png"


@pytest.mark.parametrize("address", ["../../etc/passwd", "", "b.png"])
def test_images_elsewhere_are_not(folder: Path, address: str) -> None:
    with pytest.raises(UsageError, match="there is no image"):
        find_image(folder / "photos", address)


def test_a_size_that_differs_is_named(folder: Path) -> None:
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(folder / "photos" / "a.png")
    with pytest.raises(UsageError, match="for 80x40 pixels, the image has 40x40"):
        read_labelled(write(folder, "table"), images=folder / "photos")


def test_the_layouts_of_the_help_are_those_that_are_read() -> None:
    from molmo_point.cli.reference import reference
    from molmo_point.datasets.layouts.table import LAYOUTS

    assert f"found out by default: {', '.join(sorted(LAYOUTS))}." in reference()


def test_a_benchmark_gives_a_page_its_twin_and_a_comparison(
    folder: Path, stage: Stage, run: Run
) -> None:
    from tests.datasets.benchmarks import CENTRES, refspatial

    path = refspatial(folder / "bench")
    for name, answer, shown in (("a", CENTRES[:1], "every answer is right"), ("b", [(0.01, 0.99)], "<svg")):  # fmt: skip
        stage.pointer = FakePointer({"the mugs": answer})
        ran = run("eval", path, "--json", "--report", folder / name)
        assert ran.code == 0, ran.err
        assert "refspatial, 1 items about 1 images, sha256 " in ran.err
        assert json.loads(ran.out) == json.loads((folder / name / "report.json").read_text())
        assert shown in (folder / name / "report.html").read_text()
    compared = run("eval", "compare", folder / "a" / "report.json", folder / "b" / "report.json")
    assert "refspatial-roborefer fraction" in compared.out
    assert "McNemar" in compared.out
    assert run("eval", "compare", folder / "a" / "report.json").code == 2
    assert "expected one DATA, or the word compare" in run("eval", path, folder / "a").err


def test_two_files_of_reports_need_the_word(folder: Path, run: Run) -> None:
    ran = run("eval", write(folder, "jsonl"), folder / "a.json")
    assert ran.code == 2
    assert "the word compare and two reports" in ran.err
