"""Typing into a field. Success is what the field holds afterwards, read back and compared with what was meant."""

from __future__ import annotations

from dataclasses import dataclass, replace

from molmo_agents.browser.documents import IsolatedWorld
from molmo_agents.defaults import SECOND_READING_S
from molmo_agents.drivers.steps import Steps, call, pause
from molmo_agents.outcome import Effects, Outcome, Status
from molmo_agents.playwright_types import Json
from molmo_agents.progress import OutcomeBuilder, Query, VerbFailed
from molmo_agents.risk import risks_of
from molmo_agents.session import Session
from molmo_agents.target.click import Guard, dispatch_guarded, led_away
from molmo_agents.target.conceal import conceal
from molmo_agents.target.confirmation import Agreement, confirm_risk
from molmo_agents.target.hover import hover_still, mouse
from molmo_agents.target.targeting import AcquiredTarget, acquire_target, with_locator
from molmo_agents.target.verdicts import EventReport
from molmo_agents.verbs.held import holds
from molmo_agents.verbs.hidden_field import type_into_editor
from molmo_agents.verbs.keystrokes import SLOW_TYPING, at_once, letter_by_letter
from molmo_agents.verbs.leaving import leave

TEXT_TYPES = frozenset(["text", "search", "email", "url", "tel", "password", "number", "textarea"])
VALUE_TYPES = frozenset(["date", "datetime-local", "month", "week", "time", "color", "range"])
READS = 10
"""How often a field that does not hold the text is read again, a twentieth of a second apart: some pages format late."""


@dataclass(frozen=True)
class Typing:
    """What to type.

    Attributes:
        text: The text itself.
        secret: Name of the secret it is, or "".
        clear: Replace what the field holds.
        submit: Press Enter afterwards.
        expect_name: What the caller expects the field to be called.
    """

    text: str
    secret: str = ""
    clear: bool = True
    submit: bool = False
    expect_name: str | None = None

    @property
    def shown(self) -> str:
        """How it is reported."""
        return f"<secret:{self.secret}>" if self.secret else self.text


def type_text(s: Session, p: OutcomeBuilder, query: Query, what: Typing) -> Steps[Outcome]:
    """Type into a field; delivered when the field holds the text afterwards."""
    target = yield from field_at(s, p, query, "type", what.expect_name)
    raw = target.hit.raw
    kind = raw["input_type"] or raw["control_tag"]
    is_value = raw["control_tag"] == "input" and kind in VALUE_TYPES
    if not (
        is_value
        or raw["editable"]
        or (raw["control_tag"] in ("input", "textarea") and kind in TEXT_TYPES)
    ):
        if not (yield from s.worlds.ask(target.resolved.leaf.world, "editorAt")):
            raise VerbFailed(
                Status.NO_ACTIONABLE, f"<{raw['tag']}> {raw['name']!r} is not a text field"
            )
        return (yield from _editor(s, p, target, what))
    if raw["read_only"]:
        raise VerbFailed(Status.DISABLED, f"the field {raw['name']!r} is read-only")
    if "\n" in what.text and raw["control_tag"] == "input":
        raise VerbFailed(
            Status.ERROR,
            "the text has a line break but the field one line: use submit=True to press Enter",
        )
    if what.secret and not s.rules.secret(raw["url"], s.policy.secrets[what.secret]):
        raise VerbFailed(
            Status.BLOCKED_ORIGIN,
            f"the secret {what.secret!r} may not be typed at {raw['url'][:200]}",
        )
    if what.secret or kind == "password":
        yield from conceal(s, target, what.text)
    asked = yield from confirm_risk(s, p, target, "submit" if what.submit else "type", what.shown)
    hidden = kind == "password" and not what.secret
    shown = "<password>" if hidden else what.shown
    p.fields["playwright"] = (
        p.place.value(shown) if is_value else p.place.type(shown, what.clear, what.submit)
    )
    if s.policy.dry_run:
        return p.outcome(Status.READY, "dry run: nothing was typed")
    if is_value:
        return (yield from _set_value(s, p, target, what))
    target = yield from _focus(s, p, target, what.expect_name, asked)
    return (yield from _type(s, p, target, what, asked))


