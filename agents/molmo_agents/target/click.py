"""The press: hover, wait for a still element, let only the right events through, settle, say what came of it.

A press is repeated only where it is certain that the page saw nothing of it. It is never repeated because nothing visible
happened: healthy buttons without visible effect exist, and a second press is a second order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from molmo_agents.browser.documents import FrameHop, IsolatedWorld, WorldLost
from molmo_agents.defaults import FRAMES_TIMEOUT_S
from molmo_agents.drivers.steps import Steps
from molmo_agents.errors import PageGone
from molmo_agents.lines import Place
from molmo_agents.outcome import Effects, Outcome, Status
from molmo_agents.playwright_types import Json
from molmo_agents.progress import OutcomeBuilder, Query, VerbFailed
from molmo_agents.screen import Box
from molmo_agents.session import Session
from molmo_agents.target import verdicts
from molmo_agents.target.confirmation import (
    Agreement,
    agreement,
    called,
    check_address,
    confirm_risk,
    confirmed_identity,
    is_same_element,
)
from molmo_agents.target.hover import hover_still, mouse
from molmo_agents.target.screenshot import capture, changed_share
from molmo_agents.target.settle import settle, stop_loading
from molmo_agents.target.targeting import AcquiredTarget, acquire_target, with_locator
from molmo_agents.target.verdicts import EventReport

Gesture = Callable[[Session, AcquiredTarget], Steps[None]]

_FINAL = {
    ("left", 1): "click",
    ("left", 2): "dblclick",
    ("right", 1): "contextmenu",
    ("middle", 1): "auxclick",
}


@dataclass(frozen=True)
class ClickOptions:
    """What kind of press.

    Attributes:
        verb: For the policy and the risk rules.
        button: left, right or middle.
        count: 1, or 2 for a double click.
        expect_name: What the caller expects the element to be called.
        region: Look only at this part of the viewport, CSS px.
        held: Number of the element held on to earlier that this must be (`molmo.hold`), for several from one screenshot.
    """

    verb: str = "click"
    button: str = "left"
    count: int = 1
    expect_name: str | None = None
    region: Box | None = None
    held: int | None = None

    @property
    def final(self) -> str:
        """The event that says it was delivered."""
        return _FINAL[(self.button, self.count)]

    def line(self, place: Place) -> str:
        """The line of Playwright that does the same."""
        return place.click(self.button, self.count)


def press(s: Session, p: OutcomeBuilder, query: Query, how: ClickOptions) -> Steps[Outcome]:
    """Aim, ask for permission where it is risky, hover, press once, and report."""
    agreed: Agreement | None = None
    while True:
        target = yield from acquire_target(
            s, p, query, verb=how.verb, expect_name=how.expect_name, region=how.region
        )
        yield from with_locator(s, p, target)
        yield from _same_held(s, how)
        check_address(s, target)
        p.fields["playwright"] = how.line(p.place)
        if agreed is not None and not agreed.holds_for(
            (yield from agreement(s, target, agreed.risks))
        ):
            raise VerbFailed(
                Status.UNSTABLE,
                f"what was agreed to is now {called(target.hit.raw)[:160]!r}: nothing was pressed",
            )
        if agreed is None or not is_same_element(target):
            agreed = yield from confirm_risk(s, p, target, how.verb)
        if s.policy.dry_run:
            return p.outcome(Status.READY, "dry run: every check passed, nothing was pressed")
        with p.timed("hover"):
            still = yield from hover_still(s, target, how.verb, how.expect_name, agreed)
        if still is None:
            if p.attempts < s.options.attempts:
                continue
            raise VerbFailed(Status.UNSTABLE, "the element did not stand still under the pointer")
        outcome, again = yield from _press_once(s, p, still, how, agreed)
        if not again or p.attempts >= s.options.attempts:
            return outcome


def _same_held(s: Session, how: ClickOptions) -> Steps[None]:
    if how.held is None:
        return
    main = yield from s.worlds.main(known=True)
    if not (yield from s.worlds.ask(main, "isHeld", how.held)):
        raise VerbFailed(
            Status.UNSTABLE, "another element lies where this one was in the screenshot"
        )


def _press_once(
    s: Session,
    p: OutcomeBuilder,
    target: AcquiredTarget,
    how: ClickOptions,
    agreed: Agreement | None,
) -> Steps[tuple[Outcome, bool]]:
    """Press at the model's own pixel; return the outcome and whether it is safe to try again."""

    def gesture(s: Session, target: AcquiredTarget) -> Steps[None]:
        for count in range(1, how.count + 1):
            yield from mouse(s, "mousePressed", target.x, target.y, how.button, count)
            yield from mouse(s, "mouseReleased", target.x, target.y, how.button, count)

    report, effects = yield from dispatch_guarded(s, p, target, gesture, Guard(agreed=agreed))
    done = verdicts.delivered(report, how.final)
    fields = {"delivered": done, "effects": effects}
    refused = led_away(s, p, effects, done)
    if refused is not None:
        return refused, False
    if done:
        return p.outcome(Status.DELIVERED, unanswered(s), **fields), False
    again = verdicts.provably_undelivered(report) and not effects.any and agreed is None
    other = f": {report.other} was there instead" if report.other else ""
    if report.redrawn:
        other = ": the page redrew it between pressing and releasing"
    return p.outcome(Status.MISSED, f"the element did not get the press{other}", **fields), again


