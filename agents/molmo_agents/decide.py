"""The decisions, without any I/O: is the look still true, may this be pressed, was it delivered, is it worth a second look.

Both faces, synchronous and asynchronous, decide here. Facts go in as values, verdicts come out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from molmo_agents.outcome import Rect, Result, Target
from molmo_agents.risk import Facts, same_name
from molmo_agents.screen import Box
from molmo_agents.worlds import Resolved

FIELD_TYPES = frozenset(
    ["select", "file", "date", "datetime-local", "month", "week", "time", "color"]
)


@dataclass(frozen=True)
class Hit:
    """What lies at a point, in the page's coordinates (CSS px of the viewport).

    Attributes:
        nothing: No document there, or the point lies outside of the viewport.
        actionable: Something there takes a press: kind is native, role, attribute, cursor, listener or canvas.
        raw: Everything the probe said.
        box: The rectangle of the element that holds the point.
        whole: Its bounding box.
        invisible_frame: A frame on the way there is transparent.
        frame_moved: A frame on the way there, or that was there at the latest look, is not where it was then.
    """

    nothing: bool
    actionable: bool
    raw: dict[str, Any]
    box: Box
    whole: Box
    invisible_frame: bool = False
    frame_moved: bool = False

    @classmethod
    def of(cls, resolved: Resolved, listener: bool = False) -> Hit:
        """Read what the walk brought back; `listener`: an element there listens for presses though nothing shows it."""
        found = resolved.raw.get("found")
        frames = (bool(resolved.raw.get(name)) for name in ("invisible_frame", "frame_moved"))
        if found is None:
            empty = Box(0, 0, 0, 0)
            return cls(True, False, {}, empty, empty, *frames)
        raw = dict(found)
        if not raw["kind"] and listener:
            raw["kind"] = "listener"
        link = resolved.leaf

        def page_box(rect: dict[str, float]) -> Box:
            return Box(
                link.left + rect["x"] * link.sx,
                link.top + rect["y"] * link.sy,
                rect["width"] * link.sx,
                rect["height"] * link.sy,
            )

        return cls(
            False,
            bool(raw["kind"]),
            raw,
            page_box(raw["box"]),
            page_box(raw["whole"]),
            *frames,
        )

    @property
    def strong(self) -> bool:
        """It is a control by its tag or role, not by a style or a listener."""
        return self.raw.get("kind") in ("native", "role")

    def facts(self) -> Facts:
        """What the risk rules look at."""
        raw = self.raw
        return Facts(
            texts=(*raw["texts"], raw["leaf"]["text"]),
            role=raw["role"],
            input_type=raw["input_type"],
            submits=raw["submits"],
            form_texts=tuple(raw["form_texts"]),
            form_password=raw["form_password"],
            form_card=raw["form_card"],
            form_method=raw["form_method"],
        )

    def target(self) -> Target:
        """The public description."""
        raw, box = self.raw, self.box
        return Target(
            tag=raw["tag"],
            role=raw["role"],
            name=raw["name"],
            kind=raw["kind"],
            box=Rect(x=box.x, y=box.y, width=box.width, height=box.height),
            frame_url=raw["url"],
            in_shadow=raw["in_shadow"],
            href=raw["href"],
            input_type=raw["input_type"],
        )


Verdict = tuple[Result, str]


def fresh(hit: Hit, pixels_same: bool) -> bool:
    """Whether what lies at the point now is what lay there when the picture was taken.

    A control with a name must be the same element, in the same place, with the same name: then an animation on it does no
    harm, and a row of look-alikes that moved up by one is found out although no pixel differs. Without a name (an icon) the
    pixels around must be unchanged as well; where there is no control (a canvas), they alone decide. What lies in a frame is
    where it was only if the frame is.
    """
    if hit.frame_moved:
        return False
    if _remembered(hit):
        same = bool(hit.raw["same"])
        return same if hit.raw["name"] else same and pixels_same
    return pixels_same


def needs_pixels(hit: Hit) -> bool:
    """Whether `fresh` will ask for the pixels: looking again costs time."""
    return not _remembered(hit) or not hit.raw["name"]


def _remembered(hit: Hit) -> bool:
    """Whether a picture's snapshot holds such elements: controls by tag or attribute, not in closed shadow roots."""
    return not hit.nothing and bool(hit.raw["selector"]) and hit.raw["in_shadow"] != "closed"