def _editor(s: Session, p: OutcomeBuilder, target: AcquiredTarget, what: Typing) -> Steps[Outcome]:
    """Type into an editor that takes keys in a text area that nobody sees."""
    if what.secret:
        raise VerbFailed(
            Status.NO_ACTIONABLE, "an editor shows what it is given: no secret is typed there"
        )
    if what.submit:
        raise VerbFailed(
            Status.ERROR, "Enter begins a new line in an editor: type without submit=True"
        )
    agreed = yield from confirm_risk(s, p, target, "type", what.text)
    p.fields["playwright"] = replace(p.place, locator="").type(what.text, what.clear, False)
    if s.policy.dry_run:
        return p.outcome(Status.READY, "dry run: nothing was typed")
    still, _, effects = yield from _press_into(s, p, target, what.expect_name, agreed)
    if not (yield from s.worlds.ask(still.resolved.leaf.world, "enterEditor")):
        raise VerbFailed(
            Status.MISSED, "the editor did not take the focus: nothing was typed", effects=effects
        )
    return (yield from type_into_editor(s, p, still, what.text, what.clear))


def field_at(
    s: Session, p: OutcomeBuilder, query: Query, verb: str, expect_name: str | None
) -> Steps[AcquiredTarget]:
    """Aim at a field for `verb`."""
    target = yield from acquire_target(s, p, query, verb=verb, expect_name=expect_name)
    yield from with_locator(s, p, target)
    return target


def _focus(
    s: Session,
    p: OutcomeBuilder,
    target: AcquiredTarget,
    expect_name: str | None,
    agreed: Agreement | None,
) -> Steps[AcquiredTarget]:
    """Click into the field and see that it has the focus."""
    still, report, effects = yield from _press_into(s, p, target, expect_name, agreed)
    now = None
    if not report.blocked and not report.lost:
        now = yield from s.worlds.ask(still.resolved.leaf.world, "readField")
    if now is None or not now["focused"]:
        raise VerbFailed(
            Status.MISSED, "the field did not take the focus: nothing was typed", effects=effects
        )
    return still


def _press_into(
    s: Session,
    p: OutcomeBuilder,
    target: AcquiredTarget,
    expect_name: str | None,
    agreed: Agreement | None,
) -> Steps[tuple[AcquiredTarget, EventReport, Effects]]:
    with p.timed("hover"):
        still = yield from hover_still(s, target, "type", expect_name, agreed)
    if still is None:
        raise VerbFailed(Status.UNSTABLE, "the field did not stand still under the pointer")

    def gesture(s: Session, aimed: AcquiredTarget) -> Steps[None]:
        yield from mouse(s, "mousePressed", aimed.x, aimed.y, "left", 1)
        yield from mouse(s, "mouseReleased", aimed.x, aimed.y, "left", 1)

    report, effects = yield from dispatch_guarded(s, p, still, gesture, Guard(agreed=agreed))
    refused = led_away(s, p, effects)
    if refused is not None:
        raise VerbFailed(refused.status, refused.message, delivered=True, effects=effects)
    return still, report, effects


@dataclass
class _Typed:
    """What came of the keys, for the judgement after them."""

    before: str = ""
    held: str = ""
    good: bool = False
    stopped: str = ""
    left: bool = False

    def meant(self, what: Typing) -> str:
        """What the field should hold."""
        return what.text if what.clear else self.before + what.text


def _type(
    s: Session, p: OutcomeBuilder, target: AcquiredTarget, what: Typing, agreed: Agreement | None
) -> Steps[Outcome]:
    """Put the text in, press Enter only where the field then holds it, and judge by what it holds."""
    world = target.resolved.leaf.world
    done = _Typed()

    def gesture(s: Session, aimed: AcquiredTarget) -> Steps[None]:
        yield from s.worlds.ask(world, "beginTyping")
        done.before = str((yield from s.worlds.ask(world, "readField"))["held"])
        done.stopped = yield from _keys(s, world, what)
        done.good = yield from _read_back(s, target, what, done)
        if done.good and not what.submit:
            yield from _leave(s, target, what, done, agreed)
        if what.submit and done.good:
            done.stopped = yield from _other_enter(s, target, agreed)
        if what.submit and done.good and not done.stopped:
            s.watch.record.navigations = 0
            yield from call(s.page.keyboard, "press", "Enter")

    report, effects = yield from dispatch_guarded(s, p, target, gesture, Guard(keys=True))
    refused = led_away(s, p, effects)
    if refused is not None:
        return refused
    if done.good and not what.submit and not effects.navigated and not done.left:
        yield from pause(s.page, SECOND_READING_S)
        done.good = yield from _read_back(s, target, what, done, 1)
    return _judge(p, target, what, done, report, effects)


