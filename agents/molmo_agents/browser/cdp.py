"""Our own JavaScript in every document of a page, out of the page's reach.

Everything asked of the page runs in an isolated world over the DevTools protocol (CDP): the same DOM, other JavaScript. A
page that overrides `elementFromPoint`, listens in on globals or sets a strict content policy has no effect on it. Frames of
other origins live in other processes and have sessions of their own; closed shadow roots open to CDP
only. `hit_path` crosses both.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from molmo_agents.browser.documents import WORLD, FrameIds, IsolatedWorld, WorldLost, probe_source
from molmo_agents.defaults import DETACH_TIMEOUT_S
from molmo_agents.drivers.steps import Steps, call
from molmo_agents.errors import PageGone
from molmo_agents.playwright_types import CdpSession, Json, Page, PageFrame

LOOKS_BETWEEN = 8
"""Number of looks after which remote objects are released: releasing costs one more command per session."""


class IsolatedWorlds:
    """Owns the CDP sessions of one page."""

    def __init__(self, page: Page, answer_s: float) -> None:
        self._page = page
        self._answer_s = answer_s
        self._source = probe_source()
        self._contexts: dict[tuple[CdpSession, str], tuple[int, str]] = {}
        """(session, frame) -> our world's number there, and the document it was made in."""
        self._untidied = 0
        self._foreign: dict[str, tuple[CdpSession, PageFrame]] = {}
        self._main: IsolatedWorld | None = None
        self._session: CdpSession | None = None
        self._frames = FrameIds()
        self._parents: dict[str, str] = {}
        """Frame -> frame around it, of the latest look, within the processes that were asked."""
        self.in_the_open: set[tuple[str, str]] = set()
        """(document's frame, frame): known to be in no closed shadow root of that document."""
        self.told: list[tuple[str, str]] = []
        """(document, event) of each guarded event, as it happened: it outlives the document."""

    @property
    def session(self) -> CdpSession:
        """The page's own session.

        Raises:
            PageGone: It is not attached.
        """
        if self._session is None:
            raise PageGone("the page is no longer attached: it was closed, or this pointer was")
        return self._session

    def open(self) -> Steps[None]:
        """Attach to the page and put the probe into its present and future documents."""
        self._session = yield from call(self._page.context, "new_cdp_session", self._page)
        yield from self._prepare(self.session)

    def close(self) -> Steps[None]:
        """Detach from the page; it keeps nothing but an inert listener until its next navigation."""
        sessions = [self._session, *(session for session, _ in self._foreign.values())]
        self._foreign.clear()
        self._contexts.clear()
        self._session = None
        for session in sessions:
            try:
                yield from call(session, "detach", timeout_s=DETACH_TIMEOUT_S)
            except Exception:  # the target is gone, and its session with it
                continue

    def send(
        self, session: CdpSession, method: str, more_s: float = 0.0, **params: object
    ) -> Steps[Json]:
        """Send one CDP command and return its result; the page has `answer_s` seconds and `more_s` for it."""
        wait = self._answer_s + more_s
        return (yield from call(session, "send", method, params, timeout_s=wait))

    def send_into(
        self, session: CdpSession, method: str, more_s: float = 0.0, **params: object
    ) -> Steps[Json]:
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

    def main(self, known: bool = False) -> Steps[IsolatedWorld]:
        """Return the world of the page's main document; with `known` the one of the latest look, without asking again."""
        if known and self._main is not None:
            return self._main
        tree = yield from self.send(self.session, "Page.getFrameTree")
        self._frames.add_tree(tree["frameTree"])
        self._parents = dict(_parents(tree["frameTree"]))
        frame = tree["frameTree"]["frame"]
        self._main = yield from self._world(self.session, frame["id"], frame.get("loaderId", ""))
        return self._main

    def ask(
        self, world: IsolatedWorld, function: str, *args: object, more_s: float = 0.0
    ) -> Steps[Any]:
        """Call `molmo.<function>(*args)` in a document and return its JSON value; it may take `more_s` seconds itself.

        Raises:
            WorldLost: The document is gone.
        """
        return (
            yield from self.run(world, f"(...a) => molmo.{function}(...a)", *args, more_s=more_s)
        )

    def run(
        self,
        world: IsolatedWorld,
        source: str,
        *args: object,
        by_value: bool = True,
        more_s: float = 0.0,
    ) -> Steps[Any]:
        """Call a JavaScript function in a document; by value, or as a remote object for other CDP commands."""
        answer = yield from self._call_in(
            world,
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

    def _call_in(self, world: IsolatedWorld, more_s: float, **params: object) -> Steps[Json]:
        """Call a function in a document; a world that turns out to be gone is forgotten."""
        try:
            return (
                yield from self.send_into(
                    world.session, "Runtime.callFunctionOn", more_s, **params
                )
            )
        except WorldLost:
            self._contexts.pop((world.session, world.frame_id), None)
            raise

    def child(self, parent: IsolatedWorld, element: str) -> Steps[IsolatedWorld | None]:
        """Return the world of the document inside the frame element that the expression `element` names, or None."""
        remote = yield from self.run(parent, f"() => {element}", by_value=False)
        if "objectId" not in remote:
            return None
        node = (yield from self.describe(parent, remote["objectId"]))["node"]
        frame_id = node.get("frameId")
        if frame_id is None:
            return None
        self._frames.add(frame_id)
        if "contentDocument" in node:
            return (yield from self._world(parent.session, frame_id))
        session = yield from self._foreign_session(frame_id)
        return None if session is None else (yield from self._world(session, frame_id))

    def has(self, frame_id: str) -> bool:
        """Return whether a frame belongs or belonged to this page, by the events received so far."""
        return frame_id in self._frames

    def within(self, world: IsolatedWorld) -> list[str]:
        """Return the frames that may lie in a document: its own by the latest look, and all that have a process of their own."""
        own = [child for child, parent in self._parents.items() if parent == world.frame_id]
        return [*own, *(frame for frame in self._foreign if frame != world.frame_id)]

    def find(self, frame_id: str) -> Steps[bool]:
        """Like `has`, but queries the browser about an unknown frame: events of different sessions may arrive out of order."""
        if not self.has(frame_id):
            tree = yield from self.send(self.session, "Page.getFrameTree")
            self._frames.add_tree(tree["frameTree"])
        if not self.has(frame_id):
            # A frame inside another site's frame is known to that frame's process only.
            yield from self._attach_foreign()
            for session, frame in list(self._foreign.values()):
                if not frame.is_detached():
                    tree = yield from self.send(session, "Page.getFrameTree")
                    self._frames.add_tree(tree["frameTree"])
        return self.has(frame_id)

    def object_id(self, world: IsolatedWorld, expression: str) -> Steps[str | None]:
        """Return a remote object id for a JavaScript expression, for CDP commands that take one."""
        remote = yield from self.run(world, f"() => {expression}", by_value=False)
        found: str | None = remote.get("objectId")
        return found

    def page_object(self, world: IsolatedWorld, expression: str) -> Steps[str | None]:
        """Like `object_id`, as the page's own world sees it: listeners are listed per world."""
        ours = yield from self.object_id(world, expression)
        if ours is None:
            return None
        node = (yield from self.describe(world, ours))["node"]
        theirs = yield from self.send_into(
            world.session,
            "DOM.resolveNode",
            backendNodeId=node["backendNodeId"],
            objectGroup=WORLD,
        )
        found: str | None = theirs["object"].get("objectId")
        return found

    def describe(self, world: IsolatedWorld, object_id: str) -> Steps[Json]:
        """Say which node a remote object is, as the browser counts nodes."""
        answer: Json = yield from self.send_into(
            world.session, "DOM.describeNode", objectId=object_id, depth=0, pierce=True
        )
        return answer

    def _world(self, session: CdpSession, frame_id: str, loader: str = "") -> Steps[IsolatedWorld]:
        """Return our world in a frame; one known from the same document (`loader`) is not asked whether it is still there."""
        key = (session, frame_id)
        known = self._contexts.get(key)
        if known is not None:
            world = IsolatedWorld(session, frame_id, known[0])
            if loader and loader == known[1]:
                return world
            try:
                yield from self.run(world, "() => 1")
                self._contexts[key] = (known[0], loader)
                return world
            except WorldLost:
                self._contexts.pop(key, None)
        made = yield from self.send_into(
            session, "Page.createIsolatedWorld", frameId=frame_id, worldName=WORLD
        )
        world = IsolatedWorld(session, frame_id, made["executionContextId"])
        yield from self.run(world, "() => {" + self._source + "\n}")
        yield from self.send_into(
            session, "Runtime.addBinding", name="molmoTell", executionContextId=world.context
        )
        self._contexts[key] = (world.context, loader)
        return world

    def _foreign_session(self, frame_id: str) -> Steps[CdpSession | None]:
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
                tree = (yield from self.send_into(session, "Page.getFrameTree"))["frameTree"]
                yield from self._prepare(session)
            except WorldLost:
                continue
            except PageGone:
                raise
            except Exception:
                # This frame lives in its parent's process and has no session of its own.
                continue
            self._frames.add_tree(tree)
            self._foreign[tree["frame"]["id"]] = (session, frame)

    def tidy(self) -> Steps[None]:
        """Release the remote objects of earlier looks and forget frames that are gone, so that long sessions do not leak."""
        for frame_id, (session, frame) in list(self._foreign.items()):
            if frame.is_detached():
                del self._foreign[frame_id]
                for key in [k for k in self._contexts if k[0] is session]:
                    del self._contexts[key]
        self._untidied += 1
        if self._untidied < LOOKS_BETWEEN:
            return
        self._untidied = 0
        for session in (self.session, *(session for session, _ in self._foreign.values())):
            try:
                # A remote object keeps its element alive in the page until it is released.
                yield from self.send(session, "Runtime.releaseObjectGroup", objectGroup=WORLD)
            except PageGone:
                raise
            except Exception:
                # The frame of this session is just going; its objects go with it.
                continue

    def _prepare(self, session: CdpSession) -> Steps[None]:
        yield from self.send_into(session, "Page.enable")
        yield from self.send_into(
            session,
            "Page.addScriptToEvaluateOnNewDocument",
            source=self._source,
            worldName=WORLD,
        )
        session.on("Runtime.bindingCalled", self._tell)
        session.on("Page.frameAttached", self._attached)
        session.on("Page.frameDetached", self._detached)

    def _tell(self, event: Json) -> None:
        if event.get("name") == "molmoTell":
            note = json.loads(event["payload"])
            self.told.append((note["document"], note["entry"]))

    def _attached(self, event: Json) -> None:
        self._frames.add(event["frameId"])

    def _detached(self, event: Json) -> None:
        self._frames.end(event["frameId"])
        for key in [key for key in self._contexts if key[1] == event["frameId"]]:
            del self._contexts[key]


def _parents(tree: Json) -> Iterator[tuple[str, str]]:
    for child in tree.get("childFrames", ()):
        yield child["frame"]["id"], tree["frame"]["id"]
        yield from _parents(child)
