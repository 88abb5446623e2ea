"""The verbs that move: drag from one place to another, scroll until something is in view."""

from __future__ import annotations

from molmo_agents.aim import (
    Aim,
    Halt,
    Progress,
    Query,
    aim,
    ask_model,
    css_points,
    hit_at,
    with_locator,
    words,
)
from molmo_agents.hover import hover_still
from molmo_agents.look import capture, look
from molmo_agents.outcome import Outcome, Result
from molmo_agents.permission import permit
from molmo_agents.press import guarded
from molmo_agents.session import Session
from molmo_agents.steps import Steps, call, pause
from molmo_point.points import Point

DRAG_STEPS = 12
SCROLL_SHARE = 0.8
"""Share of the viewport that one scroll moves: what was cut at the edge is whole in the next picture."""


def drag(s: Session, p: Progress, source: Query, goal: Query) -> Steps[Outcome]:
    """Drag one thing onto another; delivered means that the drag began on the first and ended at the second."""
    target = yield from aim(s, p, source, verb="drag")
    yield from with_locator(s, p, target)
    x, y = yield from _goal(s, p, target, goal)
    there = yield from hit_at(s, x, y)
    more = there.hit.facts().texts if not there.hit.nothing else ()
    # Where it is dropped decides what happens: a trash can is as risky as a delete button.
    again = yield from hit_at(s, target.x, target.y)
    target = Aim(target.frame, target.x, target.y, again.hit, again.resolved)
    yield from permit(s, p, target, "drag", words(goal), more)
    p.fields["points"] = ((target.x, target.y), (x, y))
    if s.policy.dry_run:
        return p.outcome(Result.READY, "dry run: nothing was dragged")
    with p.timed("hover"):
        still = yield from hover_still(s, target, "drag")
    if still is None:
        raise Halt(Result.UNSTABLE, "it did not stand still under the pointer")

    def gesture(s: Session, aimed: Aim) -> Steps[None]:
        pointer = s.page.mouse
        yield from call(pointer, "move", aimed.x, aimed.y)
        yield from call(pointer, "down")
        yield from call(pointer, "move", x, y, steps=DRAG_STEPS)
        yield from call(pointer, "up")

    report, effects = yield from guarded(s, p, still, gesture)
    p.fields["playwright"] = (
        f"page.mouse.move({target.x:.1f}, {target.y:.1f}); page.mouse.down(); "
        f"page.mouse.move({x:.1f}, {y:.1f}, steps={DRAG_STEPS}); page.mouse.up()"
    )
    began = not report.blocked and ("pointerdown" in report.log or "mousedown" in report.log)
    status = Result.DELIVERED if began else Result.MISSED
    message = "" if began else "the drag did not begin on the element"
    onto = Progress("locate", words(goal)).outcome(Result.FOUND, point=(x, y), points=((x, y),))
    return p.outcome(status, message, delivered=began, effects=effects, parts=(onto,))


def _goal(s: Session, p: Progress, target: Aim, goal: Query) -> Steps[tuple[float, float]]:
    if isinstance(goal, Point):
        return target.frame.to_css(goal.x, goal.y)
    frame = target.frame
    if target.zoomed:
        frame = yield from look(s)
    points = css_points(s, frame, (yield from ask_model(s, p, frame, goal)))
    if len(points) > 1:
        raise Halt(Result.AMBIGUOUS, f"{len(points)} places match {goal!r}: say which")
    return points[0][0], points[0][1]


def scroll_to(
    s: Session, p: Progress, query: Query, max_screens: int, at: Point | None
) -> Steps[Outcome]:
    """Scroll down, then up, until the model finds it; `at` says over which place to turn the wheel."""
    direction, turned = 1.0, False
    screens = 0
    while True:
        with p.timed("look"):
            frame = yield from look(s)
        p.fields["frame"] = frame
        p.attempts += 1
        pointing = yield from ask_model(s, p, frame, words(query))
        try:
            points = css_points(s, frame, pointing)
            return p.outcome(
                Result.FOUND,
                delivered=screens > 0,
                points=tuple((x, y) for x, y, _ in points),
                point=points[0][:2],
            )
        except Halt as halt:
            if halt.status is not Result.ABSENT:
                raise
        forbidden = s.forbids(p.verb)
        if forbidden is not None:
            raise Halt(*forbidden)
        if screens >= max_screens:
            raise Halt(Result.ABSENT, f"not found within {max_screens} screens")
        moved = yield from _wheel(s, direction, frame.viewport, at)
        screens += 1
        if not moved and turned:
            raise Halt(Result.ABSENT, "not found from one end of the page to the other")
        if not moved:
            direction, turned = -1.0, True


def _wheel(
    s: Session, direction: float, viewport: tuple[float, float], at: Point | None
) -> Steps[bool]:
    """Turn the wheel by most of a screen; wait until the picture rests; return whether it changed."""
    s.actions += 1
    x, y = (at.x * viewport[0], at.y * viewport[1]) if at else (viewport[0] / 2, viewport[1] / 2)
    before = yield from _view(s)
    yield from s.worlds.send(
        s.worlds.session,
        "Input.dispatchMouseEvent",
        type="mouseWheel",
        x=x,
        y=y,
        deltaX=0,
        deltaY=direction * SCROLL_SHARE * viewport[1],
    )
    last = before
    for turn in range(30):
        yield from pause(s.page, 0.05)
        now = yield from _view(s)
        # Scrolling begins some frames after the wheel turned: an early rest is no rest yet.
        if now == last and (now != before or turn > 4):
            break
        last = now
    return last != before


def _view(s: Session) -> Steps[tuple[int, bytes]]:
    """What scrolling changes: the count of scroll events (blank pages look alike everywhere) and the picture."""
    main = yield from s.worlds.main()
    state = yield from s.worlds.ask(main, "state")
    picture = yield from capture(s, state, None, 1.0)
    return int(state["scrolls"]), picture
