"""The web page in real Chromium: what a user does with an image, by mouse, by keyboard, on a phone, with a camera."""

from __future__ import annotations

import base64
import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from molmo_point.points import Point, Pointing, Status
from molmo_point.testing import FakePointer
from tests.service.page_driver import MUG, Visit, ask, done, marks, show

pytestmark = pytest.mark.browser


def test_points_are_drawn_where_the_model_put_them(visit: Visit, photo: Path) -> None:
    page = visit()
    page.locator("#server-text", has_text="fake").wait_for()
    show(page, photo)
    ask(page, "mug")
    done(page, r"1 point in [\d.]+ s\.")
    assert marks(page) == [pytest.approx((0.25, 0.5), abs=0.003)]
    assert page.locator("#answers h2").inner_text().split("\n")[0] == "mug"
    assert "0.250, 0.500" in page.locator("#answers li li").inner_text()
    assert "90 %" in page.locator("#answers li li").inner_text()


def test_the_ellipse_is_that_of_the_covariance(visit: Visit, photo: Path) -> None:
    page = visit()
    show(page, photo)
    ask(page, "mug")
    done(page, "1 point")
    box = page.locator("#image").bounding_box()
    ellipse = page.locator("#overlay ellipse")
    scale = np.diag([box["width"], box["height"]])
    covariance = scale @ np.array([[4e-4, 1e-4], [1e-4, 6e-4]]) @ scale
    small, large = np.linalg.eigvalsh(covariance)
    sigmas = math.sqrt(-2 * math.log(0.05))
    assert float(ellipse.get_attribute("rx")) == pytest.approx(sigmas * math.sqrt(large), rel=1e-3)
    assert float(ellipse.get_attribute("ry")) == pytest.approx(sigmas * math.sqrt(small), rel=1e-3)
    angle = float(ellipse.get_attribute("transform").split("rotate(")[1].rstrip(")"))
    direction = np.array([math.cos(math.radians(angle)), math.sin(math.radians(angle))])
    assert direction @ covariance @ direction == pytest.approx(large, rel=1e-3)


def test_points_stay_on_the_image_when_the_window_changes(visit: Visit, photo: Path) -> None:
    page = visit()
    show(page, photo)
    ask(page, "mug, cup")
    done(page, "3 points")
    before = marks(page)
    page.set_viewport_size({"width": 700, "height": 900})
    page.wait_for_timeout(200)
    np.testing.assert_allclose(marks(page), before, atol=0.01)


def test_several_questions_at_once(visit: Visit, photo: Path) -> None:
    page = visit()
    show(page, photo)
    ask(page, "mug, cup, unicorn, broken, mug")
    done(page, r"3 points")
    titles = [title.inner_text().split("\n")[0] for title in page.locator("#answers h2").all()]
    assert titles == ["mug", "cup", "unicorn", "broken"]
    notes = page.locator("#answers .note:visible").all_inner_texts()
    assert notes == [
        "Nothing there.",
        "this cannot be asked — say in a few words what to look for",
    ]
    colours = {page.locator("#overlay .dotmark").nth(i).get_attribute("stroke") for i in range(3)}
    assert len(colours) == 2


def test_count_and_ask(visit: Visit, photo: Path) -> None:
    page = visit()
    show(page, photo)
    page.get_by_text("Count", exact=True).click()
    ask(page, "cup")
    done(page, "2 points")
    assert page.locator("#answers .count").inner_text() == "2"
    page.get_by_text("Ask", exact=True).click()
    assert page.locator("#run").inner_text() == "Ask"
    ask(page, "What is it?")
    done(page, "Answered in")
    assert "A" in page.locator("#answers .text").inner_text()
    assert page.locator("#overlay g").count() == 0


def test_copy_as_json(visit: Visit, photo: Path) -> None:
    page = visit()
    show(page, photo)
    ask(page, "mug, unicorn")
    done(page, "1 point")
    page.locator("#copy").click()
    done(page, "Copied")
    copied = json.loads(page.evaluate("navigator.clipboard.readText()"))
    assert [one["query"] for one in copied] == ["mug", "unicorn"]
    assert copied[0]["points"][0]["covariance"] == [4e-4, 1e-4, 6e-4]
    assert copied[0]["image_size"] == [800, 600]


