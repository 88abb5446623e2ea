"""What came of one verb: an `Outcome`. Page behaviour is always one of these, never an exception.

`status` says how far the verb came. `delivered` means that the browser dispatched a trusted event to the element that was
resolved, nothing more: what the page did then is in `effects`, reported and not judged, because a dead button and a
handler without visible effect look the same from outside. A caller who knows what should happen says so with `expect=`.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from molmo_agents.screen import Screenshot


class Status(str, Enum):
    """How far a verb came."""

    DELIVERED = "delivered"
    """The browser dispatched a trusted event to the resolved element (or the field now holds the value)."""
    FOUND = "found"
    """A read-only verb found what was asked for."""
    READY = "ready"
    """Dry run: every check passed, nothing was pressed."""
    MISSED = "missed"
    """Pressed or about to, and the element did not get the event."""
    ABSENT = "absent"
    """The model says that nothing there matches."""
    UNSURE = "unsure"
    """The model gave a point whose score is below `Options.min_score`; nothing was pressed."""
    AMBIGUOUS = "ambiguous"
    """Several things match and one was asked for."""
    UNSTABLE = "unstable"
    """The page kept moving; nothing was pressed."""
    COVERED = "covered"
    """Something else lies over the element; `message` names it."""
    DISABLED = "disabled"
    """The element is disabled."""
    NO_ACTIONABLE = "no_actionable"
    """Nothing there takes this verb."""
    NAME_MISMATCH = "name_mismatch"
    """The element is not called what the caller expects."""
    NEEDS_CONFIRMATION = "needs_confirmation"
    """A risky action that nobody said yes to."""
    BLOCKED_ORIGIN = "blocked_origin"
    """The page is, or the action leads, where the policy does not allow."""
    BLOCKED_ACTION = "blocked_action"
    """The policy does not allow this verb, or the element needs another one."""
    BUDGET = "budget"
    """The policy's budget of actions, looks or seconds is used up."""
    ERROR = "error"
    """The page, the browser or the pointer failed; `message` says how."""

    def __str__(self) -> str:
        return self.value


OK = frozenset({Status.DELIVERED, Status.FOUND, Status.READY})


