"""The keys of a text: letter by letter under the eyes of the guard, or all at once into the element itself."""

from __future__ import annotations

from molmo_agents.browser.documents import IsolatedWorld
from molmo_agents.defaults import TYPING_TIMEOUT_S
from molmo_agents.drivers.steps import Steps, call
from molmo_agents.session import Session

SLOW_TYPING = 200
"""Texts up to this length are typed key by key, so that suggestions and formatting see every key; longer ones at once."""


def letter_by_letter(s: Session, world: IsolatedWorld, text: str) -> Steps[str]:
    """Type `text` where the focus is; return why the rest of it was not typed, or ""."""
    for letter in text:
        state = yield from s.worlds.ask(world, "typing")
        if state["strayed"] or not state["on"]:
            where = state["strayed"] or "elsewhere"
            return f"the page moved the focus away ({where}): the rest was not typed"
        yield from call(s.page.keyboard, "type", letter, timeout_s=TYPING_TIMEOUT_S)
    return ""


def at_once(s: Session, world: IsolatedWorld, text: str, clear: bool | None) -> Steps[str]:
    """Put `text` into the element itself: the focus cannot move to another frame between two letters of a secret.

    Args:
        s: The session.
        world: The field's document.
        text: What to put in.
        clear: Replace what the field holds, or add to its end; None: where its own selection is.
    """
    rest, whole = text, clear
    for _ in range(len(text) + 1):
        answer = yield from s.worlds.ask(world, "insert", rest, whole if rest == text else None)
        if answer["lost"]:
            return "the page moved the focus away"
        yield from s.worlds.run(world, "() => molmo.frames2(1)")
        state = yield from s.worlds.ask(world, "typing")
        now = yield from s.worlds.ask(world, "readField")
        held = str(now["held"])
        # One value in several boxes: the first took its part and handed the focus on.
        if not (state["on"] and now["split"] and held and text.startswith(held)):
            return ""
        rest = text[len(held) :]
        if not rest:
            return ""
    return ""
