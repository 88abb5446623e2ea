"""A pointer that reads `data-q` attributes: the examples then run with no model, and show what is left to one."""

from __future__ import annotations

from typing import Any

from molmo_agents import WebPointer

from molmo_point.errors import UsageError
from molmo_point.testing import FakePointer

_FIND = """(q) => [...document.querySelectorAll('[data-q]')].filter((e) => e.dataset.q === q).map((e) => {
    const r = (e.localName === 'label' && e.control ? e.control : e).getBoundingClientRect();
    return [r.left + r.width / 2, r.top + r.height / 2];
})"""


class PagePointer:
    """Set `web` to the `WebPointer` it serves."""

    def __init__(self) -> None:
        self.web: WebPointer | None = None
        self.pointer = FakePointer(self._answer)

    def look(self) -> bytes:
        """Take a screenshot of the page, for asking the pointer directly."""
        screenshot = self.web.look().screenshot if self.web is not None else None
        if screenshot is None:
            raise UsageError("the page cannot be looked at: set `web` and open a page first")
        return screenshot.image

    def _answer(self, image: Any, query: str) -> list[tuple[float, float]]:
        screenshot = self.web.screenshot if self.web is not None else None
        if self.web is None or screenshot is None:
            return []
        places = [screenshot.to_norm(x, y) for x, y in self.web.page.evaluate(_FIND, query)]
        return [(x, y) for x, y in places if 0 <= x <= 1 and 0 <= y <= 1]
