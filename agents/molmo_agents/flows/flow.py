"""Flows: steps in a YAML file, checked whole before the first one is done.

start: http://127.0.0.1:8000/login.html
origins: [http://127.0.0.1:8000]
allow: [password]
secrets: {password: {env: SHOP_PASSWORD, origins: [http://127.0.0.1:8000]}}
steps:
  - type: the user name field
    text: ada
  - type: the password field
    secret: password
  - click: the Log in button
    expect: {url: /home}
  - count: unread mails
    equals: 3
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urljoin

from molmo_agents.flows.flow_check import NEWEST, Flow, FlowStep, load_flow, parse_flow
from molmo_agents.outcome import OK, Outcome, Status
from molmo_agents.playwright_types import Json
from molmo_agents.sync_pointer import WebPointer
from molmo_agents.verbs.table import TABLE


def run_step(web: WebPointer, step: FlowStep, folder: Path, start: str = "") -> Outcome:
    """Do one step. Addresses are relative to `start`, files of uploads to `folder`."""
    verb = TABLE[step.verb]
    arguments: Json = {}
    for word, value in step.fields.items():
        if word in verb.fields:
            field = verb.fields[word]
            arguments[field.parameter] = (
                [folder / path for path in value] if field.paths else value
            )
    subject = urljoin(start, step.query) if verb.subject == "address" else step.query
    done: Outcome = getattr(web, step.verb)(*[subject] * (verb.subject != "nothing"), **arguments)
    return done


__all__ = ["Flow", "FlowStep", "as_wanted", "load_flow", "parse_flow", "run_flow", "wanted_words"]

NO_WINDOW = Outcome(verb="tab", status=Status.ABSENT, message="there is no such window")


def as_wanted(step: FlowStep, outcome: Outcome) -> bool:
    """Whether a step came out as the flow says: the status it names, else success; and the count it names."""
    wanted = step.fields.get("status")
    if wanted is not None:
        return bool(outcome.status.value == wanted and outcome.expectation is not False)
    if "equals" in step.fields:
        return outcome.status in OK and bool(outcome.count == step.fields["equals"])
    return outcome.ok


def wanted_words(step: FlowStep) -> str:
    """What `as_wanted` asks of a step, in words."""
    if "status" in step.fields:
        return f"status {step.fields['status']}"
    return f"a count of {step.fields['equals']}" if "equals" in step.fields else "success"


def run_flow(web: WebPointer, flow: Flow, told: Callable[[FlowStep, Outcome, bool], None]) -> bool:
    """Open the start page and do the steps; stop at the first that does not come out as wanted.

    Args:
        web: Its policy should be `flow.policy()`.
        flow: The flow.
        told: Called after each step with the step, its outcome, and whether that is as wanted.

    Returns:
        Whether every step came out as wanted.
    """
    windows = [web]
    current = web
    try:
        for step in (FlowStep("goto", flow.start), *flow.steps):
            if step.verb == "tab":
                found = _window(windows, step.query)
                current = found or current
                outcome = NO_WINDOW.with_(query=step.query) if found is None else current.look()
            else:
                outcome = run_step(current, step, flow.folder, flow.start)
            good = as_wanted(step, outcome)
            told(step, outcome, good)
            if not good:
                return False
        return True
    finally:
        for window in windows[1:]:
            window.close()


def _window(windows: list[WebPointer], which: str) -> WebPointer | None:
    """Return the pointer on a window: the newest, or by its number from 1 in the order of opening. New ones are added."""
    for web in list(windows):
        known_pages = [other.page for other in windows]
        windows += [web.on(page) for page in web.popups if page not in known_pages]
    opened = [web for web in windows if not web.page.is_closed()]
    index = len(opened) - 1 if which == NEWEST else int(which) - 1
    if not 0 <= index < len(opened) or (which == NEWEST and len(opened) == 1):
        return None
    opened[index].attach()
    return opened[index]
