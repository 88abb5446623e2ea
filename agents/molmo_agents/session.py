"""One pointer on one page: everything the verbs share. Opened by the first verb, closed by its owner."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from molmo_agents.browser.cdp import IsolatedWorlds
from molmo_agents.browser.page_events import PageEvents
from molmo_agents.browser.request_filter import RequestFilter
from molmo_agents.defaults import ANSWER_TIMEOUT_S
from molmo_agents.drivers.steps import Handler, Steps
from molmo_agents.errors import PageUnusable, PolicyError
from molmo_agents.journal import Journal
from molmo_agents.masker import SecretRedactor
from molmo_agents.outcome import Status
from molmo_agents.playwright_types import Page
from molmo_agents.policy import Policy, Rules
from molmo_agents.screen import Screenshot
from molmo_point.errors import UsageError
from molmo_point.pointer import Pointer


@dataclass(frozen=True)
class Options:
    """How patient and how thorough; the defaults suit a real page and a model of a second or so.

    Attributes:
        attempts: Looks per verb before it gives up as `unstable`.
        stable_frames: Animation frames in a row in which the element must stand still under the pointer.
        stable_s: How long to wait for that, seconds; longer where the machine draws so few frames that nothing is known by then.
        settle_requests_s: How long to wait for requests that a press started, seconds.
        settle_load_s: How long to wait for a page that a press opened, seconds.
        answer_s: How long the page may take to answer one question of ours, seconds; a page in an endless loop never does.
        point_timeout_s: Budget of one question to the model, seconds; None leaves it to the pointer.
        zoom: Look again, larger, at small targets and uncertain points.
        small_px: Targets whose shorter side is below this many CSS pixels are small.
        max_absent: Treat an answer as absent when the model's own probability for that is above this.
        min_score: Refuse (status `unsure`) to act on a point whose own score (0-1) is below this; points without a score are
            not judged. The default takes what is likelier right than wrong, as a calibrated score says it; 0 takes every point.
        min_score_unsaid: The same where the element shows words and neither it nor what stands around it says a word of the
            query, for models whose scores are calibrated: the default takes none of them. Lower it for a model that knows other
            words for the same thing, or another language than the page's.
        pixels: Also measure which share of the viewport's pixels a press changed; costs two more screenshots.
    """

    attempts: int = 3
    stable_frames: int = 3
    stable_s: float = 1.0
    settle_requests_s: float = 5.0
    settle_load_s: float = 10.0
    answer_s: float = ANSWER_TIMEOUT_S
    point_timeout_s: float | None = 60.0
    zoom: bool = True
    small_px: float = 14.0
    max_absent: float = 0.5
    min_score: float = 0.5
    min_score_unsaid: float = 1.0
    pixels: bool = False

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.stable_frames < 1:
            raise UsageError("attempts and stable_frames must be at least 1")
        waits = (self.stable_s, self.settle_requests_s, self.settle_load_s)
        for name in ("min_score", "min_score_unsaid"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} lies in 0-1, got {getattr(self, name)}")
        if min(waits) < 0 or not 0 < self.answer_s < math.inf or not 0 <= self.max_absent <= 1:
            raise UsageError(
                "waits must not be negative, answer_s is above 0 and finite, and max_absent lies in 0-1"
            )


@dataclass(frozen=True)
class VerbNames:
    """The verbs that there are, and those of them that change nothing on the page."""

    every: frozenset[str]
    read_only: frozenset[str]

    def check(self, policy: Policy) -> None:
        """Refuse a policy that allows verbs that do not exist.

        Raises:
            PolicyError: Their names, and those that there are.
        """
        unknown = (policy.verbs or frozenset()) - self.every
        if unknown:
            raise PolicyError(f"unknown verbs {sorted(unknown)}: choose from {sorted(self.every)}")


@dataclass
class Shared:
    """What all windows of one agent have in common: what was used of the policy's budgets, and values that are not shown."""

    hidden: list[str]
    actions: int = 0
    looks: int = 0
    begun: float | None = None
    masker: SecretRedactor = field(init=False)

    def __post_init__(self) -> None:
        self.masker = SecretRedactor(self.hidden)

    def spent_s(self) -> float:
        """Seconds since this was first asked."""
        now = time.monotonic()
        self.begun = self.begun or now
        return now - self.begun


