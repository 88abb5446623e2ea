"""Pointers for tests: they ask the page itself where things are, and can be late, wrong or hostile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from molmo_point.points import Point, Pointing, Status
from molmo_point.testing import FakePointer

HELPER = """<!doctype html><meta charset=utf-8><style>
body { font: 16px sans-serif; margin: 20px }
button { font: 16px sans-serif; padding: 8px 14px }
</style><script>
window.pressed = [];
addEventListener('click', (e) => {
  const hit = e.composedPath().find((n) => n.dataset && n.dataset.id);
  pressed.push(hit ? hit.dataset.id : '-');
}, true);
window.where = (q) => [...document.querySelectorAll('[data-q]')].filter((e) => e.dataset.q === q).map((e) => {
  const rects = [...e.getClientRects()].sort((a, b) => b.width * b.height - a.width * a.height);
  const r = rects[0] || e.getBoundingClientRect();
  return [r.left + r.width / 2, r.top + r.height / 2];
}).filter(([x, y]) => x >= 0 && y >= 0 && x < innerWidth && y < innerHeight);
</script>"""

FIND = "(q) => window.where ? window.where(q) : []"


MAGENTA = "the magenta one"


def magenta(image: Any) -> list[tuple[float, float]]:
    """Point at the middle of what is magenta in the screenshot itself, as a model would, with no look at the page."""
    rows, columns = np.nonzero((image == (255, 0, 255)).all(axis=2))
    if not len(rows):
        return []
    return [((columns.mean() + 0.5) / image.shape[1], (rows.mean() + 0.5) / image.shape[0])]


def to_norm(web: Any, places: list[list[float]]) -> list[tuple[float, float]]:
    """CSS px of the viewport to 0-1 of the latest screenshot; places outside of a zoomed screenshot are not seen."""
    points = [web.screenshot.to_norm(x, y) for x, y in places]
    return [(x, y) for x, y in points if 0 <= x <= 1 and 0 <= y <= 1]


NAN = Pointing.model_construct(
    query="ok", points=(Point.model_construct(x=float("nan"), y=0.5, covariance=None, score=None, index=0, label=""),),
    status=Status.FOUND, absent_probability=None, text="", image_size=(1, 1),
)  # fmt: skip
OFF = NAN.model_copy(
    update={
        "points": (
            Point.model_construct(x=3.0, y=-2.0, covariance=None, score=None, index=0, label=""),
        )
    }
)
"""What no `Point` can hold, made past its checks: from a server that sends rubbish, say."""


def always(pointing: Pointing) -> FakePointer:
    """A pointer that gives this answer to everything, unchecked."""
    pointer = FakePointer()
    for kind in ("point", "count"):
        setattr(pointer, kind, lambda *a, **k: pointing)
    return pointer


class Oracle:
    """Holds the `WebPointer` it answers for; `pointer` is what that one is made with."""

    def __init__(self, page: Any, think: Callable[[int], None] | None = None) -> None:
        self.page = page
        self.web: Any = None
        self.asked = 0
        self._think = think
        self.pointer = FakePointer(self._answer)

    def places(self, query: str) -> list[list[float]]:
        found: list[list[float]] = [list(p) for p in self.page.main_frame.evaluate(FIND, query)]
        for frame in self.page.frames[1:]:
            try:
                inner = frame.evaluate(FIND, query)
                if not inner:
                    continue
                owner = frame.frame_element()
                x, y, s = owner.evaluate(
                    "(e) => { const r = e.getBoundingClientRect(); const s = r.width / e.offsetWidth;"
                    " return [r.left + e.clientLeft * s, r.top + e.clientTop * s, s] }"
                )
            except Exception:
                continue
            found += [[x + px * s, y + py * s] for px, py in inner]
        return found

    def _answer(self, image: Any, query: str) -> list[tuple[float, float]]:
        points = magenta(image) if query == MAGENTA else to_norm(self.web, self.places(query))
        self.asked += 1
        if self._think is not None:
            # What was seen is a moment old by the time it is told: this is where pages move.
            self._think(self.asked)
        return points