@pytest.mark.parametrize("way", ["paste", "drop"])
def test_a_pasted_or_dropped_image_is_shown(visit: Visit, photo: Path, way: str) -> None:
    page = visit()
    page.evaluate(
        """([text, way]) => {
            const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
            const data = new DataTransfer();
            data.items.add(new File([bytes], "shot.jpg", {type: "image/jpeg"}));
            const event = way === "paste"
                ? new ClipboardEvent("paste", {clipboardData: data, bubbles: true, cancelable: true})
                : new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true});
            document.body.dispatchEvent(event);
        }""",
        [base64.b64encode(photo.read_bytes()).decode(), way],
    )
    page.locator("#image").wait_for(state="visible")
    assert page.locator("#size").inner_text() == "800 × 600"


def test_it_can_be_used_with_the_keyboard_alone(visit: Visit, photo: Path) -> None:
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "choose"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(photo)
    page.locator("#image").wait_for(state="visible")
    assert page.evaluate("document.activeElement.id") == "query"
    page.keyboard.type("cup")
    page.keyboard.press("Enter")
    done(page, "2 points")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "LI"
    assert page.locator("#overlay .lit").count() == 1


def test_a_phone_shows_all_of_it(visit: Visit, photo: Path) -> None:
    page = visit(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    show(page, photo)
    page.fill("#query", "a rather long thing to look for that does not fit, mug")
    page.locator("#run").tap()
    done(page, "1 point")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for button in page.locator("button:visible").all():
        assert button.bounding_box()["height"] >= 44
    assert marks(page) == [pytest.approx((0.25, 0.5), abs=0.01)]


def test_the_camera(visit: Visit) -> None:
    page = visit()
    page.locator("#camera").click()
    page.locator("#video").wait_for(state="visible")
    ask(page, "cup")
    done(page, "2 points")
    page.locator("#live").check()
    page.wait_for_timeout(600)
    assert len(page.service.dispatcher.worker.model) > 0
    page.locator("#snap").click()
    page.locator("#image").wait_for(state="visible")
    assert not page.locator("#video").is_visible()
    ask(page, "mug")
    done(page, "1 point")


def test_nothing_is_asked_without_an_image_or_words(visit: Visit, photo: Path) -> None:
    page = visit()
    ask(page, "mug")
    done(page, "Choose an image first")
    show(page, photo)
    ask(page, " , ")
    done(page, "Type what to look for")


def test_a_file_that_is_no_image_is_said_to_be(visit: Visit, tmp_path: Path) -> None:
    page = visit()
    path = tmp_path / "text.png"
    path.write_text("not an image")
    page.set_input_files("#file", path)
    done(page, r"not an image this browser can read \(text.png\)")


def test_what_a_model_says_is_text_not_markup(visit: Visit, photo: Path) -> None:
    page = visit()
    show(page, photo)
    page.get_by_text("Ask", exact=True).click()
    ask(page, "<b>x</b>")
    done(page, "Answered in")
    assert page.locator("#answers .text").inner_text() == "<i>bold?</i>"
    assert page.locator("#answers b, #answers i").count() == 0


def test_a_token_is_asked_for_once(visit: Visit, photo: Path) -> None:
    page = visit(tokens=["s3cret"])
    show(page, photo)
    ask(page, "mug")
    done(page, "only with a token")
    page.fill("#token", "wrong")
    page.keyboard.press("Enter")
    page.locator("#token-form").wait_for(state="visible")
    page.fill("#token", "s3cret")
    page.keyboard.press("Enter")
    done(page, "1 point")
    page.reload()
    show(page, photo)
    ask(page, "cup")
    done(page, "2 points")


def test_a_server_that_is_gone_is_noticed(visit: Visit, photo: Path) -> None:
    page = visit()
    show(page, photo)
    page.service.http.stop()
    ask(page, "mug")
    page.locator("[data-kind=error]").first.wait_for()


def crowd(count: int) -> list[Point]:
    places = np.random.default_rng(0).uniform(0.05, 0.95, (count, 2))
    return [Point(x=float(x), y=float(y), label="boat", score=0.5) for x, y in places]


def test_errors_are_not_counted(visit: Visit, photo: Path) -> None:
    page = visit()
    show(page, photo)
    ask(page, "broken")
    done(page, "1 of 1 query failed")
    assert "0 point" not in page.locator("#status").inner_text()
    assert page.locator("#answers .count").inner_text() == "failed"
    ask(page, "mug, broken")
    done(page, r"1 point in [\d.]+ s; 1 of 2 queries failed")


def test_an_answer_that_was_cut_is_no_count(visit: Visit, photo: Path) -> None:
    cut = Pointing(query="mug", points=(MUG,), status=Status.TRUNCATED, image_size=(800, 600))
    page = visit(FakePointer({"mug": cut}))
    show(page, photo)
    page.get_by_text("Count", exact=True).click()
    ask(page, "mug")
    done(page, "Incomplete")
    assert page.locator("#answers .count").inner_text() == "?"
    assert "Cut short" in page.locator("#answers .note").inner_text()


@pytest.mark.parametrize(("in_domain", "calibrated"), [(0.003, False), (0.9, True), (None, False)])
def test_an_image_unlike_those_of_the_calibration_is_said_to_be(
    visit: Visit, photo: Path, in_domain: float | None, calibrated: bool
) -> None:
    empty = Pointing(
        query="cat",
        status=Status.NOT_FOUND,
        model="nano",
        image_size=(320, 240),
        in_domain=in_domain,
        calibrated=calibrated,
    )
    page = visit(FakePointer({"cat": empty}))
    show(page, photo)
    ask(page, "cat")
    done(page, "0 points")
    said = page.locator("#answers").inner_text()
    foreign = in_domain is not None and not calibrated
    assert ("not like those that fake was trained on (0 % like them)" in said) is foreign
    assert ("Nothing there." in said) is not foreign


def test_answers_stay_while_the_server_is_away(visit: Visit, photo: Path) -> None:
    page = visit()
    show(page, photo)
    # The second query meets a connection that breaks, and then a server that is ready again.
    broken = []

    def once(route: Any) -> None:
        if '"cup"' in (route.request.post_data or "") and not broken:
            broken.append(True)
            route.abort("connectionrefused")
        else:
            route.continue_()

    page.route("**/v1/point", once)
    page.route("**/readyz", lambda route: route.continue_() if broken else route.abort())
    ask(page, "mug, cup")
    page.locator("#answers .note", has_text="trying again").wait_for()
    assert "0.250, 0.500" in page.locator("#answers").inner_text()
    done(page, r"3 points in [\d.]+ s\.")
    assert page.locator("#answers .note:visible").count() == 0


def test_a_file_that_cannot_be_read_leaves_what_is_shown(
    visit: Visit, photo: Path, tmp_path: Path
) -> None:
    page = visit()
    show(page, photo)
    ask(page, "mug")
    done(page, "1 point")
    fake = tmp_path / "fake.png"
    fake.write_bytes(b"no image")
    page.set_input_files("#file", fake)
    done(page, r"not an image this browser can read \(fake.png\)")
    assert page.evaluate("document.getElementById('image').naturalWidth") == 800
    assert page.locator("#size").inner_text() == "800 × 600"
    assert marks(page) == [pytest.approx((0.25, 0.5), abs=0.01)]


def test_numbers_in_a_crowd_do_not_overlap(visit: Visit, photo: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.png"
    Image.new("RGB", (160, 120), (90, 120, 150)).save(small)
    page = visit(FakePointer({"boats": crowd(60)}))
    show(page, small)
    ask(page, "boats")
    done(page, "60 points")
    # Enlarged, as far as there is room.
    assert page.locator("#image").bounding_box()["width"] >= 600
    boxes = [text.bounding_box() for text in page.locator("#overlay text:visible").all()]
    assert 10 < len(boxes) <= 60
    middles = [(b["x"] + b["width"] / 2, b["y"] + b["height"] / 2) for b in boxes]
    for index, (x, y) in enumerate(middles):
        for other_x, other_y in middles[index + 1 :]:
            assert abs(x - other_x) > 8 or abs(y - other_y) > 10


def test_points_and_list_show_each_other(visit: Visit, photo: Path) -> None:
    page = visit(FakePointer({"boats": crowd(30)}))
    show(page, photo)
    ask(page, "boats")
    done(page, "30 points")
    page.locator("#overlay [data-key='0-30'] .ring, #overlay [data-key='0-30'] .dotmark").click(
        force=True
    )
    assert page.evaluate("document.activeElement.dataset.key") == "0-30"
    row = page.locator("#answers li li").last.bounding_box()
    panel = page.locator("#panel").bounding_box()
    assert panel["y"] <= row["y"] <= panel["y"] + panel["height"]
    page.locator("#answers li li").first.focus()
    assert page.locator("#overlay .lit").get_attribute("data-key") == "0-1"


def test_large_photographs_are_sent_small(visit: Visit, tmp_path: Path) -> None:
    large = tmp_path / "large.jpg"
    Image.new("RGB", (9000, 6000), (120, 130, 140)).save(large)
    sizes: list[tuple[int, int]] = []

    def answer(image: Any, query: str) -> list[Point]:
        sizes.append((image.shape[1], image.shape[0]))
        return [MUG]

    page = visit(FakePointer(answer))
    show(page, large)
    ask(page, "mug")
    done(page, "1 point")
    width, height = sizes[0]
    assert width * height <= 4_000_000
    assert width / height == pytest.approx(1.5, rel=0.01)
    page.locator("#copy").click()
    done(page, "Copied")
    assert json.loads(page.evaluate("navigator.clipboard.readText()"))["image_size"] == [
        9000,
        6000,
    ]


def test_several_images_and_their_table(visit: Visit, photo: Path, tmp_path: Path) -> None:
    second = tmp_path / "=second, image.png"
    Image.new("RGB", (80, 60)).save(second)
    page = visit()
    page.set_input_files("#file", [photo, second])
    done(page, "2 images")
    page.fill("#query", "mug, unicorn, broken")
    page.locator("#run-all").click()
    done(page, "2 points in 2 images; 2 answers failed or incomplete")
    with page.expect_download() as saved:
        page.locator("#save-csv").click()
    with Path(saved.value.path()).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["image"], row["query"], row["status"], row["count"]) for row in rows[:3]] == [
        ("dispatcher.jpg", "mug", "found", "1"),
        ("dispatcher.jpg", "unicorn", "not_found", "0"),
        ("dispatcher.jpg", "broken", "error", ""),
    ]
    assert (rows[0]["x_px"], rows[0]["y_px"]) == ("200.0", "300.0")
    # A spreadsheet must not take a name for a formula.
    assert rows[3]["image"] == "'=second, image.png"
    with page.expect_download() as drawn:
        page.locator("#save-png").click()
    assert Image.open(drawn.value.path()).size == (320, 240)


