"""The verbs as they are called: check the arguments, and return the steps. A caller's mistake raises before anything is done."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Union

from molmo_agents.defaults import GOTO_TIMEOUT_S, WAIT_FOR_TIMEOUT_S
from molmo_agents.drivers.steps import Steps
from molmo_agents.masker import HIDDEN
from molmo_agents.outcome import Outcome
from molmo_agents.progress import OutcomeBuilder, Query, describe_query
from molmo_agents.screen import Box
from molmo_agents.session import Session
from molmo_agents.target.click import ClickOptions
from molmo_agents.verbs import (
    dragging,
    form_inputs,
    keyboard,
    look_and_press,
    navigate,
    scrolling,
    text_entry,
    uploads,
)
from molmo_agents.verbs.expect import Expect, expected
from molmo_point.arguments import check_query
from molmo_point.errors import UsageError
from molmo_point.points import Point

Paths = Union[str, "os.PathLike[str]", Sequence[Union[str, "os.PathLike[str]"]]]


BUTTONS = ("left", "right", "middle")


def checked(query: Query) -> Query:
    """Refuse what cannot be asked for."""
    if isinstance(query, Point):
        return query
    if not isinstance(query, str):
        raise UsageError(f"expected a query in words or a Point, got {type(query).__name__}")
    check_query(query)
    return query


def _run(
    s: Session, verb: str, query: Query, make: Callable[[OutcomeBuilder], Steps[Outcome]]
) -> Steps[Outcome]:
    p = OutcomeBuilder(verb, describe_query(query))
    return look_and_press.perform(s, verb, p.query, make(p), p)


def look(s: Session, *, region: Box | None = None, scale: float = 1.0) -> Steps[Outcome]:
    """Take a screenshot of the viewport, or of a region of it in CSS pixels; it is in `outcome.screenshot`.

    `scale` is screenshot pixels per CSS pixel: give the screen's own to see all that a dense screen shows.
    """
    if not 0 < scale <= 8:
        raise UsageError(f"expected a scale above 0 and at most 8, got {scale}")
    return _run(s, "look", "", lambda p: look_and_press.look_verb(s, p, region, scale))


def goto(s: Session, url: str, *, timeout_s: float = GOTO_TIMEOUT_S) -> Steps[Outcome]:
    """Open an address that the policy allows."""
    return _run(s, "goto", url, lambda p: navigate.goto(s, p, url, _positive(timeout_s)))


def back(s: Session, *, timeout_s: float = GOTO_TIMEOUT_S) -> Steps[Outcome]:
    """Go to the page before in the tab's history."""
    return _run(s, "back", "", lambda p: navigate.back(s, p, _positive(timeout_s)))


def key(s: Session, key: str) -> Steps[Outcome]:
    """Press a key: Escape, Tab, arrows and the like; Enter and Space press what has the focus, with the checks of a press."""
    if key not in keyboard.KEYS:
        known = ", ".join(sorted(keyboard.KEYS))
        raise UsageError(f"there is no key {key!r}: there are {known}; type() is for text")
    return _run(s, "key", key, lambda p: keyboard.press_key(s, p, key))


def locate(
    s: Session, query: Query, *, many: bool = False, region: Box | None = None
) -> Steps[Outcome]:
    """Say where it is and what lies there, without touching it; `many` gives every place in `outcome.points`."""
    query = checked(query)
    if many and isinstance(query, Point):
        raise UsageError("many=True needs a query in words: a point is one place")
    return _run(s, "locate", query, lambda p: look_and_press.locate(s, p, query, many, region))


def click(
    s: Session,
    query: Query,
    *,
    button: str = "left",
    count: int = 1,
    expect_name: str | None = None,
    expect: Expect | None = None,
    region: Box | None = None,
) -> Steps[Outcome]:
    """Press what the query describes, or a point (0-1 of the viewport).

    Args:
        s: The session.
        query: A few words, or a `Point`.
        button: left, right or middle.
        count: 2 for a double click.
        expect_name: What the element must be called; anything else is not pressed.
        expect: What must be true afterwards; see `Outcome.expectation`.
        region: Look only at this part of the viewport, CSS pixels.
    """
    query = checked(query)
    how = _press(button, count, expect_name, region)
    return _run(s, "click", query, lambda p: look_and_press.click(s, p, query, how, expect))


def click_all(
    s: Session, query: str, *, expect: Expect | None = None, fixed: bool = False
) -> Steps[Outcome]:
    """Press every place that matches, all from one screenshot, in the order of the answer.

    The elements seen in the screenshot are pressed, wherever they are by then; `fixed` presses the places instead.
    """
    if isinstance(checked(query), Point):
        raise UsageError("click_all() needs a query in words: a point is one place")
    return _run(
        s,
        "click_all",
        query,
        lambda p: look_and_press.click_all(s, p, query, ClickOptions(), expect, fixed),
    )


def hover(s: Session, query: Query, *, expect_name: str | None = None) -> Steps[Outcome]:
    """Rest the pointer on it."""
    query = checked(query)
    how = ClickOptions(verb="hover", expect_name=expect_name)
    return _run(s, "hover", query, lambda p: look_and_press.hover(s, p, query, how))


