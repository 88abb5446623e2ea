"""The verb for keys without text: Escape, Tab, arrows; and Enter or Space, which press what has the focus."""

from __future__ import annotations

from molmo_agents.browser.documents import IsolatedWorld
from molmo_agents.defaults import KEY_SETTLES_S
from molmo_agents.drivers.steps import Steps, call, pause
from molmo_agents.outcome import Effects, Outcome, Status
from molmo_agents.progress import OutcomeBuilder, VerbFailed
from molmo_agents.screen import Box, Screenshot
from molmo_agents.session import Session
from molmo_agents.target.click import Guard, dispatch_guarded
from molmo_agents.target.confirmation import check_address, confirm_risk
from molmo_agents.target.screenshot import take_screenshot
from molmo_agents.target.targeting import AcquiredTarget, Found, hit_at

PRESSING = frozenset(["Enter", "Space", "Control+Enter"])
"""Keys that press what has the focus: judged as a press of it."""

MOVING = frozenset(
    [
        "Escape",
        "Tab",
        "Shift+Tab",
        "ArrowUp",
        "ArrowDown",
        "ArrowLeft",
        "ArrowRight",
        "Home",
        "End",
        "PageUp",
        "PageDown",
    ]
)
DELETING = frozenset(["Backspace", "Delete"])
"""Keys that erase in a text field. Anywhere else pages delete by them what is chosen (a mail, a file): a risky press of it."""

KEYS = PRESSING | MOVING | DELETING | frozenset(["Control+A"])
"""The keys there are. Letters are no keys but text: on some pages one of them deletes."""

FOCUSED = """() => {
  let e = document.activeElement;
  while (e && e.shadowRoot && e.shadowRoot.activeElement) e = e.shadowRoot.activeElement;
  molmo.focused = e;
  if (!e || e === document.body || e === document.documentElement) return null;
  const frame = e.localName === "iframe" || e.localName === "frame";
  const r = e.getBoundingClientRect();
  return frame ? { frame, ...molmo.inside(e, 0, 0) } : { frame, x: r.left, y: r.top, width: r.width, height: r.height };
}"""

IN_FIELD = """() => {
  const e = molmo.activeNow();
  const editor = Boolean(e) && e.isContentEditable === true;
  return editor || document.designMode === "on" || (Boolean(e) && ["input", "textarea"].includes(e.localName));
}"""

SAME = """() => {
  const hit = molmo.target, f = molmo.focused;
  return Boolean(hit) && (hit === f || hit.control === f || f.contains(hit));
}"""


def press_key(s: Session, p: OutcomeBuilder, key: str) -> Steps[Outcome]:
    """Press one of `KEYS`."""
    focused: AcquiredTarget | None = None
    if key in PRESSING or (key in DELETING and not (yield from _in_field(s))):
        focused = yield from _focused(s)
        if focused is None:
            raise VerbFailed(
                Status.NO_ACTIONABLE, f"{key} acts on what has the focus: nothing has it"
            )
        check_address(s, focused)
        text = focused.hit.raw["editable"] or focused.hit.raw["control_tag"] in (
            "input",
            "textarea",
        )
        p.fields.update(point=(focused.x, focused.y), target=focused.hit.target())
        more = ("delete",) if key in DELETING else ()
        verb = "submit" if text and key != "Space" else "click"
        yield from confirm_risk(s, p, focused, verb, key if more else "", more)
    if s.policy.dry_run:
        return p.outcome(Status.READY, "dry run: no key was pressed")

    def gesture(s: Session, _: AcquiredTarget) -> Steps[None]:
        yield from call(s.page.keyboard, "press", key)

    p.fields["playwright"] = f"page.keyboard.press({key!r})"
    if focused is not None:
        report, effects = yield from dispatch_guarded(s, p, focused, gesture, Guard(keys=True))
        done = report.lost or effects.navigated or "keydown" in report.log
    else:
        effects, done = (yield from _unaimed(s, key)), True
    if s.watch.record.blocked_pages:
        refused = s.watch.record.blocked_pages[0][:200]
        message = f"it led to {refused}, which the policy does not allow"
        return p.outcome(Status.BLOCKED_ORIGIN, message, delivered=done, effects=effects)
    status = Status.DELIVERED if done else Status.MISSED
    message = "" if done else "what has the focus did not get the key"
    return p.outcome(status, message, delivered=done, effects=effects)


def _in_field(s: Session) -> Steps[bool]:
    """Whether a text field has the focus, in whatever frame."""
    world: IsolatedWorld | None = yield from s.worlds.main()
    while world is not None:
        if (yield from s.worlds.run(world, IN_FIELD)):
            return True
        place = yield from s.worlds.run(world, FOCUSED)
        if place is None or not place["frame"]:
            return False
        world = yield from s.worlds.child(world, "molmo.focused")
    return False


def _unaimed(s: Session, key: str) -> Steps[Effects]:
    """Press a key that moves focus, caret or page, and say what came of it."""
    s.shared.actions += 1
    record = s.watch.begin()
    url = s.page.url
    yield from call(s.page.keyboard, "press", key)
    yield from pause(s.page, KEY_SETTLES_S)
    return Effects(
        navigated=bool(record.navigations) or url != s.page.url,
        url=s.page.url,
        dialogs=tuple(record.dialogs),
        popups=tuple(record.popups),
        blocked=tuple(record.blocked),
        requests=record.requests,
    )


def _focused(s: Session) -> Steps[AcquiredTarget | None]:
    """Aim at what has the focus, in whatever frame; None where nothing has it, or it cannot be seen."""
    screenshot = yield from take_screenshot(s)
    world: IsolatedWorld | None = yield from s.worlds.main()
    left, top, sx, sy = 0.0, 0.0, 1.0, 1.0
    while world is not None:
        place = yield from s.worlds.run(world, FOCUSED)
        if place is None:
            return None
        if not place["frame"]:
            x = left + (place["x"] + place["width"] / 2) * sx
            y = top + (place["y"] + place["height"] / 2) * sy
            return (yield from _aimed(s, world, x, y, screenshot))
        left, top = left + place["left"] * sx, top + place["top"] * sy
        sx, sy = sx * place["sx"], sy * place["sy"]
        world = yield from s.worlds.child(world, "molmo.focused")
    return None


def _aimed(
    s: Session, world: IsolatedWorld, x: float, y: float, screenshot: Screenshot
) -> Steps[AcquiredTarget | None]:
    """Aim at (x, y), CSS px of the viewport, if the element with the focus lies there."""
    if not Box(0, 0, *screenshot.viewport).contains(x, y):
        return None
    found: Found = yield from hit_at(s, x, y)
    if found.hit.nothing:
        return None
    same = yield from s.worlds.run(world, SAME)
    return AcquiredTarget(screenshot, x, y, found.hit, found.resolved) if same else None
