"""One document of a page and the way down to an element in it, as values; and the JavaScript that answers there."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from importlib import resources

from molmo_agents.errors import PageGone
from molmo_agents.playwright_types import CdpSession, Json

WORLD = "molmo-agents"


PROBES = (
    "dom",
    "names",
    "acts",
    "forms",
    "hit",
    "press",
    "fields",
    "editors",
    "locate",
    "drag",
    "cover",
    "redraw",
    "secrets",
)
"""The files of the injected JavaScript, in order: each uses those before it."""


def probe_source() -> str:
    """Return the JavaScript that is put into each document's isolated world."""
    folder = resources.files("molmo_agents") / "probe"
    return "\n".join((folder / f"{name}.js").read_text("utf-8") for name in PROBES)


class WorldLost(PageGone):
    """The document went away (navigated, frame removed) while it was asked."""


@dataclass(frozen=True)
class IsolatedWorld:
    """One document: the CDP session it answers on, its frame, and our world in it."""

    session: CdpSession = field(repr=False)
    frame_id: str
    context: int


@dataclass(frozen=True)
class FrameHop:
    """One document on the way down to an element, with where the point lies in it and where it lies in the page.

    `left`, `top`: where the document begins, viewport CSS px; `sx`, `sy`: viewport CSS px per CSS px of the document.
    """

    world: IsolatedWorld
    x: float
    y: float
    left: float = 0.0
    top: float = 0.0
    sx: float = 1.0
    sy: float = 1.0


@dataclass(frozen=True)
class HitPath:
    """What lies at a point: `raw` is what our JavaScript says of it (see `HitTestResult`), `links` the documents down to it."""

    raw: Json
    links: tuple[FrameHop, ...]

    @property
    def leaf(self) -> FrameHop:
        return self.links[-1]


REMEMBERED = 1000
"""Number of removed frames that stay known: events of their last requests may arrive after their end."""


class FrameIds:
    """The frames that a page has or lately had, by the browser's own names for them."""

    def __init__(self) -> None:
        self._here: set[str] = set()
        self._gone: deque[str] = deque(maxlen=REMEMBERED)

    def __contains__(self, frame_id: str) -> bool:
        return frame_id in self._here or frame_id in self._gone

    def add(self, frame_id: str) -> None:
        """Take note of a frame."""
        self._here.add(frame_id)

    def add_tree(self, tree: Json) -> None:
        """Take note of every frame of a `Page.getFrameTree` answer."""
        self.add(tree["frame"]["id"])
        for child in tree.get("childFrames", ()):
            self.add_tree(child)

    def end(self, frame_id: str) -> None:
        """The frame is gone; it stays known for a while."""
        self._here.discard(frame_id)
        self._gone.append(frame_id)
