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

import difflib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from molmo_agents.errors import FlowError
from molmo_agents.origins import origin_of
from molmo_agents.outcome import OK, Outcome, Result
from molmo_agents.policy import Policy, Secret, allow_risks
from molmo_agents.sync_pointer import WebPointer
from molmo_agents.verbs import Expect

MAX_BYTES = 1_000_000
FIELDS: dict[str, frozenset[str]] = {
    "goto": frozenset(),
    "locate": frozenset({"many"}),
    "click": frozenset({"button", "times", "name", "expect"}),
    "click_all": frozenset({"fixed", "expect"}),
    "hover": frozenset({"name"}),
    "type": frozenset({"text", "secret", "clear", "submit", "name", "expect"}),
    "select": frozenset({"option", "options"}),
    "check": frozenset({"on"}),
    "upload": frozenset({"files"}),
    "drag": frozenset({"to"}),
    "scroll_to": frozenset({"max_screens"}),
    "exists": frozenset(),
    "wait_for": frozenset({"timeout"}),
    "count": frozenset({"equals"}),
}
"""Verb -> the fields it takes besides `status` (the one that is right, where that is not success)."""

TOP = frozenset(
    {"start", "origins", "resources", "allow", "secrets", "steps", "viewport", "about"}
)


@dataclass(frozen=True)
class FlowStep:
    """One step: the verb, what it is about, and its fields."""

    verb: str
    query: str
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Flow:
    """A checked flow. `folder` is where the file lies: paths of uploads are relative to it."""

    start: str
    steps: tuple[FlowStep, ...]
    origins: tuple[str, ...] = ()
    resources: tuple[str, ...] | None = None
    allow: tuple[str, ...] = ()
    secrets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    viewport: tuple[int, int] = (1280, 800)
    folder: Path = Path(".")

    def policy(self, **changes: Any) -> Policy:
        """Make the policy; secrets are read from the environment now.

        Raises:
            FlowError: A secret whose environment variable is not set.
        """
        secrets: dict[str, Secret] = {}
        for name, entry in self.secrets.items():
            value = os.environ.get(str(entry.get("env")))
            if not value:
                raise FlowError(
                    f"the secret {name!r} is read from ${entry.get('env')}, which is not set: set it"
                )
            secrets[name] = Secret(value, tuple(entry.get("origins") or self.origins))
        settings: dict[str, Any] = {
            "origins": self.origins,
            "resources": self.resources,
            "confirm": allow_risks(self.allow) if self.allow else None,
            "secrets": secrets,
        }
        return Policy(**{**settings, **changes})