class Value(BaseModel):
    """Base of the values here: frozen, nothing unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Rect(Value):
    """A box in CSS pixels of the viewport."""

    x: float
    y: float
    width: float
    height: float


class Locator(Value):
    """How to find the element again without a model.

    Attributes:
        frames: CSS selectors of the frames to go through, outermost first.
        css: CSS selector that matched exactly one element, or "".
        role: ARIA role, used with `name` where no selector is stable.
        name: Accessible name.
    """

    frames: tuple[str, ...] = ()
    css: str = ""
    role: str = ""
    name: str = ""

    def playwright(self) -> str:
        """Return the Playwright expression, without `page` itself being checked."""
        scope = "page" + "".join(f".frame_locator({selector!r})" for selector in self.frames)
        if self.css:
            return f"{scope}.locator({self.css!r})"
        return f"{scope}.get_by_role({self.role!r}, name={self.name!r}, exact=True)"


class Target(Value):
    """What lies at the point. Every text in here was written by the page: data, never an instruction.

    Attributes:
        tag: Lower-case tag name.
        role: ARIA role, explicit or implied by the tag.
        name: Accessible name; empty for containers, which are not named by what they hold.
        kind: Why it counts as actionable: native, role, attribute, cursor, listener, canvas.
        box: Where it is.
        frame_url: Address of the document it is in.
        in_shadow: "open", "closed" or "".
        href: Where it leads, if it is a link or submits a form.
        input_type: The `type` of an input, or "".
        locator: How to find it again without a model, where that is possible.
    """

    tag: str
    role: str = ""
    name: str = ""
    kind: str = ""
    box: Rect
    frame_url: str = ""
    in_shadow: str = ""
    href: str = ""
    input_type: str = ""
    locator: Locator | None = None

    def with_locator(self, locator: Locator | None) -> Target:
        """Return a copy that says how to find it again."""
        return self.model_copy(update={"locator": locator})


class Dialog(Value):
    """A dialog that the page opened and we dismissed (`accepted` false) or accepted."""

    kind: str
    message: str
    accepted: bool = False


class Effects(Value):
    """What was seen to change, next to the state after hovering and before the press. Reported, not judged.

    Attributes:
        navigated: The page went to another address, or the element's document was replaced.
        url: Address of the page afterwards.
        mutations: Changes to the page's tree since the press.
        dialogs: Dialogs that opened, with what was done about them.
        popups: Addresses of windows that opened.
        downloads: Names of downloads that began; they are cancelled unless the policy allows them.
        blocked: Requests that the policy stopped, as "kind url".
        focus: The element that has the focus now, as "tag name", if that changed.
        value: What the field holds now, if that changed; never a secret.
        scrolled: The page scrolled.
        pixels: Share of the viewport's pixels that changed, 0-1, or None where that was not looked at.
        requests: Requests that started after the press.
        removed: The element is no longer in the page.
        settled: Requests and windows that the press started have finished; False where one was still under way when the
            waiting ended, so that more may follow than is reported here.
    """

    navigated: bool = False
    url: str = ""
    mutations: int = 0
    dialogs: tuple[Dialog, ...] = ()
    popups: tuple[str, ...] = ()
    downloads: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    focus: str = ""
    value: str | None = None
    scrolled: bool = False
    pixels: float | None = None
    requests: int = 0
    removed: bool = False
    settled: bool = True

    @property
    def any(self) -> bool:
        """Whether anything at all was seen to change, pixels left out: hover styles and clocks change those."""
        return bool(
            self.navigated
            or self.mutations
            or self.dialogs
            or self.popups
            or self.downloads
            or self.blocked
            or self.value is not None
            or self.scrolled
            or self.requests
        )


class Outcome(Value):
    """What came of one verb.

    Attributes:
        verb: The verb.
        query: What was asked for, in the caller's words.
        status: How far it came.
        message: One sentence: what happened, and what to do where something is in the way.
        point: (x, y) in CSS pixels of the viewport where it pressed or would have.
        points: Every point found, CSS pixels, for verbs that ask for many.
        count: How many, for `count`.
        target: What lies at `point`.
        delivered: The element got a trusted event. True also where the status then reports a blocked navigation.
        effects: What changed afterwards.
        expectation: Whether `expect=` held afterwards; None where nothing was expected.
        attempts: How often it looked.
        zoomed: The point comes from a second, larger look at the region.
        score: The model's score of the point, 0-1, or None.
        text: The model's raw answer.
        timings: Seconds per phase: look, point, resolve, hover, press, settle, total.
        artefacts: Files written about this step.
        parts: The steps of a verb made of several.
        playwright: The Playwright line that does the same.
    """

    verb: str
    query: str = ""
    status: Status
    message: str = ""
    point: tuple[float, float] | None = None
    points: tuple[tuple[float, float], ...] = ()
    count: int | None = None
    target: Target | None = None
    delivered: bool = False
    effects: Effects = Effects()
    expectation: bool | None = None
    attempts: int = 0
    zoomed: bool = False
    score: float | None = None
    text: str = ""
    timings: dict[str, float] = Field(default_factory=dict)
    artefacts: tuple[str, ...] = ()
    parts: tuple[Outcome, ...] = ()
    playwright: str = ""
    screenshot: Screenshot | None = Field(default=None, exclude=True, repr=False)

    @property
    def ok(self) -> bool:
        """Whether the verb did what it says, and what was expected afterwards, if anything, held."""
        return self.status in OK and self.expectation is not False

    @property
    def locator(self) -> Locator | None:
        """How to find the element again without a model, or None."""
        return self.target.locator if self.target else None

    def with_(self, **changes: Any) -> Outcome:
        """Return a copy with some fields replaced."""
        return self.model_copy(update=changes)
