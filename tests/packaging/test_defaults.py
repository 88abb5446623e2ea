"""Ports, limits and timeouts of clients, commands and servers stand in `molmo_point.defaults`, those of web agents in
`molmo_agents.defaults`, and nowhere else."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from molmo_point import defaults
from molmo_point.client.remote import RemotePointer
from molmo_point.service.http.bodies import QuestionBody
from molmo_point.service.http.openapi import _QUESTION_FIELDS
from molmo_point.wire import Request

ROOT = Path(__file__).parents[2]
PACKAGES = ("molmo_point", "ros2_ws/src/molmo_robot/molmo_robot")
OWNED = {
    defaults.ZMQ_PORT,
    defaults.ZMQ_PORT + 1,
    defaults.HTTP_PORT,
    defaults.REVIEW_PORT,
    defaults.MAX_QUERY_CHARACTERS,
    int(defaults.MAX_TIMEOUT_S),
}
TIMEOUTS = {"timeout_s", "connect_timeout_s", "gone_after_s"}
"""Parameters of clients whose default stands in `defaults`."""


def sources() -> Iterator[tuple[str, ast.Module]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if name != "molmo_point/defaults.py" and "/synthetic/" not in name:
                yield name, ast.parse(path.read_text(encoding="utf-8"))


def literals(tree: ast.Module) -> Iterator[tuple[int, object]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant):
            yield node.lineno, node.value


def test_no_port_or_limit_is_written_twice() -> None:
    found = [
        f"{name}:{line}: {value!r}"
        for name, tree in sources()
        for line, value in literals(tree)
        if (type(value) in (int, float) and value in OWNED)
        or value in (defaults.ZMQ_ADDRESS, defaults.PUBLISH_ADDRESS, defaults.HTTP_ADDRESS)
    ]
    assert found == []


def test_no_client_has_a_timeout_of_its_own() -> None:
    found = []
    for name, tree in sources():
        if not name.startswith("molmo_point/client/"):
            continue
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef) or node.name != "__init__":
                continue
            given = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
            found += [
                f"{name}:{argument.lineno}: {argument.arg}"
                for argument, value in given
                if argument.arg in TIMEOUTS
                and isinstance(value, ast.Constant)
                and value.value is not None
            ]
    assert found == []


def test_web_agents_have_their_timeouts_in_one_place() -> None:
    """As arguments of calls, as defaults of parameters, as constants; a benchmark's waits are its own."""
    found = []
    folder = ROOT / "agents" / "molmo_agents"
    for path in sorted(folder.rglob("*.py")):
        name = path.relative_to(folder).as_posix()
        if name in ("defaults.py", "session.py") or name.startswith("bench/"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            found += [f"{name}:{line}: {what}" for line, what in waits(node)]
    assert found == []


def waits(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the name of each wait that a syntax node gives as a number; 0 and None are no waits."""
    named: list[tuple[str, ast.expr | None]] = []
    if isinstance(node, ast.Call):
        named = [(keyword.arg or "", keyword.value) for keyword in node.keywords]
    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        given = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
        last = zip(reversed(node.args.args), reversed(node.args.defaults), strict=False)
        named = [(argument.arg, value) for argument, value in [*given, *last]]
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        named = [(node.target.id, node.value)]
    elif isinstance(node, ast.Assign):
        named = [
            (target.id, node.value) for target in node.targets if isinstance(target, ast.Name)
        ]
    for name, value in named:
        waited = name in ("timeout", "timeout_s") or name.endswith("_S")
        if waited and isinstance(value, ast.Constant) and value.value:
            yield value.lineno, name


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (None, 7.0),
        (0.0, defaults.MIN_TIMEOUT_S),
        (5000.0, 5000.0),
        (1e9, defaults.MAX_TIMEOUT_S),
        (float("inf"), defaults.UNLIMITED_TIMEOUT_S),
    ],
)
def test_a_call_asks_for_what_every_door_accepts(given: float | None, seconds: float) -> None:
    pointer = object.__new__(RemotePointer)
    pointer._timeout_s = 7.0
    assert pointer.budget(given) == seconds
    assert Request(id="1", op="point", timeout_s=seconds).timeout_s == seconds
    assert QuestionBody(query="mug", view="v", timeout_s=seconds).timeout_s == seconds
    assert _QUESTION_FIELDS["timeout_s"]["maximum"] == defaults.MAX_TIMEOUT_S
