"""From words to an element: look, ask the model, look again cheaply, resolve, guard. Nothing is pressed here.

`aim` ends with something that may be pressed, or raises `Halt` with the reason why not, which becomes the `Outcome`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Union

from molmo_agents import decide
from molmo_agents.cover import hidden_by
from molmo_agents.decide import Hit
from molmo_agents.lines import Place
from molmo_agents.listeners import listening
from molmo_agents.look import MAX_FRAMES, look, rest, unchanged
from molmo_agents.outcome import Locator, Outcome, Result
from molmo_agents.screen import Box, Frame, zoom_region
from molmo_agents.session import Session
from molmo_agents.steps import Steps, call, think
from molmo_agents.worlds import Resolved, WorldLost
from molmo_point.errors import QueryError, UsageError
from molmo_point.points import Point, Pointing, Status

Query = Union[str, Point]
"""A few words for the model, or a point (0-1 of the viewport) that the caller already has."""

MAX_POINTS = 500
"""Points of one answer that are used; a model that sees more has lost its way."""

ZOOM_SIDE = 1280.0
"""Longer side in pixels of the picture of a zoomed region."""


class Halt(Exception):
    """Why a verb ends here."""

    def __init__(self, status: Result, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.fields = fields


@dataclass
class Progress:
    """What is known so far about one verb, so that an outcome can say it however the verb ends.

    `place` is where it acts, for its line of Playwright; `token` tells this verb's looks from those of other ones.
    """

    verb: str
    query: str
    fields: dict[str, Any] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    attempts: int = 0
    place: Place = field(default_factory=lambda: Place("", 0.0, 0.0))
    token: str = field(default_factory=lambda: f"{time.perf_counter_ns()}")

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Add the time of the block to `timings[phase]`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self.timings[phase] = self.timings.get(phase, 0.0) + spent

    def outcome(self, status: Result, message: str = "", **fields: Any) -> Outcome:
        """Make the outcome."""
        known = {**self.fields, **fields}
        return Outcome(
            verb=self.verb,
            query=self.query,
            status=status,
            message=message,
            attempts=self.attempts,
            timings=self.timings,
            **known,
        )


@dataclass(frozen=True)
class Aim:
    """An element that may be pressed at (x, y), CSS px of the viewport."""

    frame: Frame
    x: float
    y: float
    hit: Hit
    resolved: Resolved
    zoomed: bool = False
    score: float | None = None


def words(query: Query) -> str:
    """The query as it is reported."""
    if isinstance(query, Point):
        return f"point ({query.x:.4f}, {query.y:.4f})"
    return query


def ask_model(
    s: Session, p: Progress, frame: Frame, query: str, kind: str = "point"
) -> Steps[Pointing]:
    """Ask the pointer about `frame`; its failures halt the verb, an empty query is the caller's mistake."""
    function = getattr(s.pointer, kind)
    timeout = s.options.point_timeout_s
    with p.timed("point"):
        try:
            pointing = yield from think(lambda: function(frame.image, query, timeout_s=timeout))
        except QueryError:
            raise
        except Exception as error:
            kind_of = type(error).__name__
            raise Halt(
                Result.ERROR, f"the pointer failed ({kind_of}): {str(error)[:300]}"
            ) from error
    if not isinstance(pointing, Pointing):
        raise UsageError(
            f"expected the pointer to return a Pointing, got {type(pointing).__name__}"
        )
    p.fields["text"] = pointing.text[:2000]
    if pointing.status is Status.MALFORMED:
        raise Halt(Result.ERROR, "the model's answer could not be read as points; see `text`")
    if pointing.status is Status.TRUNCATED and not pointing.points:
        raise Halt(Result.ERROR, "the model ran out of time before it gave a point")
    return pointing


def css_points(
    s: Session, frame: Frame, pointing: Pointing, sure: bool = True
) -> list[tuple[float, float, Point]]:
    """Map the answer into the page: (x, y, point); halts where nothing was found or a point lies outside.

    With `sure` also where a point's score is below `Options.min_score`.
    """
    absent = pointing.absent_probability
    if not pointing.points or (absent is not None and absent > s.options.max_absent):
        why = ""
        if pointing.points and absent is not None:
            why = f": its probability that there is none is {absent:.2f}, above max_absent"
        raise Halt(Result.ABSENT, f"the model sees no {pointing.query!r} there{why}")
    if len(pointing.points) > MAX_POINTS:
        raise Halt(Result.AMBIGUOUS, f"the model gave {len(pointing.points)} points: ask for less")
    if sure:
        for point in pointing.points:
            check_score(s, point, pointing.query)
    try:
        return [(*frame.to_css(point.x, point.y), point) for point in pointing.points]
    except (UsageError, TypeError) as error:
        raise Halt(Result.ERROR, f"the model pointed outside of the picture: {error}") from error


