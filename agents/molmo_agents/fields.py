"""The verbs for form fields: type, select, check, upload. Success is what the field holds afterwards, read back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from molmo_agents.aim import Aim, Halt, Progress, Query, aim, hit_at, with_locator
from molmo_agents.conceal import conceal
from molmo_agents.decide import Report
from molmo_agents.hover import hover_still, mouse
from molmo_agents.outcome import Effects, Outcome, Result
from molmo_agents.permission import permit
from molmo_agents.press import Press, guarded, press
from molmo_agents.session import Session
from molmo_agents.steps import Steps, call, pause

TEXT_TYPES = frozenset(["text", "search", "email", "url", "tel", "password", "number", "textarea"])
VALUE_TYPES = frozenset(["date", "datetime-local", "month", "week", "time", "color", "range"])
CHECK_ROLES = frozenset(["checkbox", "radio", "switch", "menuitemcheckbox", "menuitemradio"])
SLOW_TYPING = 200
"""Texts up to this length are typed key by key, so that suggestions and formatting see every key; longer ones at once."""


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


def type_text(s: Session, p: Progress, query: Query, what: Typing) -> Steps[Outcome]:
    """Type into a field; delivered when the field holds the text afterwards."""
    target = yield from _field(s, p, query, "type", what.expect_name)
    raw = target.hit.raw
    kind = raw["input_type"] or raw["control_tag"]
    is_value = raw["control_tag"] == "input" and kind in VALUE_TYPES
    if not (
        is_value
        or raw["editable"]
        or (raw["control_tag"] in ("input", "textarea") and kind in TEXT_TYPES)
    ):
        raise Halt(Result.NO_ACTIONABLE, f"<{raw['tag']}> {raw['name']!r} is not a text field")
    if raw["read_only"]:
        raise Halt(Result.DISABLED, f"the field {raw['name']!r} is read-only")
    if "\n" in what.text and raw["control_tag"] == "input":
        raise Halt(
            Result.ERROR,
            "the text has a line break but the field one line: use submit=True to press Enter",
        )
    if what.secret and not s.rules.secret(raw["url"], s.policy.secrets[what.secret]):
        raise Halt(
            Result.BLOCKED_ORIGIN,
            f"the secret {what.secret!r} may not be typed at {raw['url'][:200]}",
        )
    if what.secret or kind == "password":
        yield from conceal(s, target, what.text)
    yield from permit(s, p, target, "submit" if what.submit else "type", what.shown)
    if s.policy.dry_run:
        return p.outcome(Result.READY, "dry run: nothing was typed")
    if is_value:
        return (yield from _set_value(s, p, target, what))
    target = yield from _focus(s, p, target, what.expect_name)
    before = yield from s.worlds.ask(target.resolved.leaf.world, "readField")
    report, effects = yield from guarded(s, p, target, _keys(what), keys=True)
    return (yield from _typed(s, p, target, what, before, report, effects))


def _field(
    s: Session, p: Progress, query: Query, verb: str, expect_name: str | None
) -> Steps[Aim]:
    target = yield from aim(s, p, query, verb=verb, expect_name=expect_name)
    yield from with_locator(s, p, target)
    return target


def _focus(s: Session, p: Progress, target: Aim, expect_name: str | None) -> Steps[Aim]:
    """Click into the field and see that it has the focus."""
    with p.timed("hover"):
        still = yield from hover_still(s, target, "type", expect_name)
    if still is None:
        raise Halt(Result.UNSTABLE, "the field did not stand still under the pointer")

    def gesture(s: Session, aimed: Aim) -> Steps[None]:
        yield from mouse(s, "mousePressed", aimed.x, aimed.y, "left", 1)
        yield from mouse(s, "mouseReleased", aimed.x, aimed.y, "left", 1)

    report, effects = yield from guarded(s, p, still, gesture)
    now = None
    if not report.blocked and not report.lost:
        now = yield from s.worlds.ask(still.resolved.leaf.world, "readField")
    if now is None or not now["focused"]:
        raise Halt(
            Result.MISSED, "the field did not take the focus: nothing was typed", effects=effects
        )
    return still


def _keys(what: Typing) -> Any:
    def gesture(s: Session, target: Aim) -> Steps[None]:
        world, keyboard = target.resolved.leaf.world, s.page.keyboard
        if what.clear:
            yield from s.worlds.ask(world, "selectAll")
            if not what.text:
                yield from call(keyboard, "press", "Delete")
        if what.secret or "\n" in what.text or len(what.text) > SLOW_TYPING:
            # At once: a page cannot move the focus between two characters of a secret.
            yield from call(keyboard, "insert_text", what.text)
        elif what.text:
            yield from call(keyboard, "type", what.text, timeout_s=30.0)
        if what.submit:
            held = yield from s.worlds.ask(world, "readField")
            s.watch.record.navigations = 0
            if held["focused"]:
                yield from call(keyboard, "press", "Enter")

    return gesture


def _typed(
    s: Session,
    p: Progress,
    target: Aim,
    what: Typing,
    before: dict[str, Any],
    report: Report,
    effects: Effects,
) -> Steps[Outcome]:
    """Judge by what the field holds now; after Enter the field may be gone, then by the key that arrived."""
    p.fields["playwright"] = p.fields["playwright"].replace(".click()", "") + (
        f".fill({what.shown!r})" if what.clear else f".press_sequentially({what.shown!r})"
    )
    s.watch.record.requests = effects.requests
    if s.watch.record.blocked_pages:
        refused = s.watch.record.blocked_pages[0][:200]
        message = f"it led to {refused}, which the policy does not allow"
        return p.outcome(Result.BLOCKED_ORIGIN, message, delivered=True, effects=effects)
    if what.submit and (report.lost or effects.navigated or "keydown" in report.log):
        return p.outcome(Result.DELIVERED, delivered=True, effects=effects)
    now = yield from s.worlds.run(
        target.resolved.leaf.world,
        "() => { const e = molmo.field(); return { value: e.isContentEditable ? e.innerText : e.value }; }",
    )
    held = str(now["value"] or "")
    wanted = what.text if what.clear else None
    if held == wanted or (wanted is None and what.text in held):
        return p.outcome(Result.DELIVERED, delivered=True, effects=effects)
    if held.strip() == (wanted or "").strip() or (
        held and held != (before["text"] or before["value"])
    ):
        return p.outcome(
            Result.DELIVERED, "the page changed what was typed", delivered=True, effects=effects
        )
    return p.outcome(Result.MISSED, "the field does not hold what was typed", effects=effects)


def _set_value(s: Session, p: Progress, target: Aim, what: Typing) -> Steps[Outcome]:
    held: dict[str, Any] = {}

    def gesture(s: Session, aimed: Aim) -> Steps[None]:
        held.update((yield from s.worlds.ask(aimed.resolved.leaf.world, "setValue", what.text)))

    _, effects = yield from guarded(s, p, target, gesture, keys=True)
    if held.get("value") == what.text:
        return p.outcome(Result.DELIVERED, delivered=True, effects=effects)
    kind = target.hit.raw["input_type"]
    return p.outcome(
        Result.MISSED, f"a field of type {kind} does not take {what.shown!r}", effects=effects
    )


def select(s: Session, p: Progress, query: Query, options: Sequence[str]) -> Steps[Outcome]:
    """Choose from a list: a native one by its options, any other by opening it and pressing the option."""
    target = yield from _field(s, p, query, "select", None)
    yield from permit(s, p, target, "select", ", ".join(options), tuple(options))
    if s.policy.dry_run:
        return p.outcome(Result.READY, "dry run: nothing was chosen")
    if target.hit.raw["control_tag"] != "select":
        return (yield from _select_by_pressing(s, p, query, options))
    answer: dict[str, Any] = {}

    def gesture(s: Session, aimed: Aim) -> Steps[None]:
        answer.update(
            (yield from s.worlds.ask(aimed.resolved.leaf.world, "chooseOptions", list(options)))
        )

    _, effects = yield from guarded(s, p, target, gesture, keys=True)
    p.fields["playwright"] = p.fields["playwright"].replace(
        ".click()", f".select_option({list(options)!r})"
    )
    if "missing" in answer:
        raise Halt(
            Result.ABSENT,
            f"no option {answer['missing']!r}: there are {answer['options']}",
            effects=effects,
        )
    if "disabled" in answer:
        raise Halt(
            Result.DISABLED, f"the option {answer['disabled']!r} is disabled", effects=effects
        )
    if "single" in answer:
        raise Halt(Result.ERROR, "the list takes one option, several were given", effects=effects)
    if not answer.get("held") and not effects.navigated:
        return p.outcome(Result.MISSED, "the list did not keep the option", effects=effects)
    message = "" if answer.get("changed") else "it was chosen already"
    return p.outcome(Result.DELIVERED, message, delivered=True, effects=effects)


def _select_by_pressing(
    s: Session, p: Progress, query: Query, options: Sequence[str]
) -> Steps[Outcome]:
    parts = [(yield from press(s, Progress("click", p.query), query, Press()))]
    for option in options:
        if not parts[-1].ok:
            break
        step = Progress("click", option)
        try:
            parts.append((yield from press(s, step, option, Press(expect_name=option))))
        except Halt as halt:
            parts.append(step.outcome(halt.status, halt.message, **halt.fields))
    last = parts[-1]
    return p.outcome(
        last.status,
        last.message,
        delivered=last.delivered,
        effects=last.effects,
        parts=tuple(parts),
    )


def check(s: Session, p: Progress, query: Query, on: bool) -> Steps[Outcome]:
    """Make a checkbox, radio button or switch be on or off; delivered when it is."""
    target = yield from _field(s, p, query, "check", None)
    raw = target.hit.raw
    if raw["role"] not in CHECK_ROLES and raw["input_type"] not in CHECK_ROLES:
        raise Halt(Result.NO_ACTIONABLE, f"<{raw['tag']}> {raw['name']!r} cannot be checked")
    if raw["checked"] is on:
        return p.outcome(Result.DELIVERED, "it was so already", delivered=True)
    if not on and "radio" in (raw["input_type"], raw["role"]):
        raise Halt(Result.NO_ACTIONABLE, "a radio button is switched off by choosing another one")
    place = target
    p.attempts = 0
    outcome = yield from press(s, p, query, Press(verb="check"))
    if outcome.status is not Result.DELIVERED or outcome.effects.navigated:
        return outcome
    for _ in range(20):
        now = yield from hit_at(s, *(outcome.point or (place.x, place.y)))
        if now.hit.raw.get("checked") is on:
            return outcome
        yield from pause(s.page, 0.05)
    return outcome.with_(status=Result.MISSED, message="it was pressed but did not change")


def upload(s: Session, p: Progress, query: Query, files: Sequence[str]) -> Steps[Outcome]:
    """Give files to a file field, or to the file window that a button opens."""
    target = yield from _field(s, p, query, "upload", None)
    names = [path.replace("\\", "/").rsplit("/", 1)[-1] for path in files]
    yield from permit(s, p, target, "upload", ", ".join(names))
    if s.policy.dry_run:
        return p.outcome(Result.READY, "dry run: nothing was uploaded")
    raw = target.hit.raw
    if raw["control_tag"] != "input" or raw["input_type"] != "file":
        return (yield from _upload_by_window(s, p, target, files))
    if len(files) > 1 and not raw["multiple"]:
        raise Halt(Result.ERROR, f"the field takes one file, {len(files)} were given")

    def gesture(s: Session, aimed: Aim) -> Steps[None]:
        world = aimed.resolved.leaf.world
        field = yield from s.worlds.object_id(world, "molmo.field()")
        yield from s.worlds.send(
            world.session, "DOM.setFileInputFiles", files=list(files), objectId=field
        )

    _, effects = yield from guarded(s, p, target, gesture, keys=True)
    if effects.navigated:
        return p.outcome(Result.DELIVERED, delivered=True, effects=effects)
    held = yield from s.worlds.run(
        target.resolved.leaf.world, "() => [...molmo.field().files].map((f) => f.name)"
    )
    if held != names and held:
        return p.outcome(Result.MISSED, f"the field holds {held}", effects=effects)
    # A page may take the files and empty the field at once.
    return p.outcome(Result.DELIVERED, delivered=True, effects=effects)


def _upload_by_window(
    s: Session, p: Progress, target: Aim, files: Sequence[str]
) -> Steps[Outcome]:
    with p.timed("hover"):
        still = yield from hover_still(s, target, "upload")
    if still is None:
        raise Halt(Result.UNSTABLE, "the element did not stand still under the pointer")
    s.watch.expect_chooser(True)

    def gesture(s: Session, aimed: Aim) -> Steps[None]:
        yield from mouse(s, "mousePressed", aimed.x, aimed.y, "left", 1)
        yield from mouse(s, "mouseReleased", aimed.x, aimed.y, "left", 1)
        for _ in range(40):
            if s.watch.record.choosers:
                yield from call(s.watch.record.choosers[0], "set_files", list(files))
                return
            yield from pause(s.page, 0.05)

    try:
        _, effects = yield from guarded(s, p, still, gesture)
    finally:
        s.watch.expect_chooser(False)
    if not s.watch.record.choosers:
        return p.outcome(
            Result.NO_ACTIONABLE,
            "pressing it opened no file window",
            effects=effects,
            delivered=True,
        )
    return p.outcome(Result.DELIVERED, delivered=True, effects=effects)
