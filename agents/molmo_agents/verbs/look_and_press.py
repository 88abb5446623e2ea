"""The verbs that look and press. Each is a generator of steps that returns an `Outcome`; `perform` runs any of them.

Page behaviour never raises out of `perform`; what a caller got wrong (an empty query, a closed pointer) does.
"""

from __future__ import annotations

import time
from dataclasses import replace

from molmo_agents.drivers.steps import Steps, pause
from molmo_agents.errors import PageGone
from molmo_agents.outcome import Outcome, Status
from molmo_agents.progress import OutcomeBuilder, Query, VerbFailed, describe_query
from molmo_agents.screen import Box
from molmo_agents.session import Session
from molmo_agents.target.asking import ask_model, css_points, look
from molmo_agents.target.click import ClickOptions, press
from molmo_agents.target.hover import hover_still
from molmo_agents.target.screenshot import take_screenshot
from molmo_agents.target.settle import stop_loading
from molmo_agents.target.targeting import acquire_target, hit_at, with_locator
from molmo_agents.verbs.expect import Expect, expected
from molmo_point.errors import UsageError
from molmo_point.points import Point


def perform(
    s: Session, verb: str, query: str, steps: Steps[Outcome], p: OutcomeBuilder
) -> Steps[Outcome]:
    """Run one verb to its outcome: budgets before, expectations and journal after, failures of the page as statuses."""
    start = time.perf_counter()
    try:
        outcome = yield from _guarded_run(s, verb, steps, p)
    finally:
        steps.close()
    p.timings["total"] = time.perf_counter() - start
    outcome = s.masker.outcome(outcome.with_(timings=dict(p.timings)))
    return s.journal.write(outcome) if s.journal is not None else outcome


def _guarded_run(
    s: Session, verb: str, steps: Steps[Outcome], p: OutcomeBuilder
) -> Steps[Outcome]:
    try:
        if s.watch.crashed:
            raise PageGone("the page crashed")
        yield from s.open()
        forbidden = s.forbids(verb)
        if forbidden is not None:
            return p.outcome(*forbidden)
        if s.watch.leaving and verb != "goto":
            yield from stop_loading(s)
        return (yield from steps)
    except VerbFailed as halt:
        return p.outcome(halt.status, halt.message, **halt.fields)
    except UsageError:
        raise
    except PageGone as gone:
        return p.outcome(Status.ERROR, _why(s, gone))
    except Exception as error:
        # Playwright's errors are about the page; anything else is a mistake of ours and must be seen.
        if not type(error).__module__.startswith("playwright"):
            raise
        return p.outcome(Status.ERROR, _why(s, error))


def _why(s: Session, error: Exception) -> str:
    if s.watch.crashed or "crashed" in str(error).lower():
        return "the page crashed: open a new page and make a new pointer for it"
    if s.page.is_closed():
        return "the page was closed: open a new page and make a new pointer for it"
    return f"the page could not be driven: {str(error)[:300]}"


def look_verb(s: Session, p: OutcomeBuilder, region: Box | None, scale: float) -> Steps[Outcome]:
    """Take a screenshot; it is in `outcome.screenshot`."""
    yield from look(s, p, region, scale)
    return p.outcome(Status.FOUND)


def locate(
    s: Session, p: OutcomeBuilder, query: Query, many: bool, region: Box | None
) -> Steps[Outcome]:
    """Say where it is and what lies there; press nothing."""
    if not many:
        target = yield from acquire_target(s, p, query, verb="locate", region=region)
        yield from with_locator(s, p, target)
        return p.outcome(Status.FOUND, points=((target.x, target.y),))
    screenshot = yield from look(s, p, region)
    pointing = yield from ask_model(s, p, screenshot, describe_query(query))
    points = css_points(s, screenshot, pointing, sure=False)
    return p.outcome(Status.FOUND, points=tuple((x, y) for x, y, _ in points), count=len(points))


def click(
    s: Session, p: OutcomeBuilder, query: Query, how: ClickOptions, expect: Expect | None
) -> Steps[Outcome]:
    """Press what the query describes."""
    outcome = yield from press(s, p, query, how)
    return (yield from expected(s, p, outcome, expect))