def _other_enter(s: Session, target: AcquiredTarget, agreed: Agreement | None) -> Steps[str]:
    """Say that Enter does something risky by now that nobody agreed to: typing may change what the form's buttons say; or ""."""
    now = yield from s.worlds.ask(target.resolved.leaf.world, "enterFacts")
    facts = replace(
        target.hit.facts(),
        form_texts=tuple(now["form_texts"]),
        form_password=now["form_password"],
        form_card=now["form_card"],
    )
    more = risks_of("submit", facts) - (frozenset() if agreed is None else agreed.risks)
    return f"Enter may {', '.join(sorted(more))} by now, which nobody agreed to" if more else ""


def _keys(s: Session, world: IsolatedWorld, what: Typing) -> Steps[str]:
    """Put the text in; return why it stopped, or ""."""
    if what.secret or "\n" in what.text or len(what.text) > SLOW_TYPING:
        return (yield from at_once(s, world, what.text, what.clear))
    yield from s.worlds.ask(world, "caret", what.clear)
    if what.clear and not what.text:
        yield from call(s.page.keyboard, "press", "Delete")
    return (yield from letter_by_letter(s, world, what.text))


def _leave(
    s: Session, target: AcquiredTarget, what: Typing, done: _Typed, agreed: Agreement | None
) -> Steps[None]:
    """Leave a field that acts when it is left, and see what it keeps; not where that may do something nobody agreed to."""
    if (yield from _other_enter(s, target, agreed)):
        return
    meant, kind = done.meant(what), target.hit.raw["input_type"]
    world = target.resolved.leaf.world
    kept = yield from leave(s, world, done.held, lambda held: holds(meant, held, kind))
    if kept is not None:
        done.left = True
        done.held, done.good = kept


def _read_back(
    s: Session, target: AcquiredTarget, what: Typing, done: _Typed, reads: int = READS
) -> Steps[bool]:
    """Read what the field holds; repeat for a short time where that is not yet the text."""
    kind = target.hit.raw["input_type"]
    for _ in range(1 if done.stopped else reads):
        now = yield from s.worlds.ask(target.resolved.leaf.world, "readField")
        done.held = str(now["held"])
        if holds(done.meant(what), done.held, kind):
            return not done.stopped
        yield from pause(s.page, 0.05)
    return False


def _judge(
    p: OutcomeBuilder,
    target: AcquiredTarget,
    what: Typing,
    done: _Typed,
    report: EventReport,
    effects: Effects,
) -> Outcome:
    """Say whether the field held the text, and whether Enter arrived where it was wanted."""
    stopped = done.stopped
    if report.strayed and not stopped:
        stopped = f"keys went to {report.strayed}: they were stopped"
    if stopped or not done.good:
        why = stopped or "the field does not hold what was typed"
        if done.left and not stopped:
            why = "the page did not keep it when the field was left"
        hidden = what.secret or target.hit.raw["input_type"] == "password"
        if not stopped and not hidden:
            why += f": it holds {done.held[:80]!r}"
        why += "; Enter was not pressed" if what.submit else ""
        return p.outcome(Status.MISSED, why, effects=effects)
    if what.submit:
        if report.lost or effects.navigated or "keydown" in report.log:
            return p.outcome(Status.DELIVERED, delivered=True, effects=effects)
        return p.outcome(Status.MISSED, "the Enter key did not reach the field", effects=effects)
    same = done.held == done.meant(what)
    message = "" if same or done.left else "the page writes it its own way"
    return p.outcome(Status.DELIVERED, message, delivered=True, effects=effects)


def _set_value(
    s: Session, p: OutcomeBuilder, target: AcquiredTarget, what: Typing
) -> Steps[Outcome]:
    held: Json = {}

    def gesture(s: Session, aimed: AcquiredTarget) -> Steps[None]:
        held.update((yield from s.worlds.ask(aimed.resolved.leaf.world, "setValue", what.text)))

    _, effects = yield from dispatch_guarded(s, p, target, gesture, Guard(keys=True))
    refused = led_away(s, p, effects)
    if refused is not None:
        return refused
    if not held.get("refused", True) and not effects.navigated:
        yield from pause(s.page, SECOND_READING_S)
        world = target.resolved.leaf.world
        held["value"] = (yield from s.worlds.ask(world, "readField"))["held"]
    if not held.get("refused", True) and (held["value"] == held["wanted"] or effects.navigated):
        return p.outcome(Status.DELIVERED, delivered=True, effects=effects)
    kind = target.hit.raw["input_type"]
    instead = f" (it would hold {held['instead']!r})" if held.get("instead") else ""
    return p.outcome(
        Status.MISSED,
        f"a field of type {kind} does not take {what.shown!r}{instead}",
        effects=effects,
    )
