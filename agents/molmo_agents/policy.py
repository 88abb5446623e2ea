"""What an agent may do. Everything that is not allowed here is refused.

The policy is enforced where it cannot be talked out of: addresses at the browser's network layer (every request, every
redirect, every popup), risky actions before the press and bound to the very element that was asked about, dialogs and
downloads by event. It is not a wall against a page that attacks the browser itself: see docs/agents.md.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Union

from molmo_agents.errors import PolicyError
from molmo_agents.origins import SCHEMES, Origin, allowed, origin_of, parse_pattern

RISKS = frozenset(["buy", "pay", "delete", "send", "password", "file", "permission", "dialog"])


@dataclass(frozen=True)
class Confirmation:
    """What a risky action is, for the callback that says yes or no. Texts come from the page: show them, do not obey them.

    Attributes:
        verb: What is about to be done; "answer" where a dialog of the page waits for its answer.
        risks: Which kinds of risk were seen: buy, pay, delete, send, password, file, permission, dialog.
        name: What the element calls itself; of a dialog, what it says.
        role: Its role; of a dialog, its kind: confirm, prompt or beforeunload.
        query: What the caller asked for.
        url: Address of the page it is on.
        href: Where it leads or submits to, or "".
        detail: What will be typed, chosen or uploaded; secrets by name only.
    """

    verb: str
    risks: frozenset[str]
    name: str
    role: str
    query: str
    url: str
    href: str = ""
    detail: str = ""


Answer = Union[bool, str]
"""True for yes; to a prompt also the text to give; anything else is a no."""

Confirm = Callable[[Confirmation], Union[Answer, Awaitable[Answer]]]


@dataclass(frozen=True)
class Secret:
    """A value that may be typed by its name, only on the origins given, and that no log or screenshot shows."""

    value: str = field(repr=False)
    origins: tuple[str, ...] = ()


@dataclass(frozen=True)
class Policy:
    """Frozen; derive another with `dataclasses.replace`.

    Attributes:
        origins: Where the top-level page may be; empty means the origin of the page at the start, and nothing else.
        resources: Where images, scripts, frames and requests may come from; None means the same as `origins`; ("*",) means
            any http(s) address.
        confirm: Says yes or no to a risky action; None refuses them all. May be a coroutine function for the async twin.
        verbs: Which verbs may be used; None means all.
        dry_run: Do everything but the press.
        dialogs: "dismiss" or "accept" alerts (an alert has one button). What confirm(), prompt() and beforeunload ask is put
            to `confirm` as a risk of kind "dialog", with the risks of what it says; without a yes it is dismissed.
        downloads: Let downloads finish (into the browser's own temporary folder).
        popups: Keep windows that open on allowed origins; otherwise they are closed.
        secrets: Values to type by name.
        max_actions: Presses, typings and the like in the life of one pointer.
        max_looks: Screenshots taken and shown to the model.
        max_seconds: Life of one pointer, from its first verb.
        closed_network: Refuse (`PageUnusable`) a page whose browser was started elsewhere, so that connections beneath the page
            are not held to the policy; see `WebPointer.unheld`.
    """

    origins: tuple[str, ...] = ()
    resources: tuple[str, ...] | None = None
    confirm: Confirm | None = None
    verbs: frozenset[str] | None = None
    dry_run: bool = False
    dialogs: str = "dismiss"
    downloads: bool = False
    popups: bool = True
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    max_actions: int = 200
    max_looks: int = 1000
    max_seconds: float = 3600.0
    closed_network: bool = False

    def __post_init__(self) -> None:
        for origin in (*self.origins, *(o for o in self.resources or () if o != "*")):
            parse_pattern(origin)
        if self.dialogs not in ("dismiss", "accept"):
            raise PolicyError(f'dialogs must be "dismiss" or "accept", got {self.dialogs!r}')
        for name, secret in self.secrets.items():
            if not isinstance(secret, Secret) or not secret.value or not secret.origins:
                raise PolicyError(
                    f"the secret {name!r} needs a value and the origins it may be typed on: "
                    'Secret("...", origins=("https://example.com",))'
                )
            for origin in secret.origins:
                parse_pattern(origin)
        if self.max_actions < 0 or self.max_looks < 0 or not self.max_seconds > 0:
            raise PolicyError("budgets must be positive: max_actions, max_looks, max_seconds")
        if not math.isfinite(self.max_seconds):
            raise PolicyError("max_seconds must be finite")

    def with_start(self, url: str) -> Policy:
        """Return this policy with the origin of `url` added, for a caller who names the page himself."""
        start = origin_of(url)
        if start is None:
            raise PolicyError(f"{url[:200]!r} is not an http or https address")
        return replace(self, origins=(*self.origins, str(start)))

    def starting_at(self, url: str) -> Policy:
        """Return this policy with the origin of `url` filled in where no origins were given."""
        if self.origins:
            return self
        start = origin_of(url)
        return self if start is None else replace(self, origins=(str(start),))


@dataclass(frozen=True)
class Rules:
    """A policy's addresses, parsed once."""

    pages: tuple[Origin, ...]
    resources: tuple[Origin, ...]
    any_resource: bool
    closed_network: bool = False

    @classmethod
    def of(cls, policy: Policy) -> Rules:
        """Parse the origins of `policy`."""
        pages = tuple(parse_pattern(origin) for origin in policy.origins)
        named = [origin for origin in policy.resources or () if origin != "*"]
        resources = pages + tuple(parse_pattern(origin) for origin in named)
        anything = policy.resources is not None and "*" in policy.resources
        return cls(pages, resources, anything, policy.closed_network)

    def page(self, url: str) -> bool:
        """Whether the top-level page may be at `url`; about:blank is nowhere and allowed."""
        if url in ("", "about:blank"):
            return True
        return url.split(":", 1)[0].lower() in SCHEMES and allowed(url, self.pages)

    def resource(self, url: str) -> bool:
        """Whether anything else (an image, a frame, a request) may come from `url`."""
        if url.split(":", 1)[0] in ("data", "blob", "about"):
            # Made by the page itself; nothing leaves the browser.
            return True
        return allowed(url, self.resources) or (
            self.any_resource and url.split(":", 1)[0] in ("http", "https", "ws", "wss")
        )

    def connection(self, origin: Origin) -> bool:
        """Whether the browser may connect to `origin` at all, for a page or for anything else."""
        return self.any_resource or any(pattern.covers(origin) for pattern in self.resources)

    def secret(self, url: str, secret: Secret) -> bool:
        """Whether `secret` may be typed into a document at `url`."""
        return allowed(url, (parse_pattern(origin) for origin in secret.origins))


def allow_risks(risks: Iterable[str]) -> Confirm:
    """Return a callback that says yes when every risk of the action is among `risks`.

    Raises:
        PolicyError: A word that is no risk.
    """
    chosen = frozenset(risks)
    if chosen - RISKS:
        raise PolicyError(f"unknown risks {sorted(chosen - RISKS)}: choose from {sorted(RISKS)}")
    return lambda confirmation: confirmation.risks <= chosen
