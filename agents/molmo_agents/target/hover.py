"""Move the pointer to an element and wait until it stands still under it.

A fixed wait is not enough: on a busy machine an element that swaps its icon on hover, or slides in, is still on its way when
two frames have passed. The condition is the element itself, the same one as before, in the same place, for some frames.
"""

from __future__ import annotations

from molmo_agents.browser.documents import WorldLost
from molmo_agents.drivers.steps import Steps
from molmo_agents.outcome import Status
from molmo_agents.progress import VerbFailed
from molmo_agents.risk import calm, risks_of
from molmo_agents.session import Session
from molmo_agents.target import verdicts
from molmo_agents.target.confirmation import (
    Agreement,
    agreement,
    confirmed_identity,
    is_same_element,
)
from molmo_agents.target.targeting import AcquiredTarget, hit_at, with_hit


def hover_still(
    s: Session,
    target: AcquiredTarget,
    verb: str,
    expect_name: str | None = None,
    agreed: Agreement | None = None,
) -> Steps[AcquiredTarget | None]:
    """Move the pointer there and wait until the element stands still under it; None where it does not.

    What hovering made of it must be what was looked at: with the same words, the same address, the same form. Where somebody
    `agreed` to it, anything else halts the verb; nobody is asked twice about one press.
    """
    options = s.options
    try:
        if agreed is not None:
            yield from s.worlds.ask(target.resolved.leaf.world, "keep", True)
        yield from mouse(s, "mouseMoved", target.x, target.y)
        # From the inside out: a frame may move while its content stands still.
        for link in reversed(target.resolved.links):
            stable = yield from s.worlds.ask(
                link.world,
                "stable",
                link.x,
                link.y,
                options.stable_frames,
                options.stable_s * 1000,
                more_s=options.stable_s,
            )
            if not stable["stable"]:
                return None
        now = yield from hit_at(s, target.x, target.y, verb)
    except WorldLost:
        return None
    here = with_hit(target, now)
    if now.hit.nothing or not is_same_element(here):
        return None
    verdict = verdicts.check_actionable(now.hit, verb, expect_name)
    if verdict is not None:
        raise VerbFailed(*verdict)
    if agreed is not None and not agreed.holds_for((yield from agreement(s, here, agreed.risks))):
        raise VerbFailed(Status.UNSTABLE, changed_since(target, here))
    return here if says_the_same(target, here, verb) else None


def says_the_same(before: AcquiredTarget, now: AcquiredTarget, verb: str) -> bool:
    """Whether the element still is what was chosen, apart from numbers that count on by themselves."""
    old, new = confirmed_identity(before.hit.raw), confirmed_identity(now.hit.raw)
    if old == new:
        return True
    if calm(old) != calm(new):
        return False
    return risks_of(verb, now.hit.facts()) <= risks_of(verb, before.hit.facts())


def changed_since(before: AcquiredTarget, now: AcquiredTarget) -> str:
    """Say what an element that was agreed to has become."""
    was, became = (one.hit.raw["visible"] or one.hit.raw["name"] for one in (before, now))
    if was == became:
        return "what it sends, does or stands beside (its row, a price) is no longer what was agreed to: nothing was pressed"
    return f"it said {was[:160]!r} when it was agreed to, and now {became[:160]!r}: nothing was pressed"


def mouse(
    s: Session, kind: str, x: float, y: float, button: str = "none", count: int = 0
) -> Steps[None]:
    """Dispatch one trusted mouse event at (x, y), CSS px of the viewport."""
    held = {"left": 1, "right": 2, "middle": 4}.get(button, 0) if kind == "mousePressed" else 0
    yield from s.worlds.send(
        s.worlds.session,
        "Input.dispatchMouseEvent",
        type=kind,
        x=x,
        y=y,
        button=button,
        buttons=held,
        clickCount=count,
        pointerType="mouse",
    )
