"""The review of a run: by keyboard and mouse in Chromium, saved before it says so, exported to other tools."""

from __future__ import annotations

import csv
import io
import json
import re
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from molmo_point.convert import from_coco, from_label_studio
from molmo_point.count_runs.items import file_item
from molmo_point.count_runs.journal import Journal, read_run
from molmo_point.count_runs.run import Counter
from molmo_point.errors import UsageError
from molmo_point.review.corrections import Correction, Corrections, MarkedPoint
from molmo_point.review.export import FORMATS, export, write_export
from molmo_point.review.reviewed import Review, agreement, row_id
from molmo_point.testing import FakePointer
from tests.service.page_driver import CHROMIUM, FLAGS

PLACES = [(0.25, 0.5), (0.75, 0.5)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run over four images; the last is damaged."""
    items = []
    for number in range(4):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (200, 100), (60 * number, 90, 90)).save(path)
        items.append(file_item(path.name, str(path), ("cups",)))
    (tmp_path / "3.png").write_bytes((tmp_path / "3.png").read_bytes()[:50])
    with Journal(tmp_path / "run", {"queries": ["cups"]}) as journal:
        list(Counter(FakePointer({"cups": PLACES}), journal).run(items))
    return tmp_path / "run"


def corrected(review: Review) -> None:
    """Accept the first row as it is; of the second delete a point, move the other and add two."""
    first, second = list(review.entries.values())[:2]
    points = tuple(review.points(first))
    review.corrections.add(first.key, Correction(points=points, accepted=True))
    new = [MarkedPoint(x=0.3, y=0.5, origin=0), MarkedPoint(x=0.1, y=0.2), MarkedPoint(x=1, y=0)]
    review.corrections.add(second.key, Correction(points=tuple(new), accepted=True))


def test_corrections_stand_beside_the_models_points(folder: Path) -> None:
    corrected(Review(folder))
    review = Review(folder)
    lines = [review.line(number) for number in review.entries]
    assert [(line["count"], line["corrected"], line["accepted"]) for line in lines] == [
        (2, 2, True), (2, 3, True), (2, None, False), (None, None, False),
    ]  # fmt: skip
    found = agreement(review)
    assert (found.rows, found.accepted, found.compared, found.exact) == (4, 2, 2, 1)
    assert (found.added, found.deleted, found.moved) == (2, 1, 1)
    assert (found.mean_error, found.mean_absolute_error) == (-0.5, 0.5)
    assert [entry.pointing and entry.pointing.count for entry in read_run(folder)] == [
        2,
        2,
        2,
        None,
    ]


def test_a_cut_line_is_the_only_loss(folder: Path) -> None:
    review = Review(folder)
    corrected(review)
    path = review.corrections.path
    path.write_bytes(path.read_bytes()[:-9])
    again = Corrections(folder)
    first, second = list(review.entries.values())[:2]
    assert again.get(first.key) is not None
    assert again.get(second.key) is None
    again.add(second.key, Correction(points=()))
    assert Corrections(folder).get(second.key) == Correction(points=())


def test_exports(folder: Path) -> None:
    review = Review(folder)
    corrected(review)
    rows = list(csv.DictReader(io.StringIO(export(review, "csv")["counts.csv"])))
    assert [(row["count"], row["corrected_count"], row["added"], row["deleted"]) for row in rows] == [
        ("2", "2", "0", "0"), ("2", "3", "2", "1"), ("2", "", "", ""), ("", "", "", ""),
    ]  # fmt: skip
    want = [(2, "0.png"), (3, "1.png"), (2, "2.png")]
    coco = from_coco(json.loads(export(review, "coco")["coco_keypoints.json"]))
    assert [(p.count, p.frame_id) for p in coco] == want
    assert coco[1].points[0].pixel(200, 100) == pytest.approx((60, 50))
    studio = json.loads(export(review, "label-studio")["label_studio.json"])
    assert [p.count for p in from_label_studio(studio)] == [2, 3, 2]
    assert [len(task["predictions"][0]["result"]) for task in studio] == [2, 2, 2]
    yolo = export(review, "yolo")
    labels = [name for name in yolo if name.startswith("labels/1-")]
    lines = [line.split() for line in yolo[labels[0]].splitlines()]
    assert [line[0] for line in lines] == ["0", "0", "0"]
    assert lines[0][5:] == ["0.300000", "0.500000", "2"]
    assert all(0 <= float(value) <= 1 for line in lines for value in line[1:7])
    assert "kpt_shape: [1, 3]" in yolo["data.yaml"]
    samples = json.loads(export(review, "fiftyone")["samples.json"])["samples"]
    assert [len(sample["points"]["keypoints"]) for sample in samples] == [2, 3, 2]
    assert Path(samples[0]["filepath"]).is_file()
    for name in FORMATS:
        assert all(path.is_file() for path in write_export(review, name, folder / name))
    with pytest.raises(UsageError, match="expected a format of csv, coco"):
        export(review, "xml")


def test_no_run_no_review(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no run: expected run\.json and points\.jsonl"):
        Review(tmp_path)


@pytest.fixture
def client(folder: Path) -> Any:
    testclient = pytest.importorskip(
        "fastapi.testclient", reason="the extra 'count' is not installed"
    )
    from molmo_point.review.app import build_app

    return testclient.TestClient(build_app(Review(folder)), base_url="http://127.0.0.1")


def test_foreign_pages_are_refused(client: Any, folder: Path) -> None:
    number = row_id(read_run(folder)[0])
    body = {"points": [], "accepted": True}
    assert client.get("/api/rows", headers={"Host": "evil.example"}).status_code == 403
    plain = client.put(f"/api/rows/{number}", content=json.dumps(body), headers={"Content-Type": "text/plain"})  # fmt: skip
    assert plain.status_code == 415
    assert (
        client.put(f"/api/rows/{number}", json={"points": [{"x": 2, "y": 0}]}).status_code == 422
    )
    assert client.put("/api/rows/none", json=body).status_code == 404
    assert not (folder / "corrections.jsonl").exists()
    assert client.put(f"/api/rows/{number}", json=body).json()["corrected"] == 0
    last = row_id(read_run(folder)[3])
    assert client.get(f"/api/rows/{last}/image").status_code == 404
    archive = zipfile.ZipFile(io.BytesIO(client.get("/api/export/coco").content))
    assert archive.namelist() == ["coco_keypoints.json"]


Serve = Callable[[], tuple[subprocess.Popen[str], str]]


@pytest.fixture
def serve(folder: Path) -> Iterator[Serve]:
    """Start the command in a process of its own."""
    started: list[subprocess.Popen[str]] = []
    port = "0"

    def begin() -> tuple[subprocess.Popen[str], str]:
        nonlocal port
        words = [sys.executable, "-m", "molmo_point", "review", str(folder), "--port", port]
        process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stderr is not None
        address = re.search(r"http://\S+:(\d+)/", process.stderr.readline())
        assert address is not None
        port = address.group(1)
        return process, address.group(0)

    yield begin
    for process in started:
        process.kill()
        process.communicate(timeout=20)


@pytest.fixture
def page() -> Iterator[Any]:
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="the extra 'agents' is not installed"
    )
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1100, "height": 800})
        yield page
        browser.close()


def shown(page: Any, number: int) -> None:
    """Wait until a row and its image are shown."""
    page.locator(f"#rows li:nth-child({number + 1}) button[aria-current=true]").wait_for()
    page.locator("#points g").nth(1).or_(page.locator("#problem")).first.wait_for()


def saved(page: Any) -> None:
    page.locator("#saved", has_text=re.compile("^saved$")).wait_for()


@pytest.mark.browser
def test_a_review_by_keyboard_alone(serve: Serve, page: Any, folder: Path) -> None:
    _, address = serve()
    page.goto(address)
    shown(page, 0)
    page.locator("#points g").nth(1).wait_for()
    for key in ("]", "Shift+ArrowRight", "]", "Delete", "a", "Shift+ArrowUp", "a", "u", "Enter"):
        page.keyboard.press(key)
    shown(page, 1)
    page.locator("#points g").nth(1).wait_for()
    page.keyboard.press("Enter")
    shown(page, 2)
    saved(page)
    page.locator("#agreement", has_text="2 of 4 accepted").wait_for()
    assert "50 % of counts exact" not in page.locator("#agreement").inner_text()
    assert "1 added, 1 deleted, 1 moved" in page.locator("#agreement").inner_text()
    review = Review(folder)
    first = review.correction(next(iter(review.entries.values())))
    assert first is not None
    assert first.accepted
    assert [point.origin for point in first.points] == [0, None]
    assert first.points[0].x > 0.255
    assert first.points[0].y == pytest.approx(0.5)
    # An image that cannot be shown is not accepted.
    page.keyboard.press("j")
    shown(page, 3)
    page.locator("#problem").wait_for()
    page.keyboard.press("Enter")
    page.keyboard.press("k")
    shown(page, 2)
    assert agreement(Review(folder)).accepted == 2


@pytest.mark.browser
def test_by_mouse_and_through_a_kill(serve: Serve, page: Any, folder: Path) -> None:
    """A change that is made while the server is dead is saved when it is back; nothing before it is lost."""
    process, address = serve()
    page.goto(address)
    shown(page, 0)
    page.locator("#points g").nth(1).wait_for()
    box = page.locator("#sheet").bounding_box()
    page.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + 0.2 * box["height"])
    saved(page)
    at = (box["x"] + 0.25 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.move(*at)
    page.mouse.down()
    page.mouse.move(at[0] + 30, at[1], steps=4)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)
    page.mouse.up()
    page.locator("#saved", has_text="not saved").wait_for()
    serve()
    saved(page)
    review = Review(folder)
    correction = review.correction(next(iter(review.entries.values())))
    assert correction is not None
    assert [point.origin for point in correction.points] == [0, 1, None]
    assert correction.points[0].x == pytest.approx(0.25 + 30 / box["width"], abs=0.01)
    assert correction.points[2].y == pytest.approx(0.2, abs=0.01)