def led_away(s: Session, p: OutcomeBuilder, effects: Effects, done: bool = True) -> Outcome | None:
    """Return the outcome of an action that led where the policy does not allow, whatever verb it was; or None."""
    refused = s.watch.record.blocked_pages
    if not refused:
        return None
    return p.outcome(
        Status.BLOCKED_ORIGIN,
        f"it led to {refused[0][:200]}, which the policy does not allow: stopped there",
        delivered=done,
        effects=effects,
    )


def unanswered(s: Session) -> str:
    """Say that the address a press led to never answered, or ""."""
    if not s.watch.record.stopped:
        return ""
    return "the address it leads to did not answer: loading it was stopped"


@dataclass(frozen=True)
class Guard:
    """What the listeners around a gesture let through.

    Attributes:
        keys: Keys go to the field and where it hands them on by itself; presses are only watched, since Enter in a field makes
            the browser click the form's button. Otherwise a press must begin on the element.
        agreed: The element must match exactly what was agreed to.
        goal: The document in which a drag ends, with `molmo.goal` set.
    """

    keys: bool = False
    agreed: Agreement | None = None
    goal: IsolatedWorld | None = None


def dispatch_guarded(
    s: Session, p: OutcomeBuilder, target: AcquiredTarget, gesture: Gesture, guard: Guard = Guard()
) -> Steps[tuple[EventReport, Effects]]:
    """Run `gesture` between listeners that stop unintended events; wait for its effects and return what was seen."""
    s.shared.actions += 1
    record = s.watch.begin()
    s.worlds.told.clear()
    leaf = target.resolved.leaf
    with p.timed("press"):
        before = yield from _screenshot(s)
        document = yield from _arm(s, target, guard)
        url = s.page.url
        try:
            yield from gesture(s, target)
        except Exception:
            # A press may close or replace the very page it went to: what was told before says whether it arrived.
            if not s.worlds.told and not record.navigations:
                raise
    with p.timed("settle"):
        settled = yield from settle(s, leaf, download=bool(target.hit.raw.get("download")))
        report, seen = yield from _collect(s, target, document)
        after = yield from _screenshot(s)
    effects = Effects(
        navigated=bool(record.navigations) or report.lost or url != s.page.url,
        url=s.page.url,
        mutations=max(0, int(seen.get("mutations", 0))),
        dialogs=tuple(record.dialogs),
        popups=tuple(record.popups),
        downloads=tuple(record.downloads),
        blocked=tuple(record.blocked),
        focus=str(seen.get("focus", "")),
        value=seen.get("value"),
        scrolled=bool(seen.get("scrolled")),
        pixels=changed_share(before, after) if before and after else None,
        requests=record.requests,
        removed=report.removed,
        settled=settled and not record.stopped,
    )
    return report, effects


def _arm(s: Session, target: AcquiredTarget, guard: Guard) -> Steps[str]:
    """Set the listeners in every document on the way; return the identity of the innermost one."""
    *outer, leaf = target.resolved.links
    how: Json = {"keys": guard.keys}
    for link in outer:
        yield from s.worlds.run(link.world, "(how) => molmo.arm(null, how)", how)
    if guard.goal is not None and guard.goal != leaf.world:
        ends = {**how, "goal": True, "end": True}
        yield from s.worlds.run(guard.goal, "(how) => molmo.arm(null, how)", ends)
    how["goal"] = guard.goal == leaf.world
    if not guard.keys and target.hit.raw["kind"]:
        how |= {"meaning": confirmed_identity(target.hit.raw), "kind": target.hit.raw["kind"]}
        if guard.agreed is not None:
            how["terms"] = {
                "sends": guard.agreed.sends,
                "prices": guard.agreed.prices,
                "acts": sorted(guard.agreed.acts),
            }
    armed = yield from s.worlds.run(leaf.world, "(how) => molmo.arm(molmo.target, how)", how)
    return str(armed["document"])


def _screenshot(s: Session) -> Steps[bytes]:
    if not s.options.pixels:
        return b""
    try:
        return (yield from capture(s, {}, None, 1.0))
    except Exception:
        return b""


def _collected(s: Session, leaf: FrameHop) -> Steps[Json]:
    """Ask what the listeners saw; a navigation to a server that does not answer is stopped first."""
    try:
        less = min(0.0, FRAMES_TIMEOUT_S - s.options.answer_s)
        return dict(
            (yield from s.worlds.run(leaf.world, "() => molmo.collect(true)", more_s=less))
        )
    except WorldLost:
        raise
    except PageGone:
        if s.watch.leaving:
            yield from stop_loading(s)
        return dict((yield from s.worlds.ask(leaf.world, "collect", True)))


def _collect(s: Session, target: AcquiredTarget, document: str) -> Steps[tuple[EventReport, Json]]:
    """Gather what the listeners in the element's document and in those around it saw."""
    leaf = target.resolved.leaf
    told = tuple(entry for where, entry in s.worlds.told if where == document)
    try:
        seen = yield from _collected(s, leaf)
    except Exception:
        return EventReport(log=told, lost=True), {}
    if seen["document"] != document or not seen["armed"]:
        return EventReport(log=told, lost=True), {}
    blocked, early, other = seen["blocked"], seen["early"], seen["other"]
    for link in target.resolved.links[:-1]:
        try:
            around = yield from s.worlds.ask(link.world, "collect", True)
        except Exception:
            continue
        if around["blocked"]:
            blocked, other = True, around["other"]
        early = early and around["early"]
        seen["mutations"] += around["mutations"]
    return EventReport(
        log=tuple(seen["log"]) or told,
        blocked=blocked,
        early=early,
        removed=seen["removed"],
        redrawn=seen["redrawn"],
        other=other,
        strayed=seen["strayed"],
    ), seen
