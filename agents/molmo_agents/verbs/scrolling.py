"""The verb that scrolls until something is in view, in whatever of the page scrolls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from molmo_agents.defaults import LIST_GROWS_TIMEOUT_S
from molmo_agents.drivers.steps import Steps, pause
from molmo_agents.outcome import Outcome, Status
from molmo_agents.playwright_types import Json
from molmo_agents.progress import OutcomeBuilder, Query, VerbFailed, describe_query
from molmo_agents.session import Session
from molmo_agents.target.asking import ask_model, css_points, look
from molmo_agents.target.screenshot import capture
from molmo_point.points import Point

SCROLL_SHARE = 0.8
"""Share of the viewport that one scroll moves: what was cut at the edge is whole in the next screenshot."""


@dataclass(frozen=True)
class _Way:
    """One thing that scrolls and one direction: where the wheel is turned (CSS px of the viewport), by how much (px)."""

    x: float
    y: float
    dx: float
    dy: float

    @property
    def onward(self) -> bool:
        """Down or to the right, where lists grow."""
        return self.dx + self.dy > 0


def scroll_to(
    s: Session, p: OutcomeBuilder, query: Query, max_screens: int, at: Point | None
) -> Steps[Outcome]:
    """Scroll until the model finds it: the page down, then up, then every list in view, then sideways.

    `at` says over which place to turn the wheel; then nothing else is scrolled.
    """
    found = yield from _seen(s, p, query, moved=False)
    if found is not None:
        return found
    screens = 0
    for way in (yield from _ways(s, at)):
        while True:
            forbidden = s.forbids(p.verb)
            if forbidden is not None:
                raise VerbFailed(*forbidden)
            if screens >= max_screens:
                raise VerbFailed(Status.ABSENT, f"not found within {max_screens} screens")
            moved = yield from _wheel(s, way)
            if not moved:
                break
            screens += 1
            found = yield from _seen(s, p, query, moved=True)
            if found is not None:
                return found
    raise VerbFailed(Status.ABSENT, "not found from one end to the other of anything that scrolls")


def _seen(s: Session, p: OutcomeBuilder, query: Query, moved: bool) -> Steps[Outcome | None]:
    """Look and ask once; None where it is not in view."""
    screenshot = yield from look(s, p)
    p.attempts += 1
    pointing = yield from ask_model(s, p, screenshot, describe_query(query))
    try:
        points = css_points(s, screenshot, pointing)
    except VerbFailed as halt:
        if halt.status not in (Status.ABSENT, Status.UNSURE):
            raise
        return None
    return p.outcome(
        Status.FOUND,
        delivered=moved,
        points=tuple((x, y) for x, y, _ in points),
        point=points[0][:2],
    )


def _ways(s: Session, at: Point | None) -> Steps[list[_Way]]:
    """Everything that scrolls, in the order in which it is tried."""
    main = yield from s.worlds.main()
    state = yield from s.worlds.ask(main, "state")
    width, height = (float(side) for side in state["viewport"])
    if at is not None:
        return list(_both(at.x * width, at.y * height, "y", SCROLL_SHARE * height))
    places: list[Json] = yield from s.worlds.ask(main, "scrollers")
    ways: list[_Way] = []
    for place in places:
        side, most = ("height", height) if place["axis"] == "y" else ("width", width)
        step = SCROLL_SHARE * min(float(place[side]), most)
        ways += _both(place["x"], place["y"], place["axis"], step)
    return ways


def _both(x: float, y: float, axis: str, step: float) -> Iterator[_Way]:
    for sign in (1.0, -1.0):
        yield _Way(x, y, sign * step if axis == "x" else 0.0, sign * step if axis == "y" else 0.0)


def _wheel(s: Session, way: _Way) -> Steps[bool]:
    """Turn the wheel once, wait until it stands still, and return whether it changed; at the end of a list wait for more."""
    main = yield from s.worlds.main()
    # Measured before the turn: the list may grow while the screenshot is waited for.
    extent = yield from s.worlds.ask(main, "extent")
    if (yield from _turn(s, way)):
        return True
    if not way.onward:
        return False
    main = yield from s.worlds.main()
    state = yield from s.worlds.ask(main, "state")
    if not state["scrolls"]:
        # Nothing here has ever scrolled: no list has come to its end.
        return False
    for _ in range(int(LIST_GROWS_TIMEOUT_S / 0.1)):
        if (yield from s.worlds.ask(main, "extent")) > extent:
            return (yield from _turn(s, way))
        yield from pause(s.page, 0.1)
    return False


def _turn(s: Session, way: _Way) -> Steps[bool]:
    s.shared.actions += 1
    before = yield from _view(s)
    yield from s.worlds.send(
        s.worlds.session,
        "Input.dispatchMouseEvent",
        type="mouseWheel",
        x=way.x,
        y=way.y,
        deltaX=way.dx,
        deltaY=way.dy,
    )
    last = before
    for turn in range(30):
        yield from pause(s.page, 0.05)
        now = yield from _view(s)
        # Scrolling begins some frames after the wheel turned: an early rest is no rest yet.
        if now == last and (now != before or turn > 4):
            break
        last = now
    return last != before


def _view(s: Session) -> Steps[tuple[int, bytes]]:
    """What scrolling changes: the count of scroll events (blank pages look alike everywhere) and the screenshot."""
    main = yield from s.worlds.main()
    state = yield from s.worlds.ask(main, "state")
    screenshot = yield from capture(s, state, None, 1.0)
    return int(state["scrolls"]), screenshot
