"""Ask the pointer about a screenshot, and take of its answer only points that may be acted on."""

from __future__ import annotations

from molmo_agents.drivers.steps import Steps, think
from molmo_agents.outcome import Status
from molmo_agents.progress import OutcomeBuilder, VerbFailed
from molmo_agents.screen import Box, Screenshot
from molmo_agents.session import Session
from molmo_agents.target.screenshot import take_screenshot
from molmo_point.errors import QueryError, UsageError
from molmo_point.points import Point, Pointing
from molmo_point.points import Status as PointingStatus

MAX_POINTS = 500
"""Largest number of points of one answer; a model that gives more is repeating itself."""


def look(
    s: Session, p: OutcomeBuilder, region: Box | None = None, scale: float = 1.0
) -> Steps[Screenshot]:
    """Take the screenshot that a verb asks about; it is in the verb's outcome."""
    with p.timed("look"):
        screenshot = yield from take_screenshot(s, region, scale)
    p.fields["screenshot"] = screenshot
    return screenshot


def ask_model(
    s: Session, p: OutcomeBuilder, screenshot: Screenshot, query: str, kind: str = "point"
) -> Steps[Pointing]:
    """Ask the pointer about `screenshot`; its failures halt the verb, an empty query is the caller's mistake."""
    function = getattr(s.pointer, kind)
    timeout = s.options.point_timeout_s
    with p.timed("point"):
        try:
            pointing = yield from think(
                lambda: function(screenshot.image, query, timeout_s=timeout)
            )
        except QueryError:
            raise
        except Exception as error:
            kind_of = type(error).__name__
            raise VerbFailed(
                Status.ERROR, f"the pointer failed ({kind_of}): {str(error)[:300]}"
            ) from error
    if not isinstance(pointing, Pointing):
        raise UsageError(
            f"expected the pointer to return a Pointing, got {type(pointing).__name__}"
        )
    p.fields["text"] = pointing.text[:2000]
    p.calibrated = pointing.calibrated
    if pointing.status is PointingStatus.MALFORMED:
        raise VerbFailed(
            Status.ERROR, "the model's answer could not be read as points; see `text`"
        )
    if pointing.status is PointingStatus.TRUNCATED and not pointing.points:
        raise VerbFailed(Status.ERROR, "the model ran out of time before it gave a point")
    return pointing


def css_points(
    s: Session, screenshot: Screenshot, pointing: Pointing, sure: bool = True
) -> list[tuple[float, float, Point]]:
    """Map the answer into the page: (x, y, point); halts where nothing was found or a point lies outside.

    With `sure` also where a point's score is below `Options.min_score`.
    """
    absent = pointing.absent_probability
    if not pointing.points or (absent is not None and absent > s.options.max_absent):
        why = ""
        if pointing.points and absent is not None:
            why = f": its probability that there is none is {absent:.2f}, above max_absent"
        raise VerbFailed(Status.ABSENT, f"the model sees no {pointing.query!r} there{why}")
    if len(pointing.points) > MAX_POINTS:
        raise VerbFailed(
            Status.AMBIGUOUS, f"the model gave {len(pointing.points)} points: ask for less"
        )
    if sure:
        for point in pointing.points:
            check_score(s, point, pointing.query)
    try:
        return [(*screenshot.to_css(point.x, point.y), point) for point in pointing.points]
    except (UsageError, TypeError) as error:
        raise VerbFailed(
            Status.ERROR, f"the model pointed outside of the screenshot: {error}"
        ) from error


def check_score(s: Session, point: Point, query: str) -> None:
    """Raise where the model's own score of the point is too low."""
    if point.score is not None and point.score < s.options.min_score:
        raise VerbFailed(
            Status.UNSURE,
            f"the model gave {query!r} a score of {point.score:.2f}, below min_score {s.options.min_score:g}: nothing was done",
            score=point.score,
        )