def check_score(s: Session, point: Point, query: str) -> None:
    """Halt where the model itself holds the point for a guess."""
    if point.score is not None and point.score < s.options.min_score:
        raise Halt(
            Result.UNSURE,
            f"the model gave {query!r} a score of {point.score:.2f}, below min_score {s.options.min_score:g}: nothing was done",
            score=point.score,
        )


def find(
    s: Session, p: Progress, query: Query, region: Box | None = None
) -> Steps[tuple[Frame, float, float, Point]]:
    """Look and ask for one place; several points are fine where they all lie on one element."""
    with p.timed("look"):
        frame = yield from look(s, region)
    p.fields["frame"] = frame
    if isinstance(query, Point):
        return frame, *frame.to_css(query.x, query.y), query
    pointing = yield from ask_model(s, p, frame, query)
    points = css_points(s, frame, pointing, sure=False)
    if len(points) > 1:
        places: set[str] = set()
        for x, y, _ in points[:12]:
            hit = yield from hit_at(s, x, y)
            places.add(f"{hit.hit.raw.get('tag')} {hit.hit.whole}")
        if len(places) > 1 or len(points) > 12:
            raise Halt(
                Result.AMBIGUOUS,
                f"{len(points)} places match {query!r}: say which, or use click_all()",
                points=tuple((x, y) for x, y, _ in points),
            )
    x, y, point = points[0]
    return frame, x, y, point


@dataclass(frozen=True)
class Found:
    """A hit with the documents it was found through."""

    hit: Hit
    resolved: Resolved


def hit_at(s: Session, x: float, y: float) -> Steps[Found]:
    """Say what lies at a point, CSS px of the viewport."""
    resolved = yield from s.worlds.resolve(x, y)
    hit = Hit.of(resolved)
    if not hit.nothing and not hit.actionable:
        heard = yield from listening(s.worlds, resolved)
        if heard is not None:
            resolved, hit = heard, Hit.of(heard)
    return Found(hit, resolved)


def aim(
    s: Session,
    p: Progress,
    query: Query,
    *,
    verb: str = "click",
    expect_name: str | None = None,
    region: Box | None = None,
) -> Steps[Aim]:
    """Look, point, look again, resolve and guard, until the look is still true; see the module."""
    mismatch: Halt | None = None
    while p.attempts < s.options.attempts:
        p.attempts += 1
        forbidden = s.forbids(p.verb)
        if forbidden is not None:
            raise Halt(*forbidden)
        try:
            found = yield from _attempt(s, p, query, verb, expect_name, region)
        except WorldLost:
            # The page or a frame of it was replaced under our hands: what was seen is gone.
            found = None
        except Halt as halt:
            if halt.status is not Result.NAME_MISMATCH or isinstance(query, Point):
                raise
            # The model may see better the second time; the element stays unpressed until then.
            mismatch = halt
            continue
        if found is not None:
            return found
        with p.timed("resolve"):
            yield from _arrived(s)
            yield from rest(s, s.options.stable_s)
    raise mismatch or Halt(Result.UNSTABLE, "the page kept changing while the model was looking")


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
        # It never comes to an end: the next look shows what there is.
        return


_MOMENTARY = frozenset({Result.NO_ACTIONABLE, Result.COVERED})
"""Verdicts that a page on its way from one view to the next gives for a moment."""


