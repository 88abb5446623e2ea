"""Typing into an editor that draws its text itself and takes keys in a text area that nobody sees; judged by what it draws."""

from __future__ import annotations

import sys

from molmo_agents.browser.documents import IsolatedWorld
from molmo_agents.drivers.steps import Steps, call, pause
from molmo_agents.outcome import Outcome, Status
from molmo_agents.progress import OutcomeBuilder
from molmo_agents.session import Session
from molmo_agents.target.click import Guard, dispatch_guarded, led_away
from molmo_agents.target.targeting import AcquiredTarget
from molmo_agents.verbs.held import holds
from molmo_agents.verbs.keystrokes import SLOW_TYPING, at_once, letter_by_letter

MODIFIER = "Meta" if sys.platform == "darwin" else "Control"

READS = 10
"""How often an editor that does not show the text is read again, a twentieth of a second apart."""

PART = 200
"""Letters from which a part of the text is enough: a long text does not fit into the editor."""


def type_into_editor(
    s: Session, p: OutcomeBuilder, target: AcquiredTarget, text: str, clear: bool
) -> Steps[Outcome]:
    """Type where the editor's text area has the focus; delivered when the editor then shows the text.

    Args:
        s: The session.
        p: Of this verb.
        target: What was pressed in the editor; `molmo.enterEditor` said yes.
        text: What to type.
        clear: Replace all that is in the editor.
    """
    world = target.resolved.leaf.world
    before = "" if clear else str((yield from s.worlds.ask(world, "editorText")))
    stopped = ""

    def gesture(s: Session, aimed: AcquiredTarget) -> Steps[None]:
        nonlocal stopped
        keyboard = s.page.keyboard
        yield from call(keyboard, "press", f"{MODIFIER}+{'a' if clear else 'End'}")
        if clear:
            yield from call(keyboard, "press", "Delete")
        if "\n" in text or len(text) > SLOW_TYPING:
            stopped = yield from at_once(s, world, text, None)
        else:
            stopped = yield from letter_by_letter(s, world, text)

    report, effects = yield from dispatch_guarded(s, p, target, gesture, Guard(keys=True))
    refused = led_away(s, p, effects)
    if refused is not None:
        return refused
    if report.strayed and not stopped:
        stopped = f"keys went to {report.strayed}: they were stopped"
    shown, good = yield from _read(s, world, before + text, 1 if stopped else READS)
    if good and not stopped:
        return p.outcome(Status.DELIVERED, delivered=True, effects=effects)
    why = stopped or f"the editor does not show what was typed: it shows {shown[:80]!r}"
    return p.outcome(Status.MISSED, why, effects=effects)


def _read(s: Session, world: IsolatedWorld, meant: str, reads: int) -> Steps[tuple[str, bool]]:
    """Return what the editor shows, and whether that is what was meant."""
    shown = ""
    for _ in range(reads):
        shown = str((yield from s.worlds.ask(world, "editorText")))
        if holds(meant, shown) or _part(meant, shown):
            return shown, True
        yield from pause(s.page, 0.05)
    return shown, False


def _part(meant: str, shown: str) -> bool:
    seen, whole = "".join(shown.split()), "".join(meant.split())
    return len(seen) >= PART and seen in whole