class Session:
    """The parts behind a `WebPointer`: worlds, watch, gate, budget and journal."""

    def __init__(
        self,
        page: Page,
        pointer: Pointer,
        policy: Policy,
        options: Options,
        journal: Journal | None,
        handler: Handler,
        verbs: VerbNames,
    ) -> None:
        verbs.check(policy)
        if page.is_closed():
            raise PageUnusable("the page is closed: open one with context.new_page() first")
        self.page = page
        self.pointer = pointer
        self.policy = policy.starting_at(page.url)
        self.rules = Rules.of(self.policy)
        self.options = options
        self.verbs = verbs
        self.journal = journal
        self.worlds = IsolatedWorlds(page, options.answer_s)
        self.watch = PageEvents(page, self.policy, self.rules, handler)
        self.watch.masked = lambda question: self.masker.confirmation(question)
        self.gate = RequestFilter(page, self.rules, self.watch, self.worlds, handler)
        self.screenshot: Screenshot | None = None
        self.given: set[str] = set()
        """Documents of pages that a secret was typed into."""
        self.shared = Shared(hidden=[secret.value for secret in self.policy.secrets.values()])
        self._open = False
        self._closed = False

    @property
    def masker(self) -> SecretRedactor:
        """Hides secrets in texts."""
        return self.shared.masker

    def join(self, other: Session) -> None:
        """Share budgets and hidden values with the session of another window of the same agent."""
        self.shared = other.shared

    def open(self) -> Steps[None]:
        """Attach to the page, once."""
        if self._open:
            return
        if self._closed:
            raise PageUnusable("this pointer was closed: make a new one for the page")
        try:
            yield from self.worlds.open()
        except Exception as error:
            if self.page.is_closed():
                raise
            raise PageUnusable(
                f"expected a page of a Chromium browser (the DevTools protocol is needed): {error}"
            ) from error
        self.watch.open()
        self._open = True
        try:
            yield from self.gate.open()
        except Exception:
            # Without its gate a policy holds nothing: the next verb has to begin here again.
            yield from self.close()
            self._closed = False
            raise

    def close(self) -> Steps[None]:
        """Detach; the page stays as it is. Closing twice is allowed."""
        self._closed = True
        if not self._open:
            return
        self._open = False
        yield from self.gate.close()
        self.watch.close()
        yield from self.worlds.close()

    def forbids(self, verb: str) -> tuple[Status, str] | None:
        """Say why `verb` may not be done now, or None."""
        policy = self.policy
        if policy.verbs is not None and verb not in policy.verbs:
            return Status.BLOCKED_ACTION, f"the policy does not allow {verb}()"
        if self.shared.spent_s() > policy.max_seconds:
            return Status.BUDGET, f"the policy's {policy.max_seconds:g} seconds are used up"
        if verb not in self.verbs.read_only and self.shared.actions >= policy.max_actions:
            return Status.BUDGET, f"the policy's {policy.max_actions} actions are used up"
        if self.shared.looks >= policy.max_looks:
            return Status.BUDGET, f"the policy's {policy.max_looks} looks are used up"
        if verb != "goto" and self.page.url.startswith("chrome-error:"):
            return (
                Status.ERROR,
                "the page shows the browser's own error page: the last address did not answer or refused the connection; "
                "open one with goto()",
            )
        if verb != "goto" and not self.rules.page(self.page.url):
            return (
                Status.BLOCKED_ORIGIN,
                f"the page is at {self.page.url[:200]}, which the policy does not allow: "
                f"allowed are {', '.join(map(str, self.rules.pages)) or 'no origins'}",
            )
        return None

    def hide(self, text: str) -> None:
        """Let no screenshot, log or answer show `text` from now on."""
        if text not in self.shared.hidden:
            self.shared.hidden.append(text)
            self.shared.masker = SecretRedactor(self.shared.hidden)
