"""Pages in other people's style sheets, rendered by real Chromium: every class can be read, nothing is fetched."""

from __future__ import annotations

import dataclasses
import io
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from molmo_point.synthetic.pages import frameworks
from molmo_point.synthetic.pages.browser import FLAGS, NAMES
from molmo_point.synthetic.pages.frameworks import (
    BARE,
    FRAMEWORKS,
    UNSEEN_FRAMEWORKS,
    Framework,
    draw_framework,
)
from molmo_point.synthetic.pages.html import Writer, write_page
from molmo_point.synthetic.pages.style_sheet import style_sheet
from molmo_point.synthetic.pages.themes import draw_theme

EVERY = (*FRAMEWORKS, *UNSEEN_FRAMEWORKS)
LEGIBLE = 55
"""Steps of 255 between the darkest and the lightest pixels of a word; the faintest of Bootstrap's dark outlines has 61."""

PARTS = {
    "button": "<button class='press {}' data-t>Hamburg</button>",
    "main": "<button class='press main-button {}' data-t>Hamburg</button>",
    "field": "<input type=text class='{}' value=Hamburg data-t>",
    "select": "<select class='{}' data-t><option>Hamburg</option></select>",
    "entry": "<ul><li class='{}' data-t>Hamburg</li></ul>",
    "tab": "<div><a class='leaf {}' data-t>Hamburg</a></div>",
    "chosen": "<div><a class='leaf chosen {}' data-t>Hamburg</a></div>",
    "bar": "<div class='strip {}'><b data-t>Hamburg</b> <a href='#'>Bremen</a></div>",
}

SUBMIT = "<input type=submit class='press {}' value=Hamburg data-t>"

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, NAMES)), reason="there is no Chromium here"
)


@pytest.fixture(scope="module")
def bare_page() -> Iterator[Any]:
    """A page of a Chromium that may not reach anything."""
    sync_api = pytest.importorskip("playwright.sync_api", exc_type=ImportError)
    path = next(filter(None, map(shutil.which, NAMES)))
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser.new_page(viewport={"width": 320, "height": 120})
        browser.close()


def sheets(framework: Framework | None, size: int = 14) -> str:
    theme = draw_theme(np.random.default_rng(0), (size, size), False)
    theme = dataclasses.replace(theme, italic=0.0, font="LiberationSans")
    parts = style_sheet(np.random.default_rng(0), theme, framework)
    return "".join(f"<style>{part}</style>" for part in parts)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("framework", EVERY, ids=lambda f: f.name)
def test_every_class_can_be_read(bare_page: Any, framework: Framework, dark: bool) -> None:
    if dark and not framework.dark:
        pytest.skip("it has no dark scheme")
    bare_page.emulate_media(color_scheme="dark" if dark else "light")
    assert framework.classes.keys() <= PARTS.keys() | {"tabs", "menu", "tick"}
    scheme = " data-theme=dark data-bs-theme=dark" if dark else ""
    templates = list(PARTS.items())
    if framework.submits:
        templates += [("button", SUBMIT), ("main", SUBMIT.replace("press", "press main-button"))]
    for part, template in templates:
        for classes in framework.classes.get(part, ("",)):
            bare_page.set_content(
                f"<!doctype html><html{scheme}><head>{sheets(framework)}</head><body>{template.format(classes)}</body></html>"
            )
            box = bare_page.locator("[data-t]").bounding_box()
            clip = {**box, "x": box["x"] + 3, "width": box["width"] - 6}
            shot = np.asarray(Image.open(io.BytesIO(bare_page.screenshot(clip=clip))).convert("L"))
            inner = shot[4:-4].astype(float)
            contrast = np.percentile(inner, 99.5) - np.percentile(inner, 0.5)
            assert contrast >= LEGIBLE, (part, classes, contrast)


@pytest.mark.parametrize("framework", EVERY, ids=lambda f: f.name)
@pytest.mark.parametrize("size", [10, 20])
def test_text_has_the_size_that_was_drawn(bare_page: Any, framework: Framework, size: int) -> None:
    asked: list[str] = []
    bare_page.on("request", lambda request: asked.append(request.url))
    bare_page.set_content(
        f"<html><head>{sheets(framework, size)}</head><body><p>Hamburg</p></body></html>"
    )
    script = "() => { const s = getComputedStyle(document.querySelector('p')); return [s.fontSize, s.fontFamily]; }"
    found, family = bare_page.evaluate(script)
    assert float(found.removesuffix("px")) == pytest.approx(size, rel=0.1)
    assert family.strip('"') == "Liberation Sans"
    # Nothing is fetched but what is written in the sheet itself.
    assert [url for url in asked if not url.startswith("data:")] == []


def test_half_of_the_pages_wear_one_and_training_never_those_of_evaluation() -> None:
    drawn = {
        unseen: [draw_framework(np.random.default_rng(seed), unseen) for seed in range(400)]
        for unseen in (False, True)
    }
    for worn in drawn.values():
        assert sum(one is not None for one in worn) == pytest.approx(200, abs=40)
    assert {one.name for one in drawn[False] if one} == {one.name for one in FRAMEWORKS}
    assert not {one.name for one in drawn[False] if one} & {one.name for one in UNSEEN_FRAMEWORKS}
    assert {one.name for one in drawn[True] if one} == {one.name for one in UNSEEN_FRAMEWORKS}


def test_a_page_says_its_classes_and_its_scheme() -> None:
    rng = np.random.default_rng(3)
    theme = dataclasses.replace(draw_theme(rng, (12, 12), False), dark=True)
    spoken = write_page(Writer(rng, theme, "known", False, FRAMEWORKS[0]), 30)
    assert 'data-bs-theme="dark"' in spoken
    assert 'class="press btn ' in spoken or 'class="press main-button btn ' in spoken
    silent = write_page(Writer(rng, theme, "known", False, Framework("sakura")), 30)
    assert "data-theme" not in silent.split("<head>")[0]


def test_every_sheet_is_in_the_package_with_its_licence() -> None:
    folder = frameworks.resources.files(frameworks.__package__).joinpath("css")
    licences = folder.joinpath("LICENSES.txt").read_text(encoding="utf-8")
    files = {file.name for file in folder.iterdir()} - {"LICENSES.txt"}
    assert files == {f"{one.name}.css" for one in EVERY if one.name != BARE}
    for name in files:
        assert f"{name}: " in licences