def _attempt(
    s: Session, p: Progress, query: Query, verb: str, expect_name: str | None, region: Box | None
) -> Steps[Aim | None]:
    """Look and point once; None when the look is no longer true by the time the answer is there."""
    frame, x, y, point = yield from find(s, p, query, region)
    with p.timed("resolve"):
        found = yield from hit_at(s, x, y)
    zoomed = False
    if isinstance(query, str):
        again = yield from _zoom(s, p, query, frame, x, y, point, found.hit)
        if again is not None:
            (frame, x, y, point), zoomed = again, True
            found = yield from hit_at(s, x, y)
    p.fields.update(point=(x, y), score=point.score, zoomed=zoomed)
    check_score(s, point, words(query))
    with p.timed("resolve"):
        if not (yield from still_true(s, p, frame, x, y, found)):
            return None
    if not found.hit.nothing:
        p.fields["target"] = found.hit.target()
    verdict = yield from _verdict(s, found, verb, expect_name, x, y)
    if verdict is not None:
        if verdict[0] in _MOMENTARY:
            with p.timed("resolve"):
                yield from rest(s, s.options.stable_s)
            later = yield from hit_at(s, x, y)
            if (yield from _verdict(s, later, verb, expect_name, x, y)) != verdict:
                return None
        raise Halt(*verdict)
    return Aim(frame, x, y, found.hit, found.resolved, zoomed, point.score)


def still_true(
    s: Session, p: Progress, frame: Frame, x: float, y: float, found: Found
) -> Steps[bool]:
    """Whether what the picture showed at (x, y) is what lies there now."""
    hit = found.hit
    pixels = True
    if decide.needs_pixels(hit):
        own = hit.box if not hit.nothing and hit.raw["selector"] else None
        pixels = yield from unchanged(s, frame, x, y, own)
    if decide.fresh(hit, pixels, len(frame.documents) < MAX_FRAMES):
        return True
    if not hit.nothing:
        if decide.drifts(hit, p.token):
            return True
        yield from s.worlds.ask(found.resolved.leaf.world, "aimAt", p.token)
    return False


def _verdict(
    s: Session, found: Found, verb: str, expect_name: str | None, x: float, y: float
) -> Steps[decide.Verdict | None]:
    verdict = decide.guard(found.hit, verb, expect_name)
    if verdict is None and found.hit.actionable:
        verdict = yield from hidden_by(s, found.hit, found.resolved, x, y)
    return verdict


def _zoom(
    s: Session, p: Progress, query: str, frame: Frame, x: float, y: float, point: Point, hit: Hit
) -> Steps[tuple[Frame, float, float, Point] | None]:
    """Look again at the region around an uncertain point or a small target; None keeps the first point."""
    sigma = frame.sigma_css(point)
    if not s.options.zoom or not decide.wants_zoom(hit, sigma, s.options.small_px):
        return None
    if s.looks >= s.policy.max_looks:
        return None
    target = hit.box if not hit.nothing and hit.actionable else None
    region = zoom_region((x, y), target, sigma, frame.viewport)
    if region.width > 0.8 * frame.region.width and region.height > 0.8 * frame.region.height:
        return None
    # A whole number of pixels for each CSS pixel: fractions are rounded differently from one picture to the next.
    scale = float(max(1, min(4, int(ZOOM_SIDE / max(region.width, region.height)))))
    with p.timed("look"):
        closer = yield from look(s, region, scale)
    p.fields["frame"] = closer
    try:
        pointing = yield from ask_model(s, p, closer, query)
        points = css_points(s, closer, pointing, sure=False)
    except Halt:
        # A part without its surroundings may not be recognised; the first look stands.
        points = []
    if len(points) != 1 or not all(math.isfinite(v) for v in points[0][:2]):
        s.frame = frame
        p.fields["frame"] = frame
        return None
    nx, ny, refined = points[0]
    return closer, nx, ny, refined


def locator_of(s: Session, resolved: Resolved) -> Steps[Locator | None]:
    """Build a locator that finds the element again without a model, or None."""
    frames: list[str] = []
    for link in resolved.links[:-1]:
        names = yield from s.worlds.run(link.world, "() => molmo.selectors(molmo.target)")
        if not names:
            return None
        frames.append(str(names[0]))
    made = yield from s.worlds.ask(resolved.leaf.world, "locator")
    if made is None or not (made["css"] or made["role"]):
        return None
    return Locator(frames=tuple(frames), **made)


def with_locator(s: Session, p: Progress, aim_: Aim) -> Steps[None]:
    """Put the target, with its locator, into the outcome; a page that is going away has none."""
    try:
        locator = yield from locator_of(s, aim_.resolved)
    except Exception:
        locator = None
    target = aim_.hit.target().with_locator(locator)
    p.fields["target"] = target
    p.place = Place("" if locator is None else locator.playwright(), aim_.x, aim_.y)
    p.fields["playwright"] = p.place.locator


def moved_aim(aim_: Aim, found: Found) -> Aim:
    """The same aim with what lies there now."""
    return replace(aim_, hit=found.hit, resolved=found.resolved)
