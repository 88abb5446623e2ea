"""Our own JavaScript in every document of a page, out of the page's reach, and the walk from a pixel down to an element.

Everything asked of the page runs in an isolated world over the DevTools protocol (CDP): the same DOM, other JavaScript. A
page that overrides `elementFromPoint`, listens in on globals or sets a strict content policy has no effect on it. Frames of
other origins live in other processes and have sessions of their own; closed shadow roots open to CDP only. The walk crosses both.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from molmo_agents.errors import PageGone
from molmo_agents.steps import Steps, call

WORLD = "molmo-agents"
MAX_DEPTH = 12
"""Frames within frames that are followed; more is a page that nests itself."""

REMEMBERED = 1000
"""Frames that are gone and still known: their last requests may be heard of after their end."""


PROBES = ("dom", "names", "forms", "hit", "press", "fields", "locate", "cover", "secrets")
"""The files of our JavaScript, each leaning on those before it."""


def probe_source() -> str:
    """Return the JavaScript that is put into each document's isolated world."""
    folder = resources.files("molmo_agents") / "probe"
    return "\n".join((folder / f"{name}.js").read_text("utf-8") for name in PROBES)


class WorldLost(PageGone):
    """The document went away (navigated, frame removed) while it was asked."""


@dataclass(frozen=True)
class World:
    """One document: the CDP session it answers on, its frame, and our world in it."""

    session: Any = field(repr=False)
    frame_id: str
    context: int


@dataclass(frozen=True)
class Link:
    """One document on the way down to an element, with where the point lies in it and where it lies in the page.

    `left`, `top` (CSS px of the viewport) is where the document begins, `sx`, `sy` how many CSS px of the viewport one of its is.
    """

    world: World
    x: float
    y: float
    left: float = 0.0
    top: float = 0.0
    sx: float = 1.0
    sy: float = 1.0


@dataclass(frozen=True)
class Resolved:
    """What lies at a point: `raw` is what the probe says of it (see `decide.Hit`), `links` the documents down to it."""

    raw: dict[str, Any]
    links: tuple[Link, ...]

    @property
    def leaf(self) -> Link:
        return self.links[-1]