def load_flow(path: str | Path, start: str | None = None) -> Flow:
    """Read and check a flow file; `start` replaces its address.

    Raises:
        FlowError: No such file, broken YAML, an unknown word, a missing field.
    """
    file = Path(path)
    if not file.is_file():
        raise FlowError(f"there is no flow file {file}: check the path")
    if file.stat().st_size > MAX_BYTES:
        raise FlowError(f"{file} has more than {MAX_BYTES:,} bytes: that is no flow")
    try:
        tree = yaml.safe_load(file.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FlowError(f"{file} is not YAML: {' '.join(str(error).split())[:300]}") from error
    return parse_flow(tree, str(file), file.parent, start)


def parse_flow(
    tree: Any, name: str = "the flow", folder: Path = Path("."), start: str | None = None
) -> Flow:
    """Check a flow that was read from YAML; see `load_flow`."""
    if not isinstance(tree, dict):
        raise FlowError(
            f"{name}: expected 'start:' and 'steps:' at the top, got {type(tree).__name__}"
        )
    _known(tree, TOP, name)
    begin = start or tree.get("start")
    if not isinstance(begin, str) or not begin:
        raise FlowError(f"{name}: 'start' must be the address to begin at")
    steps = tree.get("steps")
    if not isinstance(steps, list) or not steps:
        raise FlowError(f"{name}: 'steps' must be a list with at least one step")
    origins = _strings(tree.get("origins", []), f"{name}: origins")
    if start is not None or not origins:
        own = origin_of(begin)
        origins = (*origins, str(own)) if own is not None else origins
    secrets = tree.get("secrets") or {}
    if not isinstance(secrets, dict) or not all(
        isinstance(s, dict) and s.get("env") for s in secrets.values()
    ):
        raise FlowError(f"{name}: each secret needs 'env', the environment variable that holds it")
    viewport = tree.get("viewport", [1280, 800])
    if not (
        isinstance(viewport, list)
        and len(viewport) == 2
        and all(isinstance(v, int) for v in viewport)
    ):
        raise FlowError(f"{name}: 'viewport' must be [width, height]")
    allow = _strings(tree.get("allow", []), f"{name}: allow")
    allow_risks(allow)
    resources = tree.get("resources")
    return Flow(
        start=begin,
        steps=tuple(_step(step, f"{name}, step {n}") for n, step in enumerate(steps, 1)),
        origins=origins,
        resources=None if resources is None else _strings(resources, f"{name}: resources"),
        allow=allow,
        secrets=secrets,
        viewport=(viewport[0], viewport[1]),
        folder=folder,
    )


def _strings(value: Any, name: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise FlowError(f"{name} must be a list of words")
    return tuple(value)


def _known(tree: Mapping[Any, Any], words: frozenset[str], name: str) -> None:
    for key in tree:
        if key not in words:
            near = difflib.get_close_matches(str(key), words, 1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise FlowError(
                f"{name}: unknown word {key!r}{hint}: known are {', '.join(sorted(words))}"
            )


def _step(step: Any, name: str) -> FlowStep:
    if not isinstance(step, dict):
        raise FlowError(f"{name}: expected 'verb: what', got {step!r}")
    verbs = [key for key in step if key in FIELDS]
    if len(verbs) != 1:
        first = next(iter(step), "")
        near = difflib.get_close_matches(str(first), FIELDS, 1)
        hint = f" (did you mean {near[0]!r}?)" if near and not verbs else ""
        raise FlowError(
            f"{name}: expected exactly one verb{hint}: known are {', '.join(sorted(FIELDS))}"
        )
    verb = verbs[0]
    _known(step, FIELDS[verb] | {verb, "status"}, name)
    query = step[verb]
    if not isinstance(query, str) or not query.strip():
        raise FlowError(f"{name}: {verb!r} needs a few words, got {query!r}")
    fields = {key: value for key, value in step.items() if key != verb}
    _complete(verb, fields, name)
    return FlowStep(verb, query, fields)


def _complete(verb: str, fields: Mapping[str, Any], name: str) -> None:
    if verb == "type" and ("text" in fields) == ("secret" in fields):
        raise FlowError(f"{name}: 'type' needs either 'text' or 'secret'")
    if verb == "select" and ("option" in fields) == ("options" in fields):
        raise FlowError(f"{name}: 'select' needs either 'option' or 'options'")
    for needed, of in (("files", "upload"), ("to", "drag")):
        if verb == of and not fields.get(needed):
            raise FlowError(f"{name}: {verb!r} needs {needed!r}")
    if "status" in fields and fields["status"] not in [result.value for result in Result]:
        raise FlowError(
            f"{name}: no status {fields['status']!r}: known are {', '.join(r.value for r in Result)}"
        )
    expect = fields.get("expect")
    if expect is not None:
        if not isinstance(expect, dict):
            raise FlowError(f"{name}: 'expect' needs url, text or exists")
        _known(expect, frozenset({"url", "text", "exists", "timeout_s"}), f"{name}, expect")


def run_step(web: WebPointer, step: FlowStep, folder: Path) -> Outcome:
    """Do one step."""
    f, q = step.fields, step.query
    expect = Expect(**f["expect"]) if f.get("expect") else None
    name = f.get("name")
    verbs: dict[str, Callable[[], Outcome]] = {
        "goto": lambda: web.goto(q),
        "locate": lambda: web.locate(q, many=bool(f.get("many", False))),
        "click": lambda: web.click(
            q,
            button=f.get("button", "left"),
            count=int(f.get("times", 1)),
            expect_name=name,
            expect=expect,
        ),
        "click_all": lambda: web.click_all(q, expect=expect, fixed=bool(f.get("fixed", False))),
        "hover": lambda: web.hover(q, expect_name=name),
        "type": lambda: web.type(
            q,
            None if "text" not in f else str(f["text"]),
            secret=f.get("secret"),
            clear=bool(f.get("clear", True)),
            submit=bool(f.get("submit", False)),
            expect_name=name,
            expect=expect,
        ),
        "select": lambda: web.select(q, f["option"] if "option" in f else f["options"]),
        "check": lambda: web.check(q, bool(f.get("on", True))),
        "upload": lambda: web.upload(
            q, [folder / p for p in ([f["files"]] if isinstance(f["files"], str) else f["files"])]
        ),
        "drag": lambda: web.drag(q, f["to"]),
        "scroll_to": lambda: web.scroll_to(q, max_screens=int(f.get("max_screens", 10))),
        "exists": lambda: web.exists(q),
        "wait_for": lambda: web.wait_for(q, timeout_s=float(f.get("timeout", 10.0))),
        "count": lambda: web.count(q),
    }
    return verbs[step.verb]()


def as_wanted(step: FlowStep, outcome: Outcome) -> bool:
    """Whether a step came out as the flow says: the status it names, else success; and the count it names."""
    wanted = step.fields.get("status")
    if wanted is not None:
        return bool(outcome.status.value == wanted)
    if "equals" in step.fields:
        return outcome.status in OK and bool(outcome.count == step.fields["equals"])
    return outcome.ok


def run_flow(web: WebPointer, flow: Flow, told: Callable[[FlowStep, Outcome, bool], None]) -> bool:
    """Open the start page and do the steps; stop at the first that does not come out as wanted.

    Args:
        web: Its policy should be `flow.policy()`.
        flow: The flow.
        told: Called after each step with the step, its outcome, and whether that is as wanted.

    Returns:
        Whether every step came out as wanted.
    """
    begin = FlowStep("goto", flow.start)
    for step in (begin, *flow.steps):
        outcome = run_step(web, step, flow.folder)
        good = as_wanted(step, outcome)
        told(step, outcome, good)
        if not good:
            return False
    return True
