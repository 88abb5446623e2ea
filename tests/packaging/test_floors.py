"""Lowest releases of pyproject.toml: each is stated, the same everywhere, and not above what these tests run with."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

tomllib = pytest.importorskip("tomllib", reason="part of Python since 3.11")
requirements = pytest.importorskip("packaging.requirements")
versions = pytest.importorskip("packaging.version")

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
GROUPS = {"base": PROJECT["dependencies"], **EXTRAS}

UNBOUNDED = {"types-PyYAML", "catkin_pkg", "mcap", "psutil", "fiftyone"}
"""Test tools and an optional peer, whose releases make no difference here."""

DIFFERENT = {"numpy"}
"""The base works with older releases than the engine."""


def floors() -> list[tuple[str, str, str]]:
    """Return (extra, package, lowest release) of every requirement that applies to this Python."""
    found = []
    for group, lines in GROUPS.items():
        for line in lines:
            wanted = requirements.Requirement(line)
            if wanted.name == PROJECT["name"] or wanted.name in UNBOUNDED:
                continue
            if wanted.marker is not None and not wanted.marker.evaluate():
                continue
            (bound,) = wanted.specifier
            assert bound.operator == ">=", line
            found.append((group, wanted.name, bound.version))
    return found


def test_a_package_has_one_floor() -> None:
    stated: dict[str, set[str]] = {}
    for _, name, floor in floors():
        stated.setdefault(name, set()).add(floor)
    several = {name: found for name, found in stated.items() if len(found) > 1}
    assert set(several) == DIFFERENT


@pytest.mark.parametrize(("group", "name", "floor"), floors())
def test_what_is_installed_is_not_below_its_floor(group: str, name: str, floor: str) -> None:
    try:
        installed = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{name} of the extra {group} is not installed")
    assert versions.Version(installed) >= versions.Version(floor)