def click_all(
    s: Session,
    p: OutcomeBuilder,
    query: Query,
    how: ClickOptions,
    expect: Expect | None,
    fixed: bool,
) -> Steps[Outcome]:
    """Press every place that matches, all from one screenshot, in the order of the answer; stop at the first that fails.

    Later points are not asked for again: what they show may be gone after the first press. So the elements are held on to
    when the screenshot is taken, and each is pressed where it is by then, never whatever has taken its place. With `fixed` the
    places count instead, whatever is drawn there by then.
    """
    screenshot = yield from look(s, p, how.region)
    points = css_points(
        s, screenshot, (yield from ask_model(s, p, screenshot, describe_query(query)))
    )
    main = yield from s.worlds.main()
    yield from s.worlds.ask(main, "holdNone")
    for x, y, _ in points:
        yield from hit_at(s, x, y)
        yield from s.worlds.ask(main, "hold", x, y)
    parts: list[Outcome] = []
    for index in range(len(points)):
        forbidden = s.forbids(p.verb)
        part = OutcomeBuilder("click", f"{describe_query(query)} [{index + 1}]")
        try:
            if forbidden is not None:
                raise VerbFailed(*forbidden)
            if fixed:
                x, y, _ = points[index]
                place = Point(x=x / screenshot.viewport[0], y=y / screenshot.viewport[1])
                done = yield from press(s, part, place, replace(how, region=None))
            else:
                done = yield from _click_held(s, part, index, screenshot.viewport, how)
        except VerbFailed as halt:
            done = part.outcome(halt.status, halt.message, **halt.fields)
        parts.append(done)
        if not done.ok:
            break
    last = parts[-1]
    outcome = p.outcome(
        last.status,
        last.message,
        points=tuple((x, y) for x, y, _ in points),
        count=sum(part.ok for part in parts),
        parts=tuple(parts),
        delivered=all(part.delivered for part in parts),
        effects=last.effects,
        target=last.target,
        playwright="; ".join(part.playwright for part in parts if part.playwright),
    )
    return (yield from expected(s, p, outcome, expect))


def _click_held(
    s: Session, part: OutcomeBuilder, index: int, viewport: tuple[float, float], how: ClickOptions
) -> Steps[Outcome]:
    main = yield from s.worlds.main()
    place = yield from s.worlds.ask(main, "heldAt", index)
    if place is None:
        raise VerbFailed(Status.ABSENT, "the element is no longer in the page")
    x, y = place["x"] / viewport[0], place["y"] / viewport[1]
    if not (0 <= x < 1 and 0 <= y < 1):
        raise VerbFailed(Status.ABSENT, "the element has left the viewport")
    return (yield from press(s, part, Point(x=x, y=y), replace(how, region=None, held=index)))


def hover(s: Session, p: OutcomeBuilder, query: Query, how: ClickOptions) -> Steps[Outcome]:
    """Rest the pointer on it; delivered means that it stands still under the pointer."""
    while True:
        target = yield from acquire_target(s, p, query, verb="hover", expect_name=how.expect_name)
        yield from with_locator(s, p, target)
        p.fields["playwright"] = p.place.hover()
        if s.policy.dry_run:
            return p.outcome(Status.READY, "dry run: the pointer was not moved")
        s.shared.actions += 1
        with p.timed("hover"):
            still = yield from hover_still(s, target, "hover", how.expect_name)
        if still is not None:
            return p.outcome(Status.DELIVERED, delivered=True)
        if p.attempts >= s.options.attempts:
            raise VerbFailed(Status.UNSTABLE, "the element did not stand still under the pointer")


def exists(s: Session, p: OutcomeBuilder, query: Query) -> Steps[Outcome]:
    """Say whether the model finds it in the viewport."""
    screenshot = yield from look(s, p)
    points = css_points(
        s, screenshot, (yield from ask_model(s, p, screenshot, describe_query(query)))
    )
    return p.outcome(Status.FOUND, points=tuple((x, y) for x, y, _ in points))


def count(s: Session, p: OutcomeBuilder, query: Query, region: Box | None) -> Steps[Outcome]:
    """Count by pointing; nothing there is a count of 0, not a failure."""
    screenshot = yield from look(s, p, region)
    pointing = yield from ask_model(s, p, screenshot, describe_query(query), kind="count")
    if not pointing.points:
        return p.outcome(Status.FOUND, count=0)
    points = css_points(s, screenshot, pointing, sure=False)
    return p.outcome(Status.FOUND, points=tuple((x, y) for x, y, _ in points), count=len(points))


def wait_for(s: Session, p: OutcomeBuilder, query: Query, timeout_s: float) -> Steps[Outcome]:
    """Look until the model finds it; the model is asked again only when the screenshot changed."""
    end = time.monotonic() + timeout_s
    asked = None
    while True:
        screenshot = yield from take_screenshot(s)
        p.fields["screenshot"] = screenshot
        if asked is None or asked.image != screenshot.image:
            asked = screenshot
            p.attempts += 1
            try:
                points = css_points(
                    s, screenshot, (yield from ask_model(s, p, screenshot, describe_query(query)))
                )
                return p.outcome(Status.FOUND, points=tuple((x, y) for x, y, _ in points))
            except VerbFailed as halt:
                if halt.status not in (Status.ABSENT, Status.UNSURE):
                    raise
        left = end - time.monotonic()
        if left <= 0:
            raise VerbFailed(Status.ABSENT, f"not seen within {timeout_s:g} s")
        forbidden = s.forbids(p.verb)
        if forbidden is not None:
            raise VerbFailed(*forbidden)
        yield from pause(s.page, min(0.1, left))
