"""Leaving a field that acts when it is left: inline cells, spin boxes, forms that check or save a field on blur."""

from __future__ import annotations

from collections.abc import Callable

from molmo_agents.browser.documents import IsolatedWorld, WorldLost
from molmo_agents.defaults import SECOND_READING_S
from molmo_agents.drivers.steps import Steps, pause
from molmo_agents.session import Session

LEAVING = frozenset(["blur", "focusout", "change"])

READS = 10
"""How often a field that was left is read again where it does not hold what it should, a twentieth of a second apart."""

_REACT = """function () {
  const notes = Object.keys(this).filter((key) => /^__react(Props|EventHandlers)\\$/.test(key));
  return notes.some((key) => this[key] && typeof this[key].onBlur === "function");
}"""
"""React listens at its root; what the field itself does is in its own notes. Runs in the page's world: it can only have a field
left."""


def leave(
    s: Session, world: IsolatedWorld, held: str, is_meant: Callable[[str], bool]
) -> Steps[tuple[str, bool] | None]:
    """Take the focus off a field that waits for that, and say what became of what was typed.

    Args:
        s: The session.
        world: The field's document.
        held: What the field holds.
        is_meant: Whether a field that holds this holds what was meant.

    Returns:
        What the field holds then, and whether it, or the page in its place, keeps what was meant; None where it was not left.
    """
    if not (yield from _acts_when_left(s, world)):
        return None
    # Suggestions may still come.
    yield from pause(s.page, SECOND_READING_S)
    if not (yield from _acts_when_left(s, world)):
        return None
    good = False
    try:
        yield from s.worlds.ask(world, "leaveField", held)
        for _ in range(READS):
            yield from pause(s.page, 0.05)
            now = yield from s.worlds.ask(world, "leftField")
            held = str(now["held"])
            good = bool(now["kept"]) or (bool(now["here"]) and is_meant(held))
            if good:
                break
    except WorldLost:
        # The page went on: what the field held then is what it took along.
        good = True
    return held, good


def _acts_when_left(s: Session, world: IsolatedWorld) -> Steps[bool]:
    """Whether the field listens for being left itself, and nothing on the page answered the typing."""
    if s.watch.record.requests or not (yield from s.worlds.ask(world, "mayLeave")):
        return False
    field = yield from s.worlds.page_object(world, "molmo.field()")
    if field is None:
        return False
    told = yield from s.worlds.send(world.session, "DOMDebugger.getEventListeners", objectId=field)
    if any(listener["type"] in LEAVING for listener in told["listeners"]):
        return True
    noted = yield from s.worlds.send(
        world.session,
        "Runtime.callFunctionOn",
        functionDeclaration=_REACT,
        objectId=field,
        returnByValue=True,
    )
    return bool(noted["result"].get("value"))
