"""A pointer that reads the page's DOM instead of its screenshot: the upper bound, and the measure of everything but the model."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Any

from molmo_agents.sync_pointer import WebPointer
from molmo_point.testing import FakePointer

_TEXT = "(e) => (e.innerText || e.textContent || e.value || '').trim() === m"
FINDERS: Sequence[tuple[str, str]] = (
    (r"the button", "all('#area button')"),
    (r'the "(.+)" button', f"all('button, input[type=submit]').filter({_TEXT}).slice(0, 1)"),
    (r"the (.+) colored box", "all('.color').filter((e) => e.dataset.color === m)"),
    (r'the "x" that closes the dialog', "all('.ui-dialog-titlebar-close')"),
    (r'the link "(.+)"', f"all('.alink').filter({_TEXT}).slice(0, 1)"),
    (r'the tab "(.+)"', f"all('.ui-tabs-anchor').filter({_TEXT})"),
    (r"the text field", "all('#area input[type=text]')"),
    (r"a (.+) widget", "all('.widget [data-type=\"' + m + '\"]').slice(0, 1)"),
    (
        r'the box "(.+)"',
        f"all('#boxes label').filter({_TEXT}).map((e) => e.querySelector('input'))",
    ),
    (r"every shade of (.+)", "all('#area span[data-color=\"' + m + '\"]')"),
    (
        r"the numbers in ascending order",
        "all('#area_svg text').sort((a, b) => Number(a.textContent) - Number(b.textContent))",
    ),
    (
        r"the header of the collapsed section",
        "all('.ui-accordion-header[aria-expanded=false]').slice(0, 1)",
    ),
    (r'the menu entry "(.+)"', f"all('#menu .ui-menu-item-wrapper').filter({_TEXT})"),
    (r"the date field", "all('#datepicker')"),
    (r"the calendar", "all('.ui-datepicker-calendar').slice(0, 1)"),
    (r'the day "(.+)"', f"all('.ui-datepicker-calendar a').filter({_TEXT})"),
    (r'the folder or file "(.+)"', f"all('#tree span').filter({_TEXT})"),
    (r"the plus sign of the first closed folder", "all('#tree .expandable-hitarea').slice(0, 1)"),
)
_FIND = """(m) => {
    // The middle of the largest rectangle: a wrapped link is several, and their common box may hold none of it.
    const spot = (e) => [...e.getClientRects()].sort((a, b) => b.width * b.height - a.width * a.height)
        .filter((r) => r.width > 0 && r.height > 0).map((r) => [r.left + r.width / 2, r.top + r.height / 2])[0];
    const all = (css) => [...document.querySelectorAll(css)].filter((e) => spot(e));
    return %s.map(spot).filter(([x, y]) => x >= 0 && y >= 0 && x < innerWidth && y < innerHeight);
}"""


class DomPointer:
    """Makes a `Pointer` for a page; set `web` to the `WebPointer` it serves.

    Args:
        page: The page it reads.
        noise_px: Largest error of an answer in x and in y, CSS px.
        seed: For the noise.
    """

    def __init__(self, page: Any, *, noise_px: float = 0.0, seed: int = 0) -> None:
        self.web: WebPointer | None = None
        self._page = page
        self._noise = noise_px
        self._random = random.Random(seed)
        self.pointer = FakePointer(self._answer)

    def _answer(self, image: Any, query: str) -> list[tuple[float, float]]:
        screenshot = self.web.screenshot if self.web is not None else None
        if screenshot is None:
            return []
        points: list[tuple[float, float]] = []
        for x, y in self._places(query):
            dx, dy = (self._random.uniform(-self._noise, self._noise) for _ in range(2))
            nx, ny = screenshot.to_norm(x + dx, y + dy)
            if 0 <= nx <= 1 and 0 <= ny <= 1:
                points.append((nx, ny))
        return points

    def _places(self, query: str) -> list[list[float]]:
        for pattern, finder in FINDERS:
            match = re.fullmatch(pattern, query)
            if match:
                wanted = match.group(1) if match.groups() else ""
                found: list[list[float]] = self._page.evaluate(_FIND % finder, wanted)
                return found
        return []