def test_keep_asking_does_not_flicker(visit: Visit) -> None:
    page = visit()
    page.locator("#camera").click()
    page.locator("#video").wait_for(state="visible")
    page.fill("#query", "mug")
    page.locator("#live").check()
    page.locator("#overlay .mark").wait_for()
    # Points are seen in every frame from now on.
    seen = page.evaluate(
        """async () => {
            const counts = [];
            for (let frame = 0; frame < 60; frame++) {
                await new Promise(requestAnimationFrame);
                counts.push(document.querySelectorAll("#overlay .mark").length);
            }
            return counts;
        }"""
    )
    assert set(seen) == {1}
    page.keyboard.press("Escape")
    done(page, "Stopped")
    assert not page.locator("#live").is_checked()


def test_what_nano_can_is_shown_first(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakePointer({"burgers": [(0.5, 0.5)]})
    monkeypatch.setattr(fake, "model", "nano", raising=False)
    page = visit(fake)
    page.locator("#knows").wait_for()
    assert "328 kinds of drawn things" in page.locator("#knows-short").inner_text()
    assert not page.get_by_text("Ask", exact=True).is_visible()
    page.locator("#example").click()
    done(page, r"1 point in [\d.]+ s\.")
    ask(page, "plate")
    page.locator("#answers .note", has_text="never taught 'plate'").wait_for()


def test_a_wrong_token_is_called_wrong(visit: Visit, photo: Path) -> None:
    page = visit(tokens=["s3cret"])
    show(page, photo)
    ask(page, "mug")
    done(page, "only with a token")
    page.fill("#token", "wrong")
    page.keyboard.press("Enter")
    done(page, "did not accept this token")
