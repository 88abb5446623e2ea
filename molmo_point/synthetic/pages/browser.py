"""Pages rendered by Chromium, with boxes from the DOM; evaluation uses these."""

from __future__ import annotations

import io
import shutil
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from molmo_point.errors import PointError, UsageError
from molmo_point.install import import_failure
from molmo_point.synthetic.pages.draw import PageStyle, written_words
from molmo_point.synthetic.pages.frameworks import draw_framework
from molmo_point.synthetic.pages.html import Control, Writer, write_page
from molmo_point.synthetic.pages.themes import draw_theme
from molmo_point.synthetic.scenes.kinds import kind_of
from molmo_point.synthetic.scenes.scene import NOTHING, Scene, Thing
from molmo_point.synthetic.splits import is_held_out

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
TIMEOUT_MS = 15_000
FLAGS = ("--no-sandbox", "--disable-gpu", "--force-device-scale-factor=1", "--hide-scrollbars")
"""Only pages that this module wrote are shown, nothing from a network: the sandbox, which containers forbid, is not needed."""

ROWS_PER_100_PX = 4.0
"""Rows per 100 px of height at 12 px text; controls that are cut off are not asked for."""

SPARSE = 0.3
"""Share of training pages that are nearly empty: one to three rows somewhere on a white page."""

READ_BOXES = """() => {
  const out = [];
  for (const node of document.querySelectorAll('[data-k]')) {
    const r = node.getBoundingClientRect();
    const x = (r.left + r.right) / 2, y = (r.top + r.bottom) / 2;
    const top = document.elementFromPoint(x, y);
    const hit = !!top && (top === node || node.contains(top) || top.dataset.k === node.dataset.k);
    out.push([Number(node.dataset.k), r.left, r.top, r.right, r.bottom, hit, node.matches('input,i,select')]);
  }
  return out;
}"""
"""JavaScript: for each marked element its box, whether a hit test at its center finds it, and whether it is the control's body.
"""


class BrowserFailed(PointError):
    """Chromium could not be started, or did not render a page."""

    kind = "browser_failed"


class PageBrowser:
    """Renders pages in its own Chromium; a context manager.

    Raises:
        MissingExtra: playwright is not installed.
        BrowserFailed: There is no Chromium, or it does not start.
    """

    def __init__(self) -> None:
        self._playwright: Playwright | None = None
        self._browser: Browser | None = None
        self._page: Page | None = None
        self._entered = False

    def __enter__(self) -> PageBrowser:
        self._entered = True
        self._open()
        return self

    def _open(self) -> Page:
        try:
            from playwright.sync_api import Error, sync_playwright
        except ImportError as error:
            raise import_failure(error, "playwright", "agents", "Rendering pages") from error
        path = next(filter(None, map(shutil.which, NAMES)), None)
        if path is None:
            raise BrowserFailed(
                f"rendering pages needs one of {', '.join(NAMES)}: install it (Debian: apt-get install chromium)"
            )
        self._playwright = sync_playwright().start()
        try:
            self._browser = self._playwright.chromium.launch(
                executable_path=path, args=list(FLAGS), timeout=TIMEOUT_MS
            )
            self._page = self._browser.new_page()
        except Error as error:
            self._end()
            raise BrowserFailed(f"{path} does not start: {error}") from error
        self._page.set_default_timeout(TIMEOUT_MS)
        return self._page

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop Chromium."""
        self._entered = False
        self._end()

    def _end(self) -> None:
        browser, playwright = self._browser, self._playwright
        self._browser = self._playwright = self._page = None
        try:
            if browser is not None:
                # A browser that died cannot be closed.
                with suppress(Exception):
                    browser.close()
        finally:
            # Always: a driver that is left running prevents every later one in this thread.
            if playwright is not None:
                playwright.stop()

    def draw(self, seed: int, style: PageStyle) -> Scene:
        """Render the page of a seed; the counterpart of `draw_page`.

        Raises:
            BrowserFailed: Chromium died or does not answer in time; the next page is rendered by a new one.
        """
        if not self._entered:
            raise UsageError("the browser is closed: use it as a context manager")
        page = self._page or self._open()
        from playwright.sync_api import Error

        held_out = is_held_out(seed)
        rng = np.random.default_rng([seed, 7])
        width, height = style.sizes[int(rng.integers(len(style.sizes)))]
        unseen = held_out and style.unseen
        theme = draw_theme(rng, style.text, unseen)
        words, framework = written_words(style, held_out), draw_framework(rng, unseen)
        writer = Writer(rng, theme, words, unseen, framework)
        rows, corner = max(2, round(ROWS_PER_100_PX * height / 100 * 12 / theme.size)), (0, 0)
        if not held_out and rng.random() < SPARSE:
            rows = int(rng.integers(1, 4))
            corner = (int(rng.uniform(0, 0.4) * width), int(rng.uniform(0, 0.6) * height))
        content = write_page(writer, rows, corner)
        try:
            page.set_viewport_size({"width": width, "height": height})
            page.emulate_media(color_scheme="dark" if writer.dark else "light")
            page.set_content(content, timeout=TIMEOUT_MS)
            page.evaluate("document.fonts.ready.then(() => true)")
            boxes = page.evaluate(READ_BOXES)
            shot = page.screenshot(timeout=TIMEOUT_MS)
        except Error as error:
            # Dead or stuck: the next page gets another browser.
            self._end()
            raise BrowserFailed(f"page {seed} could not be rendered: {error}") from error
        image = np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"))
        return _scene(seed, image, writer.controls, boxes)


def _scene(
    seed: int,
    image: np.ndarray[Any, np.dtype[np.uint8]],
    controls: list[Control],
    boxes: list[Any],
) -> Scene:
    """Return the ground truth from the browser's boxes."""
    height, width = image.shape[:2]
    owner = np.full((height, width), NOTHING, np.int16)
    things = []
    for index, control in enumerate(controls):
        mine = [box for box in boxes if box[0] == index]
        # The body first: a field, not the label before it.
        mine.sort(key=lambda box: not box[6])
        visible = float(bool(mine) and all(_inside(box, width, height) for box in mine))
        if not mine:
            mine = [[index, 0.0, 0.0, 0.0, 0.0, False, False]]
        for _, left, top, right, bottom, *_ in mine:
            rows = slice(max(0, round(top)), max(0, round(bottom)))
            owner[rows, max(0, round(left)) : max(0, round(right))] = index
        _, left, top, right, bottom, *_ = mine[0]
        around = (
            min(box[1] for box in mine),
            min(box[2] for box in mine),
            max(box[3] for box in mine),
            max(box[4] for box in mine),
        )
        point = ((left + right) / 2, (top + bottom) / 2)
        kind = kind_of(control.family, control.glyph)
        things.append(Thing(kind, None, point, around, visible, control.text))
    # A control that others cover completely has no point.
    seen = {int(index) for index in np.unique(owner)}
    whole = tuple(
        thing if index in seen else replace(thing, visible=0.0)
        for index, thing in enumerate(things)
    )
    return Scene(seed, np.ascontiguousarray(image), whole, owner)


def _inside(box: list[Any], width: int, height: int) -> bool:
    """Whether an element lies in the viewport and a click on its center reaches it."""
    _, left, top, right, bottom, hit, _ = box
    large = right - left >= 3 and bottom - top >= 3
    return bool(hit and large and left >= 0 and top >= 0 and right <= width and bottom <= height)
