"""May this be done to that element: where it leads, how risky it is, and what the caller says to that.

The question is asked before anything is pressed, and the answer holds for that very element, in that document, with that
name and address: when any of it changed while somebody was thinking, nothing is pressed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from molmo_agents.drivers.steps import AskUser, Steps
from molmo_agents.outcome import Status
from molmo_agents.playwright_types import Json
from molmo_agents.policy import Confirmation
from molmo_agents.progress import OutcomeBuilder, VerbFailed
from molmo_agents.risk import risks_of
from molmo_agents.session import Session
from molmo_agents.target.targeting import AcquiredTarget, hit_at, with_hit


def check_address(s: Session, target: AcquiredTarget) -> None:
    """Halt where the element leads to an address that the policy does not allow."""
    href = target.hit.raw["href"]
    if target.hit.raw.get("download") and href.split(":", 1)[0] in ("blob", "data"):
        # What the page made itself becomes a file, if the policy lets it: the page stays where it is.
        return
    if href and not href.startswith("javascript:") and not s.rules.page(href):
        raise VerbFailed(
            Status.BLOCKED_ORIGIN, f"it leads to {href[:200]}, which the policy does not allow"
        )


MONEY = frozenset({"buy", "pay", "send"})
"""Risks of which a yes is bound to the prices beside the element, too: a checkout may end with "Confirm", money is sent."""


@dataclass(frozen=True)
class Agreement:
    """What somebody said yes to.

    Attributes:
        risks: The kinds of risk that were named.
        meaning: What the element said; see `confirmed_identity`.
        sends: Digest of the values of its form; "" where it has none.
        prices: The prices that stand nearest to it; None where the action costs nothing.
        acts: Digests of what it acts on: the attributes that say what a press does, the words of its row or card, and without a
            form the fields beside it.
    """

    risks: frozenset[str]
    meaning: str
    sends: str
    prices: str | None
    acts: frozenset[str]

    def holds_for(self, now: Agreement) -> bool:
        """Whether it is the same action `now`; a row may have got further words and attributes."""
        return replace(now, acts=self.acts) == self and self.acts <= now.acts


def agreement(s: Session, target: AcquiredTarget, risks: frozenset[str]) -> Steps[Agreement]:
    """Return what a yes to these risks of `target`, as it is now, is bound to."""
    terms = yield from s.worlds.ask(target.resolved.leaf.world, "terms")
    prices = str(terms["prices"]) if risks & MONEY else None
    return Agreement(
        risks,
        confirmed_identity(target.hit.raw),
        str(terms["sends"]),
        prices,
        frozenset(map(str, terms["acts"])),
    )


def confirm_risk(
    s: Session,
    p: OutcomeBuilder,
    target: AcquiredTarget,
    verb: str,
    detail: str = "",
    more: tuple[str, ...] = (),
) -> Steps[Agreement | None]:
    """Ask the caller about a risky action; halt unless the answer is yes and the element is still the one asked about.

    Args:
        s: The session.
        p: The verb's progress.
        target: The element.
        verb: What is about to be done with it.
        detail: What will be typed, chosen or uploaded, without secrets.
        more: Texts that count for the risk besides the element's own.

    Returns:
        What somebody said yes to, or None when nobody needed to.
    """
    facts = target.hit.facts()
    risks = risks_of(verb, replace(facts, texts=facts.texts + more))
    if not risks:
        return None
    listed = ", ".join(sorted(risks))
    if s.policy.confirm is None:
        raise VerbFailed(
            Status.NEEDS_CONFIRMATION, f"this may {listed}: give the policy a confirm callback"
        )
    raw = target.hit.raw
    world = target.resolved.leaf.world
    yield from s.worlds.ask(world, "keep", True)
    asked = yield from agreement(s, target, risks)
    question = Confirmation(
        verb, risks, called(raw), raw["role"], p.query, raw["url"], raw["href"], detail
    )
    answer = yield AskUser(s.policy.confirm, (s.masker.confirmation(question),))
    if answer is not True:
        raise VerbFailed(Status.NEEDS_CONFIRMATION, f"this may {listed}, and the answer was no")
    now = with_hit(target, (yield from hit_at(s, target.x, target.y, verb)))
    if (
        now.hit.nothing
        or not is_same_element(now)
        or not asked.holds_for((yield from agreement(s, now, risks)))
    ):
        raise VerbFailed(
            Status.UNSTABLE, "the element changed while it was asked about: nothing was pressed"
        )
    return asked


def called(raw: Json) -> str:
    """What a person is asked about: the name, and what the element shows where that is something else."""
    name, visible = str(raw["name"]), str(raw["visible"])
    if not visible or not name or visible in name or name in visible:
        return name or visible
    return f"{name} ({visible})"


def confirmed_identity(raw: Json) -> str:
    """What a yes is bound to, besides the element itself: name, everything it shows and says, where it leads, what it sends."""
    return str(raw["meaning"])


def is_same_element(target: AcquiredTarget) -> bool:
    """Whether the element aimed at is the very one held on to before."""
    return bool(target.hit.raw["kept"])