def type_text(
    s: Session,
    query: Query,
    text: str | None = None,
    *,
    secret: str | None = None,
    clear: bool = True,
    submit: bool = False,
    expect_name: str | None = None,
    expect: Expect | None = None,
) -> Steps[Outcome]:
    """Type into a field.

    Args:
        s: The session.
        query: The field, in words, or a `Point`.
        text: What to type; or
        secret: the name of one of the policy's secrets.
        clear: Replace what the field holds.
        submit: Press Enter afterwards.
        expect_name: What the field must be called.
        expect: What must be true afterwards.
    """
    query = checked(query)
    if (text is None) == (secret is None):
        raise UsageError(
            "type() takes either text= or secret=, the name of one of the policy's secrets"
        )
    if secret is not None and secret not in s.policy.secrets:
        known = ", ".join(sorted(s.policy.secrets)) or "none"
        raise UsageError(f"the policy has no secret {secret!r}: it has {known}")
    value = s.policy.secrets[secret].value if secret is not None else text or ""
    what = text_entry.Typing(value, secret or "", clear, submit, expect_name)

    def steps(p: OutcomeBuilder) -> Steps[Outcome]:
        outcome = yield from text_entry.type_text(s, p, query, what)
        if what.secret and outcome.effects.value is not None:
            # A page may have kept a part of it that is too short to be told from other text.
            hidden = outcome.effects.model_copy(update={"value": HIDDEN})
            outcome = outcome.with_(effects=hidden)
        return (yield from expected(s, p, outcome, expect))

    return _run(s, "type", query, steps)


def select(s: Session, query: Query, options: str | Sequence[str]) -> Steps[Outcome]:
    """Choose one option of a list, or several where it takes several, by the text it shows."""
    query = checked(query)
    chosen = [options] if isinstance(options, str) else list(options)
    if not chosen:
        raise UsageError("select() needs at least one option")
    return _run(s, "select", query, lambda p: form_inputs.select(s, p, query, chosen))


def check(s: Session, query: Query, on: bool = True) -> Steps[Outcome]:
    """Make a checkbox, radio button or switch be on or off."""
    query = checked(query)
    return _run(s, "check", query, lambda p: form_inputs.check(s, p, query, on))


def upload(s: Session, query: Query, files: Paths) -> Steps[Outcome]:
    """Give files to a file field, to the file window that a button opens, or to a place that takes dropped files."""
    query = checked(query)
    listed = [files] if isinstance(files, (str, os.PathLike)) else list(files)
    paths = [Path(file).absolute() for file in listed]
    for path in paths:
        if not path.is_file():
            raise UsageError(f"there is no file {path}: check the path")
    if not paths:
        raise UsageError("upload() needs at least one file")
    return _run(s, "upload", query, lambda p: uploads.upload(s, p, query, [str(q) for q in paths]))


def drag(s: Session, source: Query, goal: Query) -> Steps[Outcome]:
    """Drag one thing onto another."""
    source, goal = checked(source), checked(goal)
    return _run(s, "drag", source, lambda p: dragging.drag(s, p, source, goal))


def scroll_to(
    s: Session, query: str, *, max_screens: int = 10, at: Point | None = None
) -> Steps[Outcome]:
    """Scroll down, then up, until it is in view; `at` says over which place to turn the wheel."""
    if isinstance(checked(query), Point):
        raise UsageError("scroll_to() needs a query in words")
    if max_screens < 1:
        raise UsageError("max_screens must be at least 1")
    return _run(s, "scroll_to", query, lambda p: scrolling.scroll_to(s, p, query, max_screens, at))


def exists(s: Session, query: str) -> Steps[Outcome]:
    """Say whether it is in view: status `found` or `absent`."""
    checked(query)
    return _run(s, "exists", query, lambda p: look_and_press.exists(s, p, query))


def wait_for(s: Session, query: str, *, timeout_s: float = WAIT_FOR_TIMEOUT_S) -> Steps[Outcome]:
    """Look until it is in view; the model is asked again only when the screenshot changed."""
    checked(query)
    return _run(
        s, "wait_for", query, lambda p: look_and_press.wait_for(s, p, query, _positive(timeout_s))
    )


def count(s: Session, query: str, *, region: Box | None = None) -> Steps[Outcome]:
    """Count by pointing: `outcome.count`."""
    checked(query)
    return _run(s, "count", query, lambda p: look_and_press.count(s, p, query, region))


def _positive(timeout_s: float) -> float:
    if not 0 <= timeout_s < float("inf"):
        raise UsageError(f"expected a finite timeout_s of at least 0 seconds, got {timeout_s}")
    return timeout_s


def _press(button: str, count: int, expect_name: str | None, region: Box | None) -> ClickOptions:
    if button not in BUTTONS or count not in (1, 2) or (count == 2 and button != "left"):
        raise UsageError(
            f"expected button left, right or middle, and count 1 (or 2 with left), got {button!r}, {count}"
        )
    return ClickOptions(button=button, count=count, expect_name=expect_name, region=region)
