"""Check a flow that was read from YAML, whole, and make the policy it asks for."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from molmo_agents.browser.launch import Screen
from molmo_agents.errors import FlowError
from molmo_agents.flows.flow_yaml import read_flow
from molmo_agents.origins import origin_of
from molmo_agents.outcome import Status
from molmo_agents.playwright_types import Json
from molmo_agents.policy import Policy, Secret, allow_risks
from molmo_agents.verbs.keyboard import KEYS
from molmo_agents.verbs.readers import Reader, known, one_of, strings, whole, words
from molmo_agents.verbs.table import TABLE
from molmo_point.errors import UsageError

NEWEST = "newest"
"""How a step says: the window that opened last."""

TAB = "tab"
"""The step that goes on in another window; it is no verb."""

STEPS = (*TABLE, TAB)
"""What a step may be."""

WANTED: dict[str, Reader] = {
    "status": one_of(result.value for result in Status),
    "equals": whole(0),
}
"""What a step may say of its outcome; `equals` of a count only."""

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
        settings: Json = {
            "origins": self.origins,
            "resources": self.resources,
            "confirm": allow_risks(self.allow) if self.allow else None,
            "secrets": secrets,
        }
        return Policy(**{**settings, **changes})


def load_flow(path: str | Path, start: str | None = None, folder: Path | None = None) -> Flow:
    """Read and check a flow file; `start` replaces its address, `folder` the one its uploads are relative to.

    Raises:
        FlowError: No such file, broken YAML, an unknown word, a missing field, a value that cannot be meant, a missing file.
    """
    file = Path(path)
    return parse_flow(read_flow(file), str(file), folder or file.parent, start)


def parse_flow(
    tree: object, name: str = "the flow", folder: Path = Path("."), start: str | None = None
) -> Flow:
    """Check a flow that was read from YAML; see `load_flow`."""
    if not isinstance(tree, dict):
        raise FlowError(
            f"{name}: expected 'start:' and 'steps:' at the top, got {type(tree).__name__}"
        )
    known(tree, TOP, name)
    begin = start or tree.get("start")
    own = origin_of(begin) if isinstance(begin, str) else None
    if not isinstance(begin, str) or own is None:
        raise FlowError(
            f"{name}: 'start' must be the address to begin at, http://... or https://..., got {begin!r}"
        )
    steps = tree.get("steps")
    if not isinstance(steps, list) or not steps:
        raise FlowError(f"{name}: 'steps' must be a list with at least one step")
    origins = strings(tree.get("origins", []), f"{name}: origins")
    if start is not None or not origins:
        origins = (*origins, str(own))
    secrets = _secrets(tree.get("secrets") or {}, name)
    resources = tree.get("resources") or None
    flow = Flow(
        start=begin,
        steps=tuple(_step(step, f"{name}, step {n}") for n, step in enumerate(steps, 1)),
        origins=origins,
        resources=None if resources is None else strings(resources, f"{name}: resources"),
        allow=strings(tree.get("allow", []), f"{name}: allow"),
        secrets=secrets,
        viewport=_viewport(tree.get("viewport") or [1280, 800], f"{name}: 'viewport'"),
        folder=folder,
    )
    _fits_together(flow, name)
    return flow


def _secrets(tree: object, name: str) -> dict[str, Json]:
    if not isinstance(tree, dict) or not all(
        isinstance(entry, dict) and entry.get("env") for entry in tree.values()
    ):
        raise FlowError(f"{name}: each secret needs 'env', the environment variable that holds it")
    for secret, entry in tree.items():
        known(entry, ("env", "origins"), f"{name}, secret {secret!r}")
    return {
        str(secret): {
            "env": words(entry["env"], f"{name}, secret {secret!r}, env"),
            "origins": strings(entry.get("origins", []), f"{name}, secret {secret!r}, origins"),
        }
        for secret, entry in tree.items()
    }


def _viewport(value: object, name: str) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2:
        raise FlowError(f"{name} must be [width, height], got {value!r}")
    width, height = (whole(1)(side, name) for side in value)
    try:
        Screen(width, height)
    except UsageError as error:
        raise FlowError(f"{name}: {error}") from error
    return width, height


def _step(step: object, name: str) -> FlowStep:
    if not isinstance(step, dict):
        raise FlowError(f"{name}: expected 'verb: what', got {step!r}")
    verbs = [key for key in step if key in STEPS]
    if len(verbs) != 1:
        first = next(iter(step), "")
        near = difflib.get_close_matches(str(first), STEPS, 1)
        hint = f" (did you mean {near[0]!r}?)" if near and not verbs else ""
        raise FlowError(
            f"{name}: expected exactly one verb{hint}: known are {', '.join(sorted(STEPS))}"
        )
    verb = verbs[0]
    readers = _readers(verb)
    known(step, {*readers, verb}, name)
    query = _subject(verb, step[verb], name)
    given = {key: value for key, value in step.items() if key != verb}
    fields = {key: readers[key](value, f"{name}, {key}") for key, value in given.items()}
    _complete(verb, fields, name)
    return FlowStep(verb, query, fields)


def _readers(verb: str) -> dict[str, Reader]:
    """The words of a step besides its verb, and how each is read."""
    own = {} if verb == TAB else {word: field.read for word, field in TABLE[verb].fields.items()}
    wanted = {word: read for word, read in WANTED.items() if word != "equals" or verb == "count"}
    return {**own, **wanted}


def _subject(verb: str, value: object, name: str) -> str:
    """What stands behind the verb."""
    if verb == TAB:
        window = words(value, f"{name}: {TAB!r}")
        if window != NEWEST:
            whole(1)(window, f"{name}: {TAB!r} ({NEWEST}, or a number from 1)")
        return window
    if TABLE[verb].subject == "nothing":
        return str(value or "")
    said = words(value, f"{name}: {verb!r}")
    if TABLE[verb].subject == "key" and said not in KEYS:
        raise FlowError(f"{name}: no key {said!r}: known are {', '.join(sorted(KEYS))}")
    return said


def _complete(verb: str, fields: Mapping[str, object], name: str) -> None:
    if verb == TAB:
        return
    entry = TABLE[verb]
    if entry.either and sum(word in fields for word in entry.either) != 1:
        raise FlowError(f"{name}: {verb!r} needs either {' or '.join(map(repr, entry.either))}")
    for word, taken in entry.fields.items():
        if taken.required and not fields.get(word):
            raise FlowError(f"{name}: {verb!r} needs {word!r}")
    if verb == "click" and fields.get("times") == 2 and fields.get("button", "left") != "left":
        raise FlowError(f"{name}: a double click is made with the left button")


def _files(step: FlowStep) -> list[str]:
    """The files that a step gives away."""
    fields = {} if step.verb == TAB else TABLE[step.verb].fields
    return [path for word, f in fields.items() if f.paths for path in step.fields.get(word, ())]


def _fits_together(flow: Flow, name: str) -> None:
    """Check what the parts say of each other: secrets by name, files of uploads, addresses."""
    try:
        allow_risks(flow.allow)
        Policy(origins=flow.origins, resources=flow.resources)
    except UsageError as error:
        raise FlowError(f"{name}: {error}") from error
    for number, step in enumerate(flow.steps, 1):
        secret = step.fields.get("secret")
        if secret is not None and secret not in flow.secrets:
            listed = ", ".join(sorted(flow.secrets)) or "none"
            raise FlowError(f"{name}, step {number}: no secret {secret!r}: there are {listed}")
        for file in _files(step):
            if not (flow.folder / file).is_file():
                raise FlowError(f"{name}, step {number}: there is no file {flow.folder / file}")
        address = step.verb != TAB and TABLE[step.verb].subject == "address"
        if address and origin_of(urljoin(flow.start, step.query)) is None:
            raise FlowError(
                f"{name}, step {number}: {step.query!r} is not an http or https address"
            )
