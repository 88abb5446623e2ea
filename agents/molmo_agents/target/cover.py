"""Whether what is painted at a point is what gets the press there.

No style property says that: a link can be clear by its colour, by its image, by a filter; an image that lets presses
through can hide a button; a dialog's backdrop or an inert page shows controls that get nothing. So the renderer is asked:
an element is made clear for the length of one small screenshot, and where no pixel changes it was not visible. Screenshots
are taken only where something else is at the point at all, which is rare.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from molmo_agents.browser.documents import FrameHop, HitPath, IsolatedWorld, WorldLost
from molmo_agents.drivers.steps import Steps
from molmo_agents.outcome import Status
from molmo_agents.playwright_types import Json
from molmo_agents.screen import Box
from molmo_agents.session import Session
from molmo_agents.target.screenshot import PIXEL_STEP, capture
from molmo_agents.target.verdicts import HitTestResult, Verdict
from molmo_point.images import load_image

Pixels = npt.NDArray[np.int16]

WINDOW = 17.0
"""Side of the square around the point that is compared, CSS px."""

ZONE = 241.0
"""The same for what is no control: a place to drop things on may be blank at the point and show by its frame."""

WIDE, NEAR = 48.0, 4.0
"""A small thing on another control is looked at within `WIDE` around the point; what it draws within `NEAR` is at it. CSS px."""

CANNOT_TELL = (
    "it cannot be told whether {} is what is seen there: its style sheet lets nothing hide it"
)

SMALL = 0.5
"""A control that lies on another one and takes less than this share of its area is a thing on it (a cross in a field)."""


@dataclass(frozen=True)
class _Scene:
    """One point, its element, and where the small screenshots are taken."""

    resolved: HitPath
    hit: HitTestResult
    state: Json
    window: Box
    base: Pixels
    x: float
    y: float


def hidden_by(
    s: Session, hit: HitTestResult, resolved: HitPath, x: float, y: float
) -> Steps[Verdict | None]:
    """Say that something else is seen at (x, y), CSS px of the viewport, than `hit`, which gets the press there; or None."""
    label = f"<{hit.raw['tag']}> {hit.raw['name'][:160]!r}"
    try:
        if hit.actionable:
            return (yield from _control_hidden(s, hit, resolved, x, y, label))
        return (yield from _thing_hidden(s, hit, resolved, x, y, label))
    except _StaysVisible:
        return Status.COVERED, CANNOT_TELL.format(label)


class _StaysVisible(Exception):
    """An element did not get clear: the page's style sheet is stronger."""


def _thing_hidden(
    s: Session, hit: HitTestResult, resolved: HitPath, x: float, y: float, label: str
) -> Steps[Verdict | None]:
    """The same for what is no control: dragged, or dropped on. Anything may lie there, as long as it shows itself."""
    leaf = resolved.leaf.world
    others = yield from s.worlds.ask(leaf, "everythingAt", resolved.leaf.x, resolved.leaf.y)
    covered = yield from _on_top(s, resolved.leaf, x, y, hit.raw["scroll"])
    if not others and not covered:
        return None
    scene = yield from _scene(s, hit, resolved, x, y, ZONE)
    if (yield from _shows(s, scene, [(leaf, "target")])):
        return None
    if others and (yield from _shows(s, scene, [(leaf, "others")])):
        return Status.COVERED, f"{label} lies over what is seen there"
    if not covered or not (
        yield from _shows(s, scene, [(leaf, "target")], beneath=(leaf, "cover"))
    ):
        return None
    cover = yield from s.worlds.ask(leaf, "coverName")
    return Status.COVERED, f"{cover} is painted over {label}"


def _control_hidden(
    s: Session, hit: HitTestResult, resolved: HitPath, x: float, y: float, label: str
) -> Steps[Verdict | None]:
    leaf = resolved.leaf.world
    outer = [link.world for link in resolved.links[:-1]]
    around: list[int] = []
    for world in outer:
        there = yield from s.worlds.run(world, "() => molmo.others.length")
        around += [int(there)]
    covered = yield from _on_top(s, resolved.leaf, x, y, hit.raw["scroll"])
    others = hit.raw["others"]
    if not covered and not others and not any(around) and not outer:
        return None
    scene = yield from _scene(s, hit, resolved, x, y)
    if outer and (yield from _frame_hidden(s, scene, resolved.links[0], x, y)):
        return Status.COVERED, f"{label} is in a frame that is not visible at that point"
    crowd = [(world, "others") for world, n in zip(outer, around, strict=True) if n]
    crowd += [(leaf, "others")] if others else []
    if crowd and (yield from _shows(s, scene, crowd)):
        return (yield from _seen_through(s, scene, label, outer, around))
    if not covered or (yield from _shows(s, scene, [(leaf, "target")])):
        return None
    # Clear all by itself (a file field over a drawn button), or hidden by what lies over it?
    if not (yield from _shows(s, scene, [(leaf, "target")], beneath=(leaf, "cover"))):
        return None
    cover = yield from s.worlds.ask(leaf, "coverName")
    return Status.COVERED, f"{cover} is painted over {label}"


