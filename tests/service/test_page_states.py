"""The web page when things go wrong or come quickly one after the other: no answer is shown for an image it is not about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from molmo_point.points import Point, Pointing, Status
from molmo_point.testing import FakePointer
from tests.service.conftest import Gate
from tests.service.page_driver import MUG, Visit, ask, done, marks, show

pytestmark = pytest.mark.browser


@pytest.fixture
def second(tmp_path: Path) -> Path:
    path = tmp_path / "second.png"
    Image.new("RGB", (400, 100), (10, 200, 10)).save(path)
    return path


def test_two_questions_in_quick_succession(visit: Visit, photo: Path, gate: Gate) -> None:
    page = visit(gate)
    show(page, photo)
    ask(page, "first")
    assert gate.entered.acquire(timeout=30)
    ask(page, "second")
    gate.open_.set()
    done(page, "1 point")
    assert page.locator("#answers h2").count() == 1
    assert page.locator("#answers h2").inner_text().startswith("second")
    assert page.locator("#overlay .mark").count() == 1


def test_an_image_replaced_during_its_answer(
    visit: Visit, photo: Path, second: Path, gate: Gate
) -> None:
    page = visit(gate)
    show(page, photo)
    ask(page, "mug")
    assert gate.entered.acquire(timeout=30)
    page.set_input_files("#file", second)
    page.locator("#size", has_text="400 × 100").wait_for()
    gate.open_.set()
    page.wait_for_timeout(400)
    assert page.locator("#overlay .mark").count() == 0
    assert page.locator("#answers li").count() == 0
    ask(page, "tree")
    done(page, "1 point")
    page.get_by_role("button", name="dispatcher.jpg").click()
    page.locator("#size", has_text="800 × 600").wait_for()
    assert page.locator("#answers li").count() == 0


def test_the_camera_instead_of_the_image_during_its_answer(
    visit: Visit, photo: Path, gate: Gate
) -> None:
    page = visit(gate)
    show(page, photo)
    ask(page, "mug")
    assert gate.entered.acquire(timeout=30)
    page.locator("#again-camera").click()
    page.locator("#video").wait_for(state="visible")
    gate.open_.set()
    page.wait_for_timeout(400)
    assert page.locator("#overlay .mark").count() == 0
    assert page.locator("#run").inner_text() == "Point"


def test_of_two_images_the_one_chosen_last_is_shown(visit: Visit, tmp_path: Path) -> None:
    large, small = tmp_path / "large.png", tmp_path / "small.png"
    noise = np.random.default_rng(0).integers(0, 255, (2500, 3000, 3), dtype=np.uint8)
    Image.fromarray(noise).save(large, compress_level=0)
    Image.new("RGB", (40, 30)).save(small)
    page = visit()
    # The large one is scaled down before it is shown, which takes longest.
    page.set_input_files("#file", large)
    page.set_input_files("#file", small)
    page.locator("#size", has_text="40 × 30").wait_for()
    page.wait_for_timeout(2500)
    assert page.locator("#size").inner_text() == "40 × 30"
    assert page.evaluate("document.getElementById('image').naturalWidth") == 40


def test_a_file_that_changes_on_the_disk_is_asked_about_as_it_is_shown(
    visit: Visit, photo: Path
) -> None:
    page = visit()
    show(page, photo)
    photo.write_bytes(b"something else")
    ask(page, "mug")
    done(page, "1 point")
    assert marks(page) == [pytest.approx((0.25, 0.5), abs=0.01)]


def test_an_answer_that_always_breaks_off_is_given_up(visit: Visit, photo: Path) -> None:
    page = visit()
    show(page, photo)
    half = 'data: {"type":"point","point":{"x":0.5,"y":0.5}}\n\n'
    cut: list[Any] = []

    def answer(route: Any) -> None:
        cut.append(route)
        route.fulfill(status=200, content_type="text/event-stream", body=half)

    page.route("**/v1/point", answer)
    ask(page, "mug")
    done(page, "1 of 1 query failed")
    assert len(cut) == 3
    assert page.locator("#answers .count").inner_text() == "failed"
    assert "broke off" in page.locator("#answers .note").inner_text()


def test_an_opened_image_that_the_server_let_go_is_sent_again(visit: Visit, photo: Path) -> None:
    page = visit()
    show(page, photo)
    gone = json.dumps({"error": {"kind": "view_gone", "message": "no longer held"}})

    def answer(route: Any) -> None:
        if '"view"' in (route.request.post_data or "") and '"cup"' in route.request.post_data:
            route.fulfill(status=410, content_type="application/json", body=gone)
        else:
            route.continue_()

    page.route("**/v1/point", answer)
    ask(page, "mug, cup")
    done(page, r"3 points in [\d.]+ s\.")


def test_the_example_without_a_server(visit: Visit) -> None:
    page = visit()
    page.service.http.stop()
    page.locator("#example").click()
    done(page, "The server does not answer")


@pytest.mark.parametrize(
    ("status", "count", "words"),
    [
        (Status.NOT_FOUND, "0", "Nothing there"),
        (Status.MALFORMED, "?", "could not be read"),
        (Status.TRUNCATED, "?", "Cut short"),
    ],
)
def test_nothing_there_is_told_from_nothing_known(
    visit: Visit, photo: Path, status: Status, count: str, words: str
) -> None:
    answer = Pointing(query="mug", status=status, image_size=(800, 600))
    page = visit(FakePointer({"mug": answer}))
    show(page, photo)
    page.get_by_text("Count", exact=True).click()
    ask(page, "mug")
    done(page, "Incomplete" if count == "?" else "0 points")
    assert page.locator("#answers .count").inner_text() == count
    assert words in page.locator("#answers .note").inner_text()


def test_three_hundred_points(visit: Visit, photo: Path) -> None:
    places = np.random.default_rng(0).uniform(0.01, 0.99, (300, 2))
    points = [Point(x=x, y=y, label="boat", covariance=MUG.covariance) for x, y in places.tolist()]
    page = visit(FakePointer({"boats": points}))
    show(page, photo)
    ask(page, "boats")
    done(page, "300 points")
    assert page.locator("#overlay .mark").count() == 300
    assert page.locator("#answers li li").count() == 300
    panel = page.locator("#panel").bounding_box()
    assert panel["height"] <= 800


def test_very_long_texts_stay_inside(visit: Visit, photo: Path) -> None:
    long = "x" * 1500
    page = visit(
        FakePointer({long: [MUG]}, texts={"why": "y" * 5000}),
        viewport={"width": 390, "height": 844},
    )
    show(page, photo)
    ask(page, long)
    done(page, "1 point")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    ask(page, "z" * 4100)
    done(page, "1 of 1 query failed")
    page.get_by_text("Ask", exact=True).click()
    ask(page, "why")
    done(page, "Answered")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_an_unreadable_answer_is_shown_in_short(visit: Visit, photo: Path) -> None:
    text = "<points " + " ".join(f'x{n}="5.4"' for n in range(400))
    answer = Pointing(query="mug", status=Status.MALFORMED, image_size=(800, 600), text=text)
    page = visit(FakePointer({"mug": answer}))
    show(page, photo)
    ask(page, "mug")
    done(page, "Incomplete")
    said = page.locator("#answers .note").inner_text()
    assert text[:200] in said
    assert len(said) < 320
    assert f"{len(text) - 200} more characters" in said
