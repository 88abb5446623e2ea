"""From words to an element: look, ask the model, look again cheaply, resolve, guard. Nothing is pressed here.

`acquire_target` ends with something that may be pressed, or raises `VerbFailed` with the reason, which becomes the `Outcome`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from molmo_agents.browser.documents import HitPath, WorldLost
from molmo_agents.drivers.steps import Steps, call
from molmo_agents.labels import akin, label_in, naming_words
from molmo_agents.lines import Place
from molmo_agents.outcome import Locator, Status
from molmo_agents.progress import OutcomeBuilder, Query, VerbFailed, describe_query
from molmo_agents.screen import Box, Screenshot, zoom_region
from molmo_agents.session import Session
from molmo_agents.target import verdicts
from molmo_agents.target.asking import ask_model, check_score, css_points, look
from molmo_agents.target.cover import hidden_by
from molmo_agents.target.hit_path import resolve
from molmo_agents.target.listeners import editor_at, listening
from molmo_agents.target.screenshot import MAX_FRAMES, take_screenshot, unchanged, wait_until_still
from molmo_agents.target.verdicts import HitTestResult
from molmo_point.points import Point

ZOOM_SIDE = 1280.0
"""Longer side in pixels of the screenshot of a zoomed region."""


@dataclass(frozen=True)
class AcquiredTarget:
    """An element that may be pressed at (x, y), CSS px of the viewport."""

    screenshot: Screenshot
    x: float
    y: float
    hit: HitTestResult
    resolved: HitPath
    zoomed: bool = False
    score: float | None = None


def find(
    s: Session, p: OutcomeBuilder, query: Query, region: Box | None = None
) -> Steps[tuple[Screenshot, float, float, Point]]:
    """Look and ask for one place; several points are fine where they all lie on one element."""
    screenshot = yield from look(s, p, region)
    if isinstance(query, Point):
        return screenshot, *screenshot.to_css(query.x, query.y), query
    pointing = yield from ask_model(s, p, screenshot, query)
    points = css_points(s, screenshot, pointing, sure=False)
    if len(points) > 1:
        places: set[str] = set()
        for x, y, _ in points[:12]:
            hit = yield from hit_at(s, x, y)
            places.add(f"{hit.hit.raw.get('tag')} {hit.hit.whole}")
        if len(places) > 1 or len(points) > 12:
            raise VerbFailed(
                Status.AMBIGUOUS,
                f"{len(points)} places match {query!r}: say which, or use click_all()",
                points=tuple((x, y) for x, y, _ in points),
            )
    x, y, point = points[0]
    return screenshot, x, y, point


@dataclass(frozen=True)
class Found:
    """A hit with the documents it was found through."""

    hit: HitTestResult
    resolved: HitPath


@dataclass(frozen=True)
class Named:
    """What the element must be called (`expected`), and what it must say (`quoted`); see `verdicts.guard`."""

    expected: str | None
    quoted: str


def hit_at(s: Session, x: float, y: float, verb: str = "") -> Steps[Found]:
    """Say what lies at a point, CSS px of the viewport; for `type` also an editor that takes keys in a text area nobody sees."""
    resolved = yield from resolve(s.worlds, x, y)
    hit = HitTestResult.of(resolved)
    if not hit.nothing and not hit.actionable:
        heard = yield from listening(s.worlds, resolved)
        if heard is None and verb == "type":
            heard = yield from editor_at(s.worlds, resolved)
        if heard is not None:
            resolved, hit = heard, HitTestResult.of(heard)
    return Found(hit, resolved)


def acquire_target(
    s: Session,
    p: OutcomeBuilder,
    query: Query,
    *,
    verb: str = "click",
    expect_name: str | None = None,
    region: Box | None = None,
) -> Steps[AcquiredTarget]:
    """Look, point, look again, resolve and guard, until the look is still true; see the module."""
    mismatch: VerbFailed | None = None
    while p.attempts < s.options.attempts:
        p.attempts += 1
        forbidden = s.forbids(p.verb)
        if forbidden is not None:
            raise VerbFailed(*forbidden)
        try:
            found = yield from _attempt(s, p, query, verb, expect_name, region)
        except WorldLost:
            # The page or one of its frames was replaced meanwhile: what the screenshot shows is gone.
            found = None
        except VerbFailed as halt:
            if halt.status is not Status.NAME_MISMATCH or isinstance(query, Point):
                raise
            # The model may see better the second time; the element stays unpressed until then.
            mismatch = halt
            continue
        if found is not None:
            return found
        with p.timed("resolve"):
            yield from _arrived(s)
            yield from wait_until_still(s, s.options.stable_s)
    raise mismatch or VerbFailed(
        Status.UNSTABLE, "the page kept changing while the model was looking"
    )


def _arrived(s: Session) -> Steps[None]:
    """Wait for a page that is on its way, so that the next look shows it rather than nothing."""
    wait = s.options.settle_load_s
    try:
        yield from call(
            s.page,
            "wait_for_load_state",
            "domcontentloaded",
            timeout=wait * 1000,
            timeout_s=wait + 2,
        )
    except Exception:
        # It never ends: the next look shows what there is.
        return


_MOMENTARY = frozenset({Status.NO_ACTIONABLE, Status.COVERED})
"""Verdicts that may be temporary, while a page changes from one view to the next."""


def _attempt(
    s: Session,
    p: OutcomeBuilder,
    query: Query,
    verb: str,
    expect_name: str | None,
    region: Box | None,
) -> Steps[AcquiredTarget | None]:
    """Look and point once; None when the look is no longer true by the time the answer is there."""
    screenshot, x, y, point = yield from find(s, p, query, region)
    with p.timed("resolve"):
        found = yield from hit_at(s, x, y, verb)
    zoomed = False
    if isinstance(query, str):
        again = yield from _zoom(s, p, query, screenshot, x, y, point, found.hit)
        if again is not None:
            (screenshot, x, y, point), zoomed = again, True
            found = yield from hit_at(s, x, y, verb)
    p.fields.update(point=(x, y), score=point.score, zoomed=zoomed)
    check_score(s, point, describe_query(query))
    with p.timed("resolve"):
        if not (yield from still_true(s, p, screenshot, x, y, found)):
            return None
    if not found.hit.nothing:
        p.fields["target"] = found.hit.target()
    if isinstance(query, str) and not found.hit.nothing:
        yield from _check_words(s, p, query, point, found)
    named = Named(expect_name, label_in(query) if isinstance(query, str) else "")
    verdict = yield from _verdict(s, found, verb, named, x, y)
    if verdict is not None:
        if verdict[0] in _MOMENTARY:
            with p.timed("resolve"):
                yield from wait_until_still(s, s.options.stable_s)
            later = yield from hit_at(s, x, y, verb)
            if (yield from _verdict(s, later, verb, named, x, y)) != verdict:
                return None
        raise VerbFailed(*verdict)
    return AcquiredTarget(screenshot, x, y, found.hit, found.resolved, zoomed, point.score)


def _check_words(
    s: Session, p: OutcomeBuilder, query: str, point: Point, found: Found
) -> Steps[None]:
    """Halt where the element shows words, and neither it nor what stands around it says a word of the query.

    A calibrated score was measured on questions whose words are mostly there. Where the page speaks against them, only a
    higher one is believed.
    """
    limit, raw = s.options.min_score_unsaid, found.hit.raw
    if not p.calibrated or point.score is None or point.score >= limit:
        return
    asked = " ".join(naming_words(query))
    if not asked or sum(map(str.isalnum, raw["visible"])) < 2:
        return
    own = " ".join((*raw["names"], *raw["texts"], raw["visible"], raw["role"], raw["input_type"]))
    if akin(asked, own):
        return
    around = yield from s.worlds.run(found.resolved.leaf.world, "() => molmo.around(molmo.target)")
    if not akin(asked, str(around)):
        raise VerbFailed(
            Status.UNSURE,
            f"neither the element found nor what stands around it says a word of {query!r}, and the model's score of"
            f" {point.score:.2f} is below min_score_unsaid {limit:g}: nothing was done",
            score=point.score,
        )


def still_true(
    s: Session, p: OutcomeBuilder, screenshot: Screenshot, x: float, y: float, found: Found
) -> Steps[bool]:
    """Whether what the screenshot showed at (x, y) is what lies there now."""
    hit = found.hit
    pixels = True
    if verdicts.needs_pixels(hit):
        own = hit.box if not hit.nothing and hit.raw["selector"] else None
        pixels = yield from unchanged(s, screenshot, x, y, own)
    if verdicts.is_still_valid(hit, pixels, len(screenshot.documents) < MAX_FRAMES):
        return True
    if not hit.nothing:
        if verdicts.drifts(hit, p.token):
            return True
        yield from s.worlds.ask(found.resolved.leaf.world, "aimAt", p.token)
    return False


def _verdict(
    s: Session, found: Found, verb: str, named: Named, x: float, y: float
) -> Steps[verdicts.Verdict | None]:
    verdict = verdicts.check_actionable(found.hit, verb, named.expected, named.quoted)
    if verdict is None and (found.hit.actionable or verb in ("drag", "upload")):
        verdict = yield from hidden_by(s, found.hit, found.resolved, x, y)
    return verdict


def _zoom(
    s: Session,
    p: OutcomeBuilder,
    query: str,
    screenshot: Screenshot,
    x: float,
    y: float,
    point: Point,
    hit: HitTestResult,
) -> Steps[tuple[Screenshot, float, float, Point] | None]:
    """Look again at the region around an uncertain point or a small target; None keeps the first point."""
    sigma = screenshot.sigma_css(point)
    if not s.options.zoom or not verdicts.wants_zoom(hit, sigma, s.options.small_px):
        return None
    if s.shared.looks >= s.policy.max_looks:
        return None
    target = hit.box if not hit.nothing and hit.actionable else None
    region = zoom_region((x, y), target, sigma, screenshot.viewport)
    if (
        region.width > 0.8 * screenshot.region.width
        and region.height > 0.8 * screenshot.region.height
    ):
        return None
    # A whole number of pixels for each CSS pixel: fractions are rounded differently from one screenshot to the next.
    scale = float(max(1, min(4, int(ZOOM_SIDE / max(region.width, region.height)))))
    with p.timed("look"):
        closer = yield from take_screenshot(s, region, scale)
    p.fields["screenshot"] = closer
    try:
        pointing = yield from ask_model(s, p, closer, query)
        points = css_points(s, closer, pointing, sure=False)
    except VerbFailed:
        # A part without its surroundings may not be recognised; the first look stands.
        points = []
    if len(points) != 1 or not all(math.isfinite(v) for v in points[0][:2]):
        s.screenshot = screenshot
        p.fields["screenshot"] = screenshot
        return None
    nx, ny, refined = points[0]
    return closer, nx, ny, refined


def locator_of(s: Session, resolved: HitPath) -> Steps[Locator | None]:
    """Hold on to the element, and build a locator that finds it again without a model, or None."""
    made = yield from s.worlds.ask(resolved.leaf.world, "chosen")
    frames: list[str] = []
    for link in resolved.links[:-1]:
        names = yield from s.worlds.run(link.world, "() => molmo.selectors(molmo.target)")
        if not names:
            return None
        frames.append(str(names[0]))
    if made is None or not (made["css"] or made["role"]):
        return None
    return Locator(frames=tuple(frames), **made)


def with_locator(s: Session, p: OutcomeBuilder, target: AcquiredTarget) -> Steps[None]:
    """Put the target, with its locator, into the outcome; a page that is going away has none."""
    try:
        locator = yield from locator_of(s, target.resolved)
    except Exception:
        locator = None
    p.fields["target"] = target.hit.target().with_locator(locator)
    p.place = Place("" if locator is None else locator.playwright(), target.x, target.y)
    p.fields["playwright"] = p.place.locator


def with_hit(target: AcquiredTarget, found: Found) -> AcquiredTarget:
    """The same target with what lies there now."""
    return replace(target, hit=found.hit, resolved=found.resolved)
