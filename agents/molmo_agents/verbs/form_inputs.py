"""The verbs for other form fields: select and check. Success is what the field holds afterwards, read back."""

from __future__ import annotations

from collections.abc import Sequence

from molmo_agents.browser.documents import WorldLost
from molmo_agents.defaults import SECOND_READING_S
from molmo_agents.drivers.steps import Steps, pause
from molmo_agents.outcome import Outcome, Status
from molmo_agents.playwright_types import Json
from molmo_agents.progress import OutcomeBuilder, Query, VerbFailed
from molmo_agents.session import Session
from molmo_agents.target.click import ClickOptions, Guard, dispatch_guarded, led_away, press
from molmo_agents.target.confirmation import confirm_risk
from molmo_agents.target.targeting import AcquiredTarget
from molmo_agents.verbs.text_entry import field_at

CHECK_ROLES = frozenset(["checkbox", "radio", "switch", "menuitemcheckbox", "menuitemradio"])


def select(s: Session, p: OutcomeBuilder, query: Query, options: Sequence[str]) -> Steps[Outcome]:
    """Choose from a list: a native one by its options, any other by opening it and pressing the option."""
    target = yield from field_at(s, p, query, "select", None)
    yield from confirm_risk(s, p, target, "select", ", ".join(options), tuple(options))
    if s.policy.dry_run:
        return p.outcome(Status.READY, "dry run: nothing was chosen")
    if target.hit.raw["control_tag"] != "select":
        return (yield from _select_by_pressing(s, p, target, query, options))
    p.fields["playwright"] = p.place.select(options)
    answer: Json = {}

    def gesture(s: Session, aimed: AcquiredTarget) -> Steps[None]:
        answer.update(
            (yield from s.worlds.ask(aimed.resolved.leaf.world, "chooseOptions", list(options)))
        )

    _, effects = yield from dispatch_guarded(s, p, target, gesture, Guard(keys=True))
    refused = led_away(s, p, effects)
    if refused is not None:
        return refused
    if "missing" in answer:
        raise VerbFailed(
            Status.ABSENT,
            f"no option {answer['missing']!r}: there are {answer['options']}",
            effects=effects,
        )
    if "disabled" in answer:
        raise VerbFailed(
            Status.DISABLED, f"the option {answer['disabled']!r} is disabled", effects=effects
        )
    if "several" in answer:
        raise VerbFailed(
            Status.AMBIGUOUS,
            f"several options are called {answer['several']!r}: name one by its value",
            effects=effects,
        )
    if "single" in answer:
        raise VerbFailed(
            Status.ERROR, "the list takes one option, several were given", effects=effects
        )
    kept = effects.navigated or (
        answer.get("held") and (yield from _still_chosen(s, target, answer))
    )
    if not kept:
        return p.outcome(Status.MISSED, "the list did not keep the option", effects=effects)
    message = "" if answer.get("changed") else "it was chosen already"
    return p.outcome(Status.DELIVERED, message, delivered=True, effects=effects)


def _still_chosen(s: Session, target: AcquiredTarget, answer: Json) -> Steps[bool]:
    """Whether the list still shows the chosen options shortly afterwards; a list that is gone by then counts as such."""
    yield from pause(s.page, SECOND_READING_S)
    try:
        return (
            yield from s.worlds.ask(target.resolved.leaf.world, "chosenNow", answer["indexes"])
        ) is not False
    except WorldLost:
        return True


def _select_by_pressing(
    s: Session, p: OutcomeBuilder, target: AcquiredTarget, query: Query, options: Sequence[str]
) -> Steps[Outcome]:
    parts: list[Outcome] = []
    if not target.hit.raw["expanded"]:
        # One that is open already would be shut by another press.
        parts.append(
            (yield from press(s, OutcomeBuilder("click", p.query), query, ClickOptions()))
        )
    for option in options:
        if parts and not parts[-1].ok:
            break
        step = OutcomeBuilder("click", option)
        try:
            parts.append((yield from press(s, step, option, ClickOptions(expect_name=option))))
        except VerbFailed as halt:
            parts.append(step.outcome(halt.status, halt.message, **halt.fields))
    last = parts[-1]
    p.fields["playwright"] = "; ".join(part.playwright for part in parts if part.playwright)
    return p.outcome(
        last.status,
        last.message,
        delivered=last.delivered,
        effects=last.effects,
        parts=tuple(parts),
    )


def check(s: Session, p: OutcomeBuilder, query: Query, on: bool) -> Steps[Outcome]:
    """Make a checkbox, radio button or switch be on or off; delivered when it is."""
    target = yield from field_at(s, p, query, "check", None)
    raw = target.hit.raw
    if raw["role"] not in CHECK_ROLES and raw["input_type"] not in CHECK_ROLES:
        raise VerbFailed(Status.NO_ACTIONABLE, f"<{raw['tag']}> {raw['name']!r} cannot be checked")
    if raw["checked"] is on:
        return p.outcome(Status.DELIVERED, "it was so already", delivered=True)
    if not on and "radio" in (raw["input_type"], raw["role"]):
        raise VerbFailed(
            Status.NO_ACTIONABLE, "a radio button is switched off by choosing another one"
        )
    p.attempts = 0
    outcome = yield from press(s, p, query, ClickOptions(verb="check"))
    line = p.place.check(on)
    if outcome.status is not Status.DELIVERED or outcome.effects.navigated:
        return outcome.with_(playwright=line)
    for _ in range(20):
        # The element itself is asked, wherever it is by now: another one may have taken its place.
        if (yield from _kept_state(s, target)) is on:
            break
        yield from pause(s.page, 0.05)
    yield from pause(s.page, SECOND_READING_S)
    known = yield from _kept_state(s, target)
    if known is on:
        return outcome.with_(playwright=line)
    message = "it was pressed but did not stay as it should be"
    if known is None:
        message = "it was pressed, but the page redrew itself and does not say whether it is on"
    return outcome.with_(status=Status.MISSED, message=message, playwright=line)


def _kept_state(s: Session, target: AcquiredTarget) -> Steps[bool | None]:
    try:
        state = yield from s.worlds.ask(target.resolved.leaf.world, "keptState")
    except WorldLost:
        return None
    return None if state is None else bool(state)
