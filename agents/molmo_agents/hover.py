"""Move the pointer to an element and wait until it stands still under it.

A fixed wait is not enough: on a busy machine an element that swaps its icon on hover, or slides in, is still on its way when
two frames have passed. The condition is the element itself, the same one as before, in the same place, for some frames.
"""

from __future__ import annotations

from molmo_agents import decide
from molmo_agents.aim import Aim, Halt, hit_at, moved_aim
from molmo_agents.permission import kept
from molmo_agents.session import Session
from molmo_agents.steps import Steps
from molmo_agents.worlds import WorldLost


def hover_still(
    s: Session, target: Aim, verb: str, expect_name: str | None = None
) -> Steps[Aim | None]:
    """Move the pointer there and wait until the element stands still under it; None where it does not."""
    options = s.options
    try:
        yield from s.worlds.ask(target.resolved.leaf.world, "keep")
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
        now = yield from hit_at(s, target.x, target.y)
    except WorldLost:
        return None
    here = moved_aim(target, now)
    if now.hit.nothing or not (yield from kept(s, here)):
        return None
    verdict = decide.guard(now.hit, verb, expect_name)
    if verdict is not None:
        raise Halt(*verdict)
    if any(now.hit.raw[key] != target.hit.raw[key] for key in ("name", "href", "url")):
        # Hovering made it something else; what was allowed a moment ago was another thing.
        return None
    return here


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
