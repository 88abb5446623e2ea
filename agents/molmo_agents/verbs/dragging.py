"""The verb that drags one thing onto another, and looks where it is about to be dropped."""

from __future__ import annotations

from dataclasses import dataclass

from molmo_agents.browser.documents import FrameHop, WorldLost
from molmo_agents.drivers.steps import Steps, call, pause
from molmo_agents.outcome import Outcome, Status
from molmo_agents.playwright_types import Json
from molmo_agents.progress import OutcomeBuilder, Query, VerbFailed, describe_query
from molmo_agents.risk import Facts, risks_of
from molmo_agents.screen import Screenshot
from molmo_agents.session import Session
from molmo_agents.target import verdicts
from molmo_agents.target.asking import ask_model, css_points
from molmo_agents.target.click import Guard, dispatch_guarded, led_away
from molmo_agents.target.confirmation import Agreement, confirm_risk
from molmo_agents.target.cover import hidden_by
from molmo_agents.target.hover import hover_still
from molmo_agents.target.screenshot import take_screenshot, wait_until_still
from molmo_agents.target.targeting import (
    AcquiredTarget,
    Found,
    acquire_target,
    hit_at,
    still_true,
    with_hit,
    with_locator,
)
from molmo_point.points import Point

DRAG_STEPS = 12
NUDGE = 4
"""How far the pointer is moved to find out what follows it, CSS px."""

RESTS = 20
"""How often what was dragged is asked whether it has come to rest, a twentieth of a second apart."""

FOLLOWS = 4
"""How often the pointer goes after a goal that moves once the drag has begun."""


@dataclass
class _Drop:
    """What is known of the place where it ends: the goal's element, what it said at first, and what the end was like."""

    found: Found
    x: float
    y: float
    says: tuple[str, ...] = ()
    refused: str = ""

    @property
    def link(self) -> FrameHop:
        return self.found.resolved.leaf


def drag(s: Session, p: OutcomeBuilder, source: Query, goal: Query) -> Steps[Outcome]:
    """Drag one thing onto another.

    Delivered means that it began on the first and that the second got the drop: where the page drags by the browser's own
    drag and drop, the drop event; where it follows the pointer by itself, the release over that very element. Before the
    release the goal is looked at again: where something else lies there by then, the drag is called off.
    """
    target, drop = yield from _both(s, p, source, goal)
    # Where it is dropped decides what happens: a trash can is as risky as a delete button.
    more = (*drop.found.hit.facts().texts, *drop.says) if not drop.found.hit.nothing else ()
    asked = yield from confirm_risk(s, p, target, "drag", describe_query(goal), more)
    if asked is not None and (yield from _goal_says(s, drop.link)) != drop.says:
        raise VerbFailed(
            Status.UNSTABLE, "the goal changed while it was asked about: nothing was dragged"
        )
    p.fields["points"] = ((target.x, target.y), (drop.x, drop.y))
    p.fields["playwright"] = (
        f"page.mouse.move({target.x:.1f}, {target.y:.1f}); page.mouse.down(); "
        f"page.mouse.move({drop.x:.1f}, {drop.y:.1f}, steps={DRAG_STEPS}); page.mouse.up()"
    )
    if s.policy.dry_run:
        return p.outcome(Status.READY, "dry run: nothing was dragged")
    with p.timed("hover"):
        still = yield from hover_still(s, target, "drag", None, asked)
    if still is None:
        raise VerbFailed(Status.UNSTABLE, "it did not stand still under the pointer")

    def gesture(s: Session, aimed: AcquiredTarget) -> Steps[None]:
        yield from s.worlds.ask(aimed.resolved.leaf.world, "drags")
        yield from call(s.page.mouse, "move", aimed.x, aimed.y)
        yield from call(s.page.mouse, "down")
        yield from call(s.page.mouse, "move", drop.x, drop.y, steps=DRAG_STEPS)
        yield from _find_goal(s, aimed, drop)
        yield from _check_meaning(s, drop, asked)
        if drop.refused:
            yield from _call_off(s, aimed)
        else:
            yield from call(s.page.mouse, "up")

    guard = Guard(agreed=asked, goal=drop.link.world)
    report, effects = yield from dispatch_guarded(s, p, still, gesture, guard)
    p.fields["points"] = ((target.x, target.y), (drop.x, drop.y))
    refused = led_away(s, p, effects)
    if refused is not None:
        return refused
    message = drop.refused or _missing(report)
    if not message and not _native(report) and not (effects.requests or effects.navigated):
        message = yield from _nothing_came(s, still)
    status = Status.MISSED if message else Status.DELIVERED
    onto = OutcomeBuilder("locate", describe_query(goal)).outcome(
        Status.FOUND, point=(drop.x, drop.y), points=((drop.x, drop.y),)
    )
    return p.outcome(status, message, delivered=not message, effects=effects, parts=(onto,))


def _missing(report: verdicts.EventReport) -> str:
    """What the events say that did not happen, or ""."""
    if report.blocked or not ("pointerdown" in report.log or "mousedown" in report.log):
        return "the drag did not begin on the element"
    if _native(report) and not report.lost and "drop@goal" not in report.log:
        return "the goal took no drop"
    return ""


def _native(report: verdicts.EventReport) -> bool:
    """Whether the browser's own drag and drop took place."""
    return "dragstart" in report.log and "dragstart-prevented" not in report.log


