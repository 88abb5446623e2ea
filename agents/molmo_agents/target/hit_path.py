"""The walk from a pixel of the viewport down through frames and shadow roots to the element there."""

from __future__ import annotations

from molmo_agents.browser.cdp import IsolatedWorlds
from molmo_agents.browser.documents import WORLD, FrameHop, HitPath, IsolatedWorld, WorldLost
from molmo_agents.drivers.steps import Steps
from molmo_agents.playwright_types import Json

MAX_DEPTH = 12
"""Frames within frames that are followed; more is a page that nests itself."""


def resolve(worlds: IsolatedWorlds, x: float, y: float) -> Steps[HitPath]:
    """Walk from a pixel of the viewport (CSS px) down through frames and shadow roots to the element there."""
    try:
        return (yield from _resolve(worlds, (yield from worlds.main(known=True)), x, y))
    except WorldLost:
        # Another document by now: the page went on since the latest look.
        return (yield from _resolve(worlds, (yield from worlds.main()), x, y))


def _resolve(worlds: IsolatedWorlds, main: IsolatedWorld, x: float, y: float) -> Steps[HitPath]:
    link = FrameHop(main, x, y)
    links = [link]
    frames = {"invisible_frame": False, "frame_moved": False}
    for _ in range(MAX_DEPTH):
        raw = yield from worlds.ask(link.world, "hit", link.x, link.y)
        if raw.get("host"):
            raw = yield from _into_closed(worlds, link, raw)
        frames["frame_moved"] |= bool(raw.get("moved"))
        if "frame" not in raw:
            return HitPath({**raw, **frames}, tuple(links))
        frame = raw["frame"]
        frames["invisible_frame"] |= bool(frame["invisible"])
        world = yield from worlds.child(link.world, "molmo.target")
        if world is None:
            # An <object> may show an image: then it is an element like any other.
            raw = yield from worlds.ask(link.world, "hit", link.x, link.y, None, True)
            return HitPath({**raw, **frames}, tuple(links))
        link = FrameHop(
            world,
            frame["x"],
            frame["y"],
            link.left + frame["left"] * link.sx,
            link.top + frame["top"] * link.sy,
            link.sx * frame["sx"],
            link.sy * frame["sy"],
        )
        links.append(link)
    return HitPath({"nothing": True, **frames}, tuple(links))


def _into_closed(worlds: IsolatedWorlds, link: FrameHop, raw: Json) -> Steps[Json]:
    """Descend into closed shadow roots: page JavaScript sees only the host, CDP sees inside."""
    for _ in range(MAX_DEPTH):
        object_id = yield from worlds.object_id(link.world, "molmo.leaf")
        if object_id is None:
            return raw
        node = (yield from worlds.describe(link.world, object_id))["node"]
        closed = [r for r in node.get("shadowRoots", ()) if r["shadowRootType"] == "closed"]
        if not closed:
            return raw
        root = yield from worlds.send_into(
            link.world.session,
            "DOM.resolveNode",
            backendNodeId=closed[0]["backendNodeId"],
            executionContextId=link.world.context,
            objectGroup=WORLD,
        )
        answer = yield from worlds.send_into(
            link.world.session,
            "Runtime.callFunctionOn",
            functionDeclaration="function (x, y) { return molmo.leafAt(x, y, this) ? molmo.hit(x, y, this) : null; }",
            objectId=root["object"]["objectId"],
            arguments=[{"value": link.x}, {"value": link.y}],
            returnByValue=True,
        )
        inner = answer["result"].get("value")
        if not inner:
            return raw
        raw = inner
        if not raw.get("host"):
            return raw
    return raw
