"""Frames in closed shadow roots: the page's own tree does not list them, the browser's tree of frames does."""

from __future__ import annotations

from molmo_agents.browser.documents import WORLD, IsolatedWorld, WorldLost
from molmo_agents.drivers.steps import Steps
from molmo_agents.errors import PageGone
from molmo_agents.playwright_types import Json
from molmo_agents.session import Session

_ADD = """function () {
  const root = this.getRootNode();
  return root instanceof ShadowRoot && root.mode === "closed" ? molmo.addFrame(this) : null;
}"""


def add_closed_frames(
    s: Session, world: IsolatedWorld, seen: frozenset[str]
) -> Steps[list[tuple[int, Json]]]:
    """Add the frames in a document's closed shadow roots to those of its latest look.

    Args:
        s: The session.
        world: The document.
        seen: Frames that are known to be in it.

    Returns:
        For each frame added, its index in `molmo.frames` and where its content lies (`molmo.inside`).
    """
    added: list[tuple[int, Json]] = []
    for frame_id in s.worlds.within(world):
        if frame_id in seen or (world.frame_id, frame_id) in s.worlds.in_the_open:
            continue
        try:
            found = yield from _add(s, world, frame_id)
        except WorldLost:
            continue
        except PageGone:
            raise
        if found is None:
            s.worlds.in_the_open.add((world.frame_id, frame_id))
        elif found:
            added.append((int(found["index"]), found["inside"]))
    return added


def _add(s: Session, world: IsolatedWorld, frame_id: str) -> Steps[Json | None]:
    """Return where the frame lies; {} where it is not shown, None where it is in no closed root of this document."""
    try:
        owner = yield from s.worlds.send_into(world.session, "DOM.getFrameOwner", frameId=frame_id)
        remote = yield from s.worlds.send_into(
            world.session,
            "DOM.resolveNode",
            backendNodeId=owner["backendNodeId"],
            executionContextId=world.context,
            objectGroup=WORLD,
        )
    except WorldLost:
        # Another document's frame, or one that is gone.
        return None
    answer = yield from s.worlds.send_into(
        world.session,
        "Runtime.callFunctionOn",
        functionDeclaration=_ADD,
        objectId=remote["object"]["objectId"],
        returnByValue=True,
    )
    value: Json | None = answer["result"].get("value")
    return value
