"""Whether something that is no control by its looks takes presses: its listeners say so, and only the protocol can list them.

Many pages listen at one element far out and find out there what was pressed. Then the frameworks' own notes say which
element is meant (React, Solid, Svelte, jQuery); without them only what looks like a button counts, since under such a
listener every word of the page would.
"""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import resources

from molmo_agents.browser.cdp import IsolatedWorlds
from molmo_agents.browser.documents import HitPath, IsolatedWorld
from molmo_agents.drivers.steps import Steps
from molmo_agents.playwright_types import Json

PRESS_EVENTS = frozenset(
    ["click", "mousedown", "mouseup", "pointerdown", "pointerup", "touchend", "touchstart"]
)
MAX_CHAIN = 60
"""Elements outwards from the one at the point that are looked at."""

_CHAIN = (resources.files("molmo_agents") / "probe" / "chain.js").read_text("utf-8")


def listening(worlds: IsolatedWorlds, resolved: HitPath) -> Steps[HitPath | None]:
    """Return the same hit with the element that takes presses as its target, or None where nothing there does."""
    link = resolved.leaf
    world = link.world
    leaf = yield from worlds.page_object(world, "molmo.leaf")
    if leaf is None:
        return None
    notes, elements, outside = yield from _chain(worlds, world, leaf)
    roots = yield from worlds.ask(world, "roots")
    rooted = False
    up: int | None = None
    for index, element in enumerate((*elements, *outside)):
        on_page = index >= len(elements) or index >= len(roots) or bool(roots[index])
        noted = index < len(elements) and bool(notes["notes"][index])
        if noted or (yield from _has_press_listener(worlds, world, element, on_page)):
            # On the element itself it counts, however large that is.
            if not on_page or (
                index == 0 and index < len(elements) and not _is_page(roots, index)
            ):
                up = index
                break
            rooted = True
    guessed = up is None
    marks: list[bool] = notes["marks"]
    if True in marks and (rooted if up is None else marks.index(True) < up):
        up = marks.index(True)
    elif up is None and rooted and not notes["react"]:
        looks = int((yield from worlds.ask(world, "looksPressable")))
        up = looks if looks >= 0 else None
    if up is None:
        return None
    found = yield from worlds.ask(world, "retarget", up, link.x, link.y)
    if guessed and found["beneath"] is not None:
        # A plain box over a real control hides that one.
        return None
    return replace(resolved, raw={**resolved.raw, "found": found})


def editor_at(worlds: IsolatedWorlds, resolved: HitPath) -> Steps[HitPath | None]:
    """Return the same hit with an editor around it as its target, or None: one that takes keys in a text area that nobody sees.

    Such an editor may be as large as the page, and listens for presses where it is.
    """
    link = resolved.leaf
    up = int((yield from worlds.ask(link.world, "editorUp")))
    if up < 0:
        return None
    found = yield from worlds.ask(link.world, "retarget", up, link.x, link.y)
    return replace(resolved, raw={**resolved.raw, "found": found})


def _is_page(roots: list[bool], index: int) -> bool:
    # The two outermost elements are the body and the document's own.
    return index >= len(roots) - 2


def _chain(
    worlds: IsolatedWorlds, world: IsolatedWorld, leaf: str
) -> Steps[tuple[Json, list[str], list[str]]]:
    """Return the frameworks' notes, the elements from the leaf outwards, and document and window, as remote objects."""
    answer = yield from worlds.send(
        world.session,
        "Runtime.callFunctionOn",
        functionDeclaration=_CHAIN,
        objectId=leaf,
        arguments=[{"value": MAX_CHAIN}],
        objectGroup="molmo-agents",
    )
    nothing: Json = {"notes": [], "marks": [], "react": False}
    if "objectId" not in answer["result"]:
        return nothing, [], []
    parts = yield from _properties(worlds, world, answer["result"]["objectId"])

    notes = json.loads(parts["notes"]["value"])
    listed = yield from _properties(worlds, world, parts["chain"]["objectId"])
    objects = [listed[str(n)]["objectId"] for n in range(len(listed)) if str(n) in listed]
    return notes, objects[:-2], objects[-2:]


def _properties(worlds: IsolatedWorlds, world: IsolatedWorld, object_id: str) -> Steps[Json]:
    answer = yield from worlds.send(
        world.session, "Runtime.getProperties", objectId=object_id, ownProperties=True
    )
    return {p["name"]: p["value"] for p in answer["result"] if "value" in p}


def _has_press_listener(
    worlds: IsolatedWorlds, world: IsolatedWorld, element: str, on_page: bool
) -> Steps[bool]:
    """Whether an element listens for presses; the page as a whole counts only where it listens last, as frameworks do.

    Listeners that come first there are those of analytics, which care for nothing in particular.
    """
    answer = yield from worlds.send(
        world.session, "DOMDebugger.getEventListeners", objectId=element
    )
    return any(
        listener["type"] in PRESS_EVENTS and not (on_page and listener["useCapture"])
        for listener in answer["listeners"]
    )