def _drawn_around(s: Session, scene: _Scene) -> Steps[bool]:
    """Whether the element draws something at the point, or around it as a ring does; a dot in its corner is not enough."""
    leaf = scene.resolved.leaf.world
    wide = Box(scene.x - WIDE / 2, scene.y - WIDE / 2, WIDE, WIDE).overlap(scene.hit.box)
    if min(wide.width, wide.height) < 1:
        return False
    base = yield from _pixels(s, scene.state, wide)
    drawn = np.zeros(base.shape[:2], bool)
    for how in ("clear", _dark(base)):
        try:
            yield from _hide(s, [(leaf, "target")], how)
            without = yield from _pixels(s, scene.state, wide)
        finally:
            yield from s.worlds.ask(leaf, "show")
        if without.shape == base.shape:
            drawn |= (np.abs(base - without) > PIXEL_STEP).any(axis=2)
    rows, columns = np.nonzero(drawn)
    if not len(rows):
        return False
    scale = base.shape[1] / wide.width
    across, down = columns / scale - (scene.x - wide.x), rows / scale - (scene.y - wide.y)
    if bool((np.maximum(np.abs(across), np.abs(down)) <= NEAR).any()):
        return True
    return bool(across.min() < 0 < across.max() and down.min() < 0 < down.max())


def _frame_hidden(s: Session, scene: _Scene, link: FrameHop, x: float, y: float) -> Steps[bool]:
    """Whether the frame is not visible at the point, and something else is: a blank spot of a clear frame hides nothing."""
    if (yield from _shows(s, scene, [(link.world, "target")])):
        return False
    spread = scene.base.reshape(-1, scene.base.shape[-1])
    if bool((spread.max(axis=0) - spread.min(axis=0)).max() > PIXEL_STEP):
        return True
    return (yield from _on_top(s, link, x, y))


def _seen_through(
    s: Session, scene: _Scene, label: str, outer: list[IsolatedWorld], around: list[int]
) -> Steps[Verdict | None]:
    """Another control shows at the point: fine only where the one pressed is a small thing upon it, drawn around the point."""
    leaf = scene.resolved.leaf.world
    area = scene.hit.whole.width * scene.hit.whole.height
    shows = yield from _shows(s, scene, [(leaf, "target")])
    upon: bool | None = None
    for index, other in enumerate(scene.hit.raw["others"]):
        if area < SMALL * other["area"]:
            if upon is None:
                upon = yield from _drawn_around(s, scene)
            if upon:
                continue
        if (yield from _shows(s, scene, [(leaf, index)])):
            return (
                Status.COVERED,
                f"{label} lies over <{other['tag']}> {other['name']!r}, which is seen there",
            )
    if any(around) and not shows:
        return (
            Status.COVERED,
            f"{label} is not seen at that point: something of the page around is",
        )
    return None


def _scene(
    s: Session, hit: HitTestResult, resolved: HitPath, x: float, y: float, side: float = WINDOW
) -> Steps[_Scene]:
    main = yield from s.worlds.main(known=True)
    state = yield from s.worlds.ask(main, "state")
    viewport = Box(0, 0, *(float(side) for side in state["viewport"]))
    window = Box(x - side / 2, y - side / 2, side, side).overlap(viewport)
    if hit.box.contains(x, y):
        # What shows beside the element says nothing about what shows through it.
        inner = window.overlap(hit.box)
        window = inner if min(inner.width, inner.height) >= 1 else window
    base = yield from _pixels(s, state, window)
    return _Scene(resolved, hit, state, window, base, x, y)


def _pixels(s: Session, state: Json, window: Box) -> Steps[Pixels]:
    data = yield from capture(s, state, window, 1.0)
    return load_image(data).astype(np.int16)


