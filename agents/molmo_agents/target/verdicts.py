"""The decisions, without any I/O: is the look still true, may this be pressed, was it delivered, is it worth a second look.

Both faces, synchronous and asynchronous, decide here. Facts go in as values, verdicts come out.
"""

from __future__ import annotations

from dataclasses import dataclass

from molmo_agents.browser.documents import HitPath
from molmo_agents.labels import same_name, says
from molmo_agents.outcome import Rect, Status, Target
from molmo_agents.playwright_types import Json
from molmo_agents.risk import Facts
from molmo_agents.screen import Box

FIELD_TYPES = frozenset(
    ["select", "file", "date", "datetime-local", "month", "week", "time", "color"]
)


@dataclass(frozen=True)
class HitTestResult:
    """What lies at a point, in the page's coordinates (CSS px of the viewport).

    Attributes:
        nothing: No document there, or the point lies outside of the viewport.
        actionable: Something there takes a press: kind is native, role, attribute, cursor, listener or canvas.
        raw: Everything the probe said.
        box: The rectangle of the element that holds the point.
        whole: Its bounding box.
        invisible_frame: A frame on the way there is transparent.
        frame_moved: A frame on the way there, or that was there at the latest look, is not where it was then.
        looked: The latest screenshot shows the document it is in.
    """

    nothing: bool
    actionable: bool
    raw: Json
    box: Box
    whole: Box
    invisible_frame: bool = False
    frame_moved: bool = False
    looked: bool = True

    @classmethod
    def of(cls, resolved: HitPath) -> HitTestResult:
        """Read what the walk brought back."""
        found = resolved.raw.get("found")
        unseen, moved = (
            bool(resolved.raw.get(name)) for name in ("invisible_frame", "frame_moved")
        )
        if found is None:
            empty = Box(0, 0, 0, 0)
            return cls(
                True,
                False,
                {},
                empty,
                empty,
                unseen,
                moved,
                bool(resolved.raw.get("looked", True)),
            )
        raw = dict(found)
        link = resolved.leaf

        def page_box(rect: dict[str, float]) -> Box:
            # A mirrored frame has a negative scale: its right edge lies left.
            x1, x2 = (link.left + link.sx * v for v in (rect["x"], rect["x"] + rect["width"]))
            y1, y2 = (link.top + link.sy * v for v in (rect["y"], rect["y"] + rect["height"]))
            return Box(min(x1, x2), min(y1, y2), abs(x2 - x1), abs(y2 - y1))

        return cls(
            False,
            bool(raw["kind"]),
            raw,
            page_box(raw["box"]),
            page_box(raw["whole"]),
            unseen,
            moved,
            bool(raw["looked"]),
        )

    def facts(self) -> Facts:
        """What the risk rules look at."""
        raw = self.raw
        return Facts(
            texts=tuple(raw["texts"]),
            role=raw["role"],
            input_type=raw["input_type"],
            submits=raw["submits"],
            form_texts=tuple(raw["form_texts"]),
            form_password=raw["form_password"],
            form_card=raw["form_card"],
            form_method=raw["form_method"],
            editor=raw["editable"] or raw["control_tag"] == "textarea",
        )

    def target(self) -> Target:
        """The public description."""
        raw, box = self.raw, self.box
        return Target(
            tag=raw["tag"],
            role=raw["role"],
            name=raw["name"][:NAME],
            kind=raw["kind"],
            box=Rect(x=box.x, y=box.y, width=box.width, height=box.height),
            frame_url=raw["url"],
            in_shadow=raw["in_shadow"],
            href=raw["href"],
            input_type=raw["input_type"],
        )


Verdict = tuple[Status, str]

NAME = 1000
"""Letters of a name that an outcome holds."""

SHOWN = 160
"""Letters of a name that a message shows."""


def is_still_valid(hit: HitTestResult, pixels_same: bool, all_looked: bool = True) -> bool:
    """Whether what lies at the point now is what lay there when the screenshot was taken.

    A control with a name must be the same element, in the same place, with the same name: then an animation on it does no
    harm, and a row of look-alikes that moved up by one is found out although no pixel differs. Without a name (an icon), or
    where something lay over it in the screenshot, the pixels must be unchanged as well; where there is no control (a canvas),
    they alone decide. What lies in a frame is where it was only if the frame is; a document that came since is another one.

    Args:
        hit: What lies there now.
        pixels_same: Whether the pixels around are unchanged.
        all_looked: Every document shown was looked into; False where the page has too many.
    """
    if hit.frame_moved or (all_looked and not hit.looked):
        return False
    if _remembered(hit):
        return bool(hit.raw["same"]) and (pixels_same or not needs_pixels(hit))
    return pixels_same


def drifts(hit: HitTestResult, token: str) -> bool:
    """Whether two looks in a row led to one and the same element that merely counts on, blinks or breathes."""
    return (
        _remembered(hit)
        and not hit.frame_moved
        and bool(hit.raw["drift"])
        and not hit.raw["hidden"]
        and hit.raw["aimed"] == token
    )