def guard(hit: Hit, verb: str, expect_name: str | None) -> Verdict | None:
    """Say why this must not be pressed, or None.

    Args:
        hit: What lies at the point.
        verb: click, type, ...: select, check and upload have their own say about which elements they take.
        expect_name: What the caller expects the element to be called.
    """
    if hit.nothing:
        return Result.NO_ACTIONABLE, "there is nothing at that point"
    raw = hit.raw
    name, under = raw["name"], raw["beneath"]
    label = f"<{raw['tag']}>" + (f" {name!r}" if name else "")
    if hit.invisible_frame:
        return Result.COVERED, "an invisible frame lies over that point"
    if hit.actionable and raw["invisible"] and not raw["exempt"]:
        return Result.COVERED, f"an invisible {label} lies over that point"
    if under is not None and _covers(hit):
        return Result.COVERED, f"{label} lies over <{under['tag']}> {under['name']!r}"
    if not hit.actionable and verb not in ("drag", "hover"):
        return Result.NO_ACTIONABLE, f"nothing at that point takes a press: it is {label}"
    if raw["disabled"]:
        return Result.DISABLED, f"{label} is disabled"
    if expect_name is not None and not same_name(expect_name, tuple(raw["names"])):
        return Result.NAME_MISMATCH, f"expected {expect_name!r}, found {label}"
    if verb == "click":
        return _native_picker(raw, label)
    return None


def _covers(hit: Hit) -> bool:
    """A plain or merely styled element over a control hides it; so does any control as large as half the page."""
    return not hit.actionable or not hit.strong or hit.raw["area"] > 0.5


def _native_picker(raw: dict[str, Any], label: str) -> Verdict | None:
    """Lists, files and dates open windows outside of the page: they show in a screenshot, but clicks go underneath."""
    kind = "select" if raw["control_tag"] == "select" else raw["input_type"]
    if raw["control_tag"] == "select" and raw["multiple"]:
        kind = "select"
    if kind not in FIELD_TYPES or raw["control_tag"] not in ("select", "input"):
        return None
    verb = {"select": "select", "file": "upload"}.get(kind, "type")
    return (
        Result.BLOCKED_ACTION,
        f"{label} opens a native {kind} window, which cannot be clicked in: use {verb}()",
    )


def wants_zoom(hit: Hit, sigma: float | None, small_px: float) -> bool:
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
class Report:
    """What the listeners around the press saw.

    Attributes:
        log: Trusted events in order, "!" behind those that were not on the element.
        blocked: The first event was not on the element, so that none was let through.
        early: Our listeners stood before the page's own scripts.
        lost: The element's document was gone before it could be asked; `log` then holds what it told before.
        removed: The element is no longer in its document.
        other: What got the press instead.
    """

    log: tuple[str, ...] = ()
    blocked: bool = False
    early: bool = False
    lost: bool = False
    removed: bool = False
    other: str = ""


def delivered(report: Report, final: str = "click") -> bool:
    """Whether the element got the press: the `final` event on it, or it went away with its document after the press began.

    Args:
        report: What was seen.
        final: The event that ends the gesture: click, dblclick, contextmenu, auxclick.
    """
    if report.blocked:
        return False
    down = "pointerdown" in report.log or "mousedown" in report.log
    return final in report.log or (down and (report.removed or report.lost))


def provably_undelivered(report: Report) -> bool:
    """Whether it is certain that the page saw nothing of the press, so that another try cannot be a second press."""
    return report.blocked and report.early and not report.lost