def _nothing_came(s: Session, target: AcquiredTarget) -> Steps[str]:
    """Say that a drag by the page's own means did nothing, once what was dragged has come to rest; or ""."""
    world = target.resolved.leaf.world
    try:
        came = yield from s.worlds.ask(world, "cameOf")
        for _ in range(RESTS):
            yield from pause(s.page, 0.05)
            last, came = came, (yield from s.worlds.ask(world, "cameOf"))
            if last == came:
                break
    except WorldLost:
        return ""
    if not came["followed"]:
        return "nothing followed the pointer: it cannot be dragged"
    return "it is back where it began, and the page shows what it showed" if came["back"] else ""


def _both(
    s: Session, p: OutcomeBuilder, source: Query, goal: Query
) -> Steps[tuple[AcquiredTarget, _Drop]]:
    """Find both places, and look again until both are where they were when the model saw them."""
    while True:
        target = yield from acquire_target(s, p, source, verb="drag")
        yield from with_locator(s, p, target)
        screenshot, x, y = yield from _goal(s, p, target, goal)
        there = yield from hit_at(s, x, y)
        true = isinstance(goal, Point) or (yield from still_true(s, p, screenshot, x, y, there))
        if true and not there.hit.nothing:
            hidden = yield from hidden_by(s, there.hit, there.resolved, x, y)
            if hidden is not None:
                raise VerbFailed(*hidden)
            yield from s.worlds.ask(
                there.resolved.leaf.world, "aimGoal", there.resolved.leaf.x, there.resolved.leaf.y
            )
            says = yield from _goal_says(s, there.resolved.leaf)
            again = yield from hit_at(s, target.x, target.y)
            if again.hit.raw.get("meaning") == target.hit.raw["meaning"]:
                return with_hit(target, again), _Drop(there, x, y, says)
        if there.hit.nothing and true:
            raise VerbFailed(Status.NO_ACTIONABLE, "there is nothing at the goal")
        if p.attempts >= s.options.attempts:
            raise VerbFailed(Status.UNSTABLE, "the page kept changing while the model was looking")
        yield from wait_until_still(s, s.options.stable_s)


def _goal(
    s: Session, p: OutcomeBuilder, target: AcquiredTarget, goal: Query
) -> Steps[tuple[Screenshot, float, float]]:
    screenshot: Screenshot = target.screenshot
    if isinstance(goal, Point):
        return screenshot, *screenshot.to_css(goal.x, goal.y)
    if target.zoomed:
        screenshot = yield from take_screenshot(s)
    points = css_points(s, screenshot, (yield from ask_model(s, p, screenshot, goal)))
    if len(points) > 1:
        raise VerbFailed(Status.AMBIGUOUS, f"{len(points)} places match {goal!r}: say which")
    return screenshot, points[0][0], points[0][1]


def _find_goal(s: Session, aimed: AcquiredTarget, drop: _Drop) -> Steps[None]:
    """Go after a goal that moves while something is dragged; note what lies over it, or that it is gone."""
    same = drop.link.world == aimed.resolved.leaf.world
    for _ in range(FOLLOWS):
        # What makes room for the drop, or appears to catch it, does so in the next frames.
        yield from pause(s.page, 0.05)
        try:
            now: Json = yield from s.worlds.ask(drop.link.world, "goalNow", same, 0)
        except WorldLost:
            now = {"gone": True}
        if now.get("gone"):
            drop.refused = "the goal went away while it was dragged: it was not dropped"
            return
        x = drop.link.left + now["x"] * drop.link.sx
        y = drop.link.top + now["y"] * drop.link.sy
        moved = abs(x - drop.x) > 1 or abs(y - drop.y) > 1
        drop.x, drop.y = x, y
        if not moved:
            if not now["on"] and not (yield from _only_carried(s, drop, same)):
                drop.refused = f"{now['other']} lies over the goal: it was not dropped"
            return
        yield from call(s.page.mouse, "move", x, y, steps=3)
    drop.refused = "the goal kept moving while it was dragged: it was not dropped"


def _goal_says(s: Session, link: FrameHop) -> Steps[tuple[str, ...]]:
    try:
        return tuple((yield from s.worlds.ask(link.world, "goalSays")))
    except WorldLost:
        return ()


def _check_meaning(s: Session, drop: _Drop, agreed: Agreement | None) -> Steps[None]:
    """Refuse the drop where the goal has become another thing: one that nobody agreed to, or a risky one."""
    if drop.refused:
        return
    now = yield from _goal_says(s, drop.link)
    if now == drop.says:
        return
    if agreed is not None:
        drop.refused = "the goal says something else than was agreed to: it was not dropped"
        return
    before, after = (risks_of("drag", Facts(texts=texts)) for texts in (drop.says, now))
    if after - before:
        listed = ", ".join(sorted(after - before))
        drop.refused = f"the goal may {listed} by now, which nobody agreed to: it was not dropped"


def _only_carried(s: Session, drop: _Drop, same: bool) -> Steps[bool]:
    """Whether all that lies over the goal is carried by the pointer: it moves along with it."""
    yield from call(s.page.mouse, "move", drop.x + NUDGE, drop.y)
    yield from pause(s.page, 0.05)
    now = yield from s.worlds.ask(drop.link.world, "goalNow", same, NUDGE / drop.link.sx)
    yield from call(s.page.mouse, "move", drop.x, drop.y)
    return bool(now.get("on"))


def _call_off(s: Session, aimed: AcquiredTarget) -> Steps[None]:
    """End a drag without a drop: Escape ends the browser's own, and most pages' own; then let go where it began."""
    yield from call(s.page.keyboard, "press", "Escape")
    yield from call(s.page.mouse, "move", aimed.x, aimed.y)
    yield from call(s.page.mouse, "up")