def _shows(
    s: Session,
    scene: _Scene,
    what: Sequence[tuple[IsolatedWorld, str | int]],
    beneath: tuple[IsolatedWorld, str] | None = None,
) -> Steps[bool]:
    """Whether these elements are visible at the point: the screenshot there changes when they are cleared, or blackened.

    Clearing alone would miss what has the colour of its ground. `beneath` is cleared before.
    """
    worlds = {world for world, _ in what} | ({beneath[0]} if beneath else set())
    for how in ("clear", _dark(scene.base)):
        before = scene.base
        try:
            if beneath is not None:
                yield from _hide(s, [beneath], "clear")
                before = yield from _pixels(s, scene.state, scene.window)
            yield from _hide(s, what, how)
            without = yield from _pixels(s, scene.state, scene.window)
        finally:
            for world in worlds:
                try:
                    yield from s.worlds.ask(world, "show")
                except WorldLost:
                    continue
        if changed(before, without):
            return True
    return False


def _dark(base: Pixels) -> str:
    """The shade that shows on these pixels."""
    return "black" if float(base.mean()) > 127 else "white"


def _hide(s: Session, what: Sequence[tuple[IsolatedWorld, str | int]], how: str) -> Steps[None]:
    for world, name in what:
        done = yield from s.worlds.ask(world, "hide", name, how)
        if not done:
            raise _StaysVisible
        if world.session is not s.worlds.session:
            # Drawn by another process: its next frames must have come.
            yield from s.worlds.run(world, "() => molmo.frames2(2)")


def changed(before: Pixels, after: Pixels) -> bool:
    """Whether two small screenshots differ by more than anti-aliasing and faint shades do."""
    if before.shape != after.shape:
        return True
    return bool(before.size and np.abs(before - after).max() > PIXEL_STEP)


def _on_top(
    s: Session, link: FrameHop, x: float, y: float, scroll: list[float] | None = None
) -> Steps[bool]:
    """Whether something that has nothing to do with a document's target lies topmost, also where it lets presses through.

    `scroll` is how far the link's own document is scrolled, CSS px, where that is known already.
    """
    main = yield from s.worlds.main(known=True)
    session = link.world.session
    whole = session is main.session
    try:
        # The protocol counts from the corner of the outermost document of a process, scrolled or not.
        outermost = main if whole else link.world
        if scroll is None or outermost != link.world:
            scroll = (yield from s.worlds.ask(outermost, "state"))["scroll"]
        px, py = (x if whole else link.x) + scroll[0], (y if whole else link.y) + scroll[1]
        node = yield from s.worlds.send(
            session,
            "DOM.getNodeForLocation",
            x=int(px),
            y=int(py),
            includeUserAgentShadowDOM=False,
            ignorePointerEventsNone=True,
        )
        top = node["backendNodeId"]
        if node.get("frameId", link.world.frame_id) != link.world.frame_id:
            top = yield from _frame_within(s, link, node["frameId"])
        if top is None:
            return False
        remote = yield from s.worlds.send(
            session,
            "DOM.resolveNode",
            backendNodeId=top,
            executionContextId=link.world.context,
            objectGroup="molmo-agents",
        )
        answer = yield from s.worlds.send(
            session,
            "Runtime.callFunctionOn",
            functionDeclaration="function () { return molmo.coveredBy(this); }",
            objectId=remote["object"]["objectId"],
            returnByValue=True,
        )
    except WorldLost:
        raise
    except Exception as error:
        if not type(error).__module__.startswith("playwright"):
            raise
        # No node there (the edge of the page), or one that is just going.
        return False
    return bool(answer["result"].get("value"))


def _frame_within(s: Session, link: FrameHop, frame: str) -> Steps[int | None]:
    """Return the element of the link's document that shows `frame`, directly or within other frames, or None."""
    session = link.world.session
    tree = (yield from s.worlds.send(session, "Page.getFrameTree"))["frameTree"]
    parents: dict[str, str] = {}
    waiting = [tree]
    while waiting:
        one = waiting.pop()
        parents[one["frame"]["id"]] = one["frame"].get("parentId", "")
        waiting += one.get("childFrames", ())
    while frame and parents.get(frame) != link.world.frame_id:
        frame = parents.get(frame, "")
    if not frame:
        return None
    owner = yield from s.worlds.send(session, "DOM.getFrameOwner", frameId=frame)
    return int(owner["backendNodeId"])