class Worlds:
    """Owns the CDP sessions of one page."""

    def __init__(self, page: Any, answer_s: float) -> None:
        self._page = page
        self._answer_s = answer_s
        self._source = probe_source()
        self._contexts: dict[tuple[int, str], int] = {}
        self._foreign: dict[str, tuple[Any, Any]] = {}
        self._main: World | None = None
        self.session: Any = None
        self._frame_ids: set[str] = set()
        self._gone: deque[str] = deque(maxlen=REMEMBERED)
        self.told: list[tuple[str, str]] = []
        """(document, event) of each guarded event, as it happened: it outlives the document."""

    def open(self) -> Steps[None]:
        """Attach to the page and put the probe into its present and future documents."""
        self.session = yield from call(self._page.context, "new_cdp_session", self._page)
        yield from self._prepare(self.session)

    def close(self) -> Steps[None]:
        """Detach from the page; it keeps nothing but an inert listener until its next navigation."""
        sessions = [self.session, *(session for session, _ in self._foreign.values())]
        self._foreign.clear()
        self._contexts.clear()
        self.session = None
        for session in sessions:
            try:
                yield from call(session, "detach", timeout_s=2.0)
            except Exception:  # the target is gone, and its session with it
                continue

    def send(self, session: Any, method: str, more_s: float = 0.0, **params: Any) -> Steps[Any]:
        """Send one CDP command and return its result; the page has `answer_s` seconds and `more_s` for it."""
        if session is None:
            raise PageGone("the page is no longer attached: it was closed, or this pointer was")
        wait = self._answer_s + more_s
        return (yield from call(session, "send", method, params, timeout_s=wait))

    def _send_into(
        self, session: Any, method: str, more_s: float = 0.0, **params: Any
    ) -> Steps[Any]:
        """As `send`, about a document that may go away meanwhile.

        Raises:
            WorldLost: It did, or the command failed otherwise.
        """
        try:
            return (yield from self.send(session, method, more_s, **params))
        except PageGone:
            raise
        except Exception as error:
            raise WorldLost(f"the document is gone: {str(error)[:200]}") from error

    def main(self, known: bool = False) -> Steps[World]:
        """Return the world of the page's main document; with `known` the one of the latest look, without asking again."""
        if known and self._main is not None:
            return self._main
        tree = yield from self.send(self.session, "Page.getFrameTree")
        self._note(tree["frameTree"])
        self._main = yield from self._world(self.session, tree["frameTree"]["frame"]["id"])
        return self._main

    def ask(self, world: World, function: str, *args: Any, more_s: float = 0.0) -> Steps[Any]:
        """Call `molmo.<function>(*args)` in a document and return its JSON value; it may take `more_s` seconds itself.

        Raises:
            WorldLost: The document is gone.
        """
        return (
            yield from self.run(world, f"(...a) => molmo.{function}(...a)", *args, more_s=more_s)
        )

    def run(
        self, world: World, source: str, *args: Any, by_value: bool = True, more_s: float = 0.0
    ) -> Steps[Any]:
        """Call a JavaScript function in a document; by value, or as a remote object for other CDP commands."""
        answer = yield from self._send_into(
            world.session,
            "Runtime.callFunctionOn",
            more_s,
            functionDeclaration=source,
            executionContextId=world.context,
            arguments=[{"value": argument} for argument in args],
            returnByValue=by_value,
            awaitPromise=True,
            objectGroup=WORLD,
        )
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            text = details.get("exception", {}).get("description") or details.get("text", "")
            raise PageGone(f"the page could not be probed: {text[:300]}")
        return answer["result"].get("value") if by_value else answer["result"]

    def resolve(self, x: float, y: float) -> Steps[Resolved]:
        """Walk from a pixel of the viewport (CSS px) down through frames and shadow roots to the element there."""
        try:
            return (yield from self._resolve((yield from self.main(known=True)), x, y))
        except WorldLost:
            # Another document by now: the page went on since the latest look.
            return (yield from self._resolve((yield from self.main()), x, y))

    def _resolve(self, main: World, x: float, y: float) -> Steps[Resolved]:
        link = Link(main, x, y)
        links = [link]
        frames = {"invisible_frame": False, "frame_moved": False}
        for _ in range(MAX_DEPTH):
            raw = yield from self.ask(link.world, "hit", link.x, link.y)
            if raw.get("host"):
                raw = yield from self._into_closed(link, raw)
            frames["frame_moved"] |= bool(raw.get("moved"))
            if "frame" not in raw:
                return Resolved({**raw, **frames}, tuple(links))
            frame = raw["frame"]
            frames["invisible_frame"] |= bool(frame["invisible"])
            world = yield from self.child(link.world, "molmo.target")
            if world is None:
                # An <object> may show a picture: then it is an element like any other.
                raw = yield from self.ask(link.world, "hit", link.x, link.y, None, True)
                return Resolved({**raw, **frames}, tuple(links))
            link = Link(
                world,
                frame["x"],
                frame["y"],
                link.left + frame["left"] * link.sx,
                link.top + frame["top"] * link.sy,
                link.sx * frame["sx"],
                link.sy * frame["sy"],
            )
            links.append(link)
        return Resolved({"nothing": True, **frames}, tuple(links))

    def child(self, parent: World, element: str) -> Steps[World | None]:
        """Return the world of the document inside the frame element that the expression `element` names, or None."""
        remote = yield from self.run(parent, f"() => {element}", by_value=False)
        if "objectId" not in remote:
            return None
        node = (yield from self._describe(parent, remote["objectId"]))["node"]
        frame_id = node.get("frameId")
        if frame_id is None:
            return None
        self._frame_ids.add(frame_id)
        if "contentDocument" in node:
            return (yield from self._world(parent.session, frame_id))
        session = yield from self._foreign_session(frame_id)
        return None if session is None else (yield from self._world(session, frame_id))

    def has(self, frame_id: str) -> bool:
        """Whether a frame is or was one of this page, as far as has been heard."""
        return frame_id in self._frame_ids or frame_id in self._gone

    def find(self, frame_id: str) -> Steps[bool]:
        """The same; the page is asked about a frame not heard of: news of different sessions overtake each other."""
        if not self.has(frame_id):
            tree = yield from self.send(self.session, "Page.getFrameTree")
            self._note(tree["frameTree"])
        if not self.has(frame_id):
            # A frame inside another site's frame is known to that frame's process only.
            yield from self._attach_foreign()
            for session, frame in list(self._foreign.values()):
                if not frame.is_detached():
                    tree = yield from self.send(session, "Page.getFrameTree")
                    self._note(tree["frameTree"])
        return self.has(frame_id)

    def object_id(self, world: World, expression: str) -> Steps[str | None]:
        """Return a remote object id for a JavaScript expression, for CDP commands that take one."""
        remote = yield from self.run(world, f"() => {expression}", by_value=False)
        found: str | None = remote.get("objectId")
        return found

    def page_object(self, world: World, expression: str) -> Steps[str | None]:
        """Like `object_id`, as the page's own world sees it: listeners are listed per world."""
        ours = yield from self.object_id(world, expression)
        if ours is None:
            return None
        node = (yield from self._describe(world, ours))["node"]
        theirs = yield from self._send_into(
            world.session,
            "DOM.resolveNode",
            backendNodeId=node["backendNodeId"],
            objectGroup=WORLD,
        )
        found: str | None = theirs["object"].get("objectId")
        return found

    def _describe(self, world: World, object_id: str) -> Steps[dict[str, Any]]:
        answer: dict[str, Any] = yield from self._send_into(
            world.session, "DOM.describeNode", objectId=object_id, depth=0, pierce=True
        )
        return answer

    def _into_closed(self, link: Link, raw: dict[str, Any]) -> Steps[dict[str, Any]]:
        """Descend into closed shadow roots: page JavaScript sees only the host, CDP sees inside."""
        for _ in range(MAX_DEPTH):
            object_id = yield from self.object_id(link.world, "molmo.leaf")
            if object_id is None:
                return raw
            node = (yield from self._describe(link.world, object_id))["node"]
            closed = [r for r in node.get("shadowRoots", ()) if r["shadowRootType"] == "closed"]
            if not closed:
                return raw
            root = yield from self._send_into(
                link.world.session,
                "DOM.resolveNode",
                backendNodeId=closed[0]["backendNodeId"],
                executionContextId=link.world.context,
                objectGroup=WORLD,
            )
            answer = yield from self._send_into(
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

    def _world(self, session: Any, frame_id: str) -> Steps[World]:
        key = (id(session), frame_id)
        known = self._contexts.get(key)
        if known is not None:
            world = World(session, frame_id, known)
            try:
                yield from self.run(world, "() => 1")
                return world
            except WorldLost:
                del self._contexts[key]
        made = yield from self._send_into(
            session, "Page.createIsolatedWorld", frameId=frame_id, worldName=WORLD
        )
        world = World(session, frame_id, made["executionContextId"])
        yield from self.run(world, "() => {" + self._source + "\n}")
        yield from self._send_into(
            session, "Runtime.addBinding", name="molmoTell", executionContextId=world.context
        )
        self._contexts[key] = world.context
        return world

    def _foreign_session(self, frame_id: str) -> Steps[Any]:
        """Return the CDP session of a frame that lives in another process, or None."""
        if frame_id not in self._foreign:
            yield from self._attach_foreign()
        known = self._foreign.get(frame_id)
        return None if known is None else known[0]

    def _attach_foreign(self) -> Steps[None]:
        """Attach to every frame that lives in a process of its own."""
        attached = [frame for _, frame in self._foreign.values()]
        for frame in self._page.frames:
            if frame.parent_frame is None or frame in attached:
                continue
            try:
                session = yield from call(self._page.context, "new_cdp_session", frame)
                tree = (yield from self._send_into(session, "Page.getFrameTree"))["frameTree"]
                yield from self._prepare(session)
            except WorldLost:
                continue
            except PageGone:
                raise
            except Exception:
                # This frame lives in its parent's process and has no session of its own.
                continue
            self._note(tree)
            self._foreign[tree["frame"]["id"]] = (session, frame)

    def tidy(self) -> Steps[None]:
        """Let go of elements asked about earlier and of frames that are gone, so that a long life leaks none."""
        for frame_id, (session, frame) in list(self._foreign.items()):
            if frame.is_detached():
                del self._foreign[frame_id]
                for key in [k for k in self._contexts if k[0] == id(session)]:
                    del self._contexts[key]
        for session in (self.session, *(session for session, _ in self._foreign.values())):
            try:
                # A remote object keeps its element alive in the page until it is released.
                yield from self.send(session, "Runtime.releaseObjectGroup", objectGroup=WORLD)
            except PageGone:
                raise
            except Exception:
                # The frame of this session is just going; its objects go with it.
                continue

    def _prepare(self, session: Any) -> Steps[None]:
        yield from self._send_into(session, "Page.enable")
        yield from self._send_into(
            session,
            "Page.addScriptToEvaluateOnNewDocument",
            source=self._source,
            worldName=WORLD,
        )
        session.on("Runtime.bindingCalled", self._tell)
        session.on("Page.frameAttached", self._attached)
        session.on("Page.frameDetached", self._detached)

    def _tell(self, event: dict[str, Any]) -> None:
        if event.get("name") == "molmoTell":
            note = json.loads(event["payload"])
            self.told.append((note["document"], note["entry"]))

    def _attached(self, event: dict[str, Any]) -> None:
        self._frame_ids.add(event["frameId"])

    def _detached(self, event: dict[str, Any]) -> None:
        self._frame_ids.discard(event["frameId"])
        self._gone.append(event["frameId"])
        for key in [key for key in self._contexts if key[1] == event["frameId"]]:
            del self._contexts[key]

    def _note(self, tree: dict[str, Any]) -> None:
        self._frame_ids.add(tree["frame"]["id"])
        for child in tree.get("childFrames", ()):
            self._note(child)
