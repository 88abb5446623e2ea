"""Screens: whatever the device scale, the screenshot way and the resizing, a screenshot's point is the page's point."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from molmo_agents import Box, Options, Policy, Screenshot, WebPointer
from molmo_agents.browser.launch import Screen, context_options
from PIL import Image

from molmo_point.testing import FakePointer
from tests.agents.conftest import Site
from tests.agents.oracle import MAGENTA, magenta

pytestmark = pytest.mark.browser
PAGE = """<!doctype html><body style='margin:0'><div id=b tabindex=0 style='position:absolute;background:#f0f;outline:0'></div>
<script>window.at = null; b.onclick = (e) => { at = [e.clientX, e.clientY]; };
for (const [k, v] of [['left', innerWidth * 0.731], ['top', innerHeight * 0.417]]) b.style[k] = Math.round(v) + 'px';
b.style.width = '24px'; b.style.height = '24px';</script>"""
TRUTH = """() => {
    const r = document.getElementById('b').getBoundingClientRect();
    return [r.left + r.width / 2, r.top + r.height / 2];
}"""


def ways(page: Any, session: Any) -> dict[str, bytes]:
    return {
        "css": page.screenshot(scale="css"),
        "device": page.screenshot(scale="device"),
        "cdp": base64.b64decode(session.send("Page.captureScreenshot", {"format": "png"})["data"]),
    }


@pytest.mark.parametrize("scale", [1.0, 1.25, 1.5, 2.0, 3.0])
def test_every_way_of_taking_a_screenshot_gives_the_same_place(
    browser: Any, site: Site, scale: float
) -> None:
    """3 viewports x 3 screenshot ways x 2 model sizes for each of 5 device scales: 90 combinations, 1 CSS px each."""
    site.routes["/"] = PAGE
    checked = 0
    for width, height in ((1280, 800), (800, 600), (390, 844)):
        context = browser.new_context(**context_options(Screen(width, height, scale)))
        page = context.new_page()
        page.goto(site.url + "/")
        truth = page.evaluate(TRUTH)
        inner = page.evaluate("() => [innerWidth, innerHeight]")
        session = context.new_cdp_session(page)
        for way, data in ways(page, session).items():
            for side in (None, 768):
                image = Image.open(io.BytesIO(data)).convert("RGB")
                if side is not None:
                    image.thumbnail((side, side), Image.Resampling.NEAREST)
                screenshot = Screenshot(data, image.size, Box(0, 0, *inner), tuple(inner))
                place = screenshot.to_css(*magenta(np.asarray(image))[0])
                error = max(abs(a - b) for a, b in zip(place, truth, strict=True))
                assert error <= 1.0, (scale, width, height, way, side, error)
                checked += 1
        context.close()
    assert checked == 18


@pytest.mark.parametrize("scale", [1.0, 1.5, 3.0])
@pytest.mark.parametrize("zoom", [True, False])
def test_the_press_lands_where_the_screenshot_says(
    browser: Any, site: Site, scale: float, zoom: bool
) -> None:
    site.routes["/"] = PAGE
    context = browser.new_context(**context_options(Screen(800, 600, scale)))
    page = context.new_page()
    page.goto(site.url + "/")
    options = Options(zoom=zoom, small_px=40)
    with WebPointer(
        page, FakePointer(lambda image, query: magenta(image)), Policy(), options
    ) as web:
        outcome = web.click(MAGENTA)
    assert outcome.status == "delivered", outcome
    assert outcome.zoomed is zoom
    truth = page.evaluate(TRUTH)
    pressed = page.evaluate("() => window.at")
    assert max(abs(a - b) for a, b in zip(pressed, truth, strict=True)) <= 1.0
    context.close()


def test_an_uncertain_point_is_looked_at_again(browser: Any, site: Site) -> None:
    """The first answer is far off but says so; the second look at the region finds it."""
    from molmo_point.points import Point

    site.routes["/"] = PAGE
    context = browser.new_context(**context_options(Screen(800, 600)))
    page = context.new_page()
    page.goto(site.url + "/")
    sizes: list[tuple[int, int]] = []

    def unsure(image: Any, query: str) -> Any:
        sizes.append(image.shape[:2])
        x, y = magenta(image)[0]
        if len(sizes) == 1:
            return [Point(x=min(1.0, x + 0.05), y=y, covariance=(0.0025, 0.0, 0.0001))]
        return [Point(x=x, y=y, covariance=(1e-6, 0.0, 1e-6))]

    with WebPointer(page, FakePointer(unsure), Policy()) as web:
        outcome = web.click(MAGENTA)
    assert outcome.status == "delivered", outcome
    assert outcome.zoomed
    assert len(sizes) == 2
    assert page.evaluate("() => window.at !== null")
    context.close()


def test_pinch_zoom_and_cdp_connection(browser: Any, site: Site, page: Any) -> None:
    site.routes["/"] = PAGE
    page.goto(site.url + "/")
    page.context.new_cdp_session(page).send(
        "Emulation.setPageScaleFactor", {"pageScaleFactor": 1.5}
    )
    with WebPointer(
        page, FakePointer(lambda image, query: magenta(image)), Policy(), Options(zoom=False)
    ) as web:
        outcome = web.click(MAGENTA)
    assert outcome.status == "delivered", outcome