def needs_pixels(hit: HitTestResult) -> bool:
    """Whether `is_still_valid` will ask for the pixels: looking again costs time."""
    return not _remembered(hit) or not hit.raw["name"] or bool(hit.raw["hidden"])


def _remembered(hit: HitTestResult) -> bool:
    """Whether a screenshot's snapshot holds such elements: controls by tag or attribute, not in closed shadow roots."""
    raw = hit.raw
    if hit.nothing or not raw["selector"] or raw["in_shadow"] == "closed" or not raw["looked"]:
        return False
    return bool(raw["seen"]) or not raw["full"]


def check_actionable(
    hit: HitTestResult, verb: str, expect_name: str | None, quoted: str = ""
) -> Verdict | None:
    """Say why this must not be pressed, or None.

    Args:
        hit: What lies at the point.
        verb: click, type, ...: select, check and upload have their own say about which elements they take.
        expect_name: What the caller expects the element to be called.
        quoted: The label that the query quotes (`risk.label_in`): the element must say it, among other words if need be.
    """
    if hit.nothing:
        return Status.NO_ACTIONABLE, "there is nothing at that point"
    raw = hit.raw
    name, under = raw["name"], raw["beneath"]
    label = f"<{raw['tag']}>" + (f" {name[:SHOWN]!r}" if name else "")
    if hit.invisible_frame:
        return Status.COVERED, "an invisible frame lies over that point"
    if hit.actionable and raw["invisible"] and not raw["exempt"]:
        return Status.COVERED, f"an invisible {label} lies over that point"
    if under is not None and not hit.actionable:
        return Status.COVERED, f"{label} lies over <{under['tag']}> {under['name']!r}"
    if not hit.actionable and verb not in ("drag", "hover", "upload"):
        return Status.NO_ACTIONABLE, f"nothing at that point takes a press: it is {label}"
    if raw["disabled"]:
        return Status.DISABLED, f"{label} is disabled"
    if expect_name is not None and not same_name(expect_name, tuple(raw["names"]), raw["visible"]):
        return Status.NAME_MISMATCH, f"expected {expect_name!r}, found {label}"
    if quoted and not says(quoted, (*raw["names"], *raw["texts"], raw["visible"])):
        return (
            Status.NAME_MISMATCH,
            f"asked for {quoted!r}, found {label}, which does not say that",
        )
    if verb == "click":
        return _native_picker(raw, label)
    return None


def _native_picker(raw: Json, label: str) -> Verdict | None:
    """Lists, files and dates open windows outside of the page: they show in a screenshot, but clicks go underneath."""
    kind = "select" if raw["control_tag"] == "select" else raw["input_type"]
    if raw["control_tag"] == "select" and raw["multiple"]:
        kind = "select"
    if kind not in FIELD_TYPES or raw["control_tag"] not in ("select", "input"):
        return None
    verb = {"select": "select", "file": "upload"}.get(kind, "type")
    return (
        Status.BLOCKED_ACTION,
        f"{label} opens a native {kind} window, which cannot be clicked in: use {verb}()",
    )


def wants_zoom(hit: HitTestResult, sigma: float | None, small_px: float) -> bool:
    """Whether a second, larger look is worth a model call.

    Args:
        hit: What the first look led to.
        sigma: The point's standard deviation in CSS px, or None where the model gives none.
        small_px: Targets whose shorter side is below this are small.
    """
    if hit.nothing or not hit.actionable:
        return sigma is not None and sigma > small_px / 2
    shorter = min(hit.box.width, hit.box.height)
    return shorter < small_px or (sigma is not None and 2 * sigma > shorter)


@dataclass(frozen=True)
class EventReport:
    """What the listeners around the press saw.

    Attributes:
        log: Trusted events in order, "!" behind those that were not on the element.
        blocked: The first event was not on the element, so that none was let through.
        early: Our listeners stood before the page's own scripts.
        strayed: Where keys went that were not for the field, or "": those were stopped.
        lost: The element's document was gone before it could be asked; `log` then holds what it told before.
        removed: The element is no longer in its document.
        redrawn: The page put an identical one in its place.
        other: What got the press instead.
    """

    log: tuple[str, ...] = ()
    blocked: bool = False
    early: bool = False
    lost: bool = False
    removed: bool = False
    redrawn: bool = False
    other: str = ""
    strayed: str = ""


def delivered(report: EventReport, final: str = "click") -> bool:
    """Whether the element got the press: the `final` event on it, or it went away, or its document, after the press began.

    A page that redraws the element between down and up gets no `final` event on it: browsers dispatch it to what the two share.

    Args:
        report: What was seen.
        final: The event that ends the gesture: click, dblclick, contextmenu, auxclick.
    """
    if report.blocked:
        return False
    down = "pointerdown" in report.log or "mousedown" in report.log
    return final in report.log or (
        down and (report.lost or (report.removed and not report.redrawn))
    )


def provably_undelivered(report: EventReport) -> bool:
    """Whether it is certain that the page saw nothing of the press, so that another try cannot be a second press."""
    return report.blocked and report.early and not report.lost
