"""Every command line in the documentation is one that the programs understand."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import molmo_agents.cli.app
import molmo_calibration.cli.app
import pytest
import typer

from molmo_point.cli.app import build
from molmo_point.cli.reference import MARK, PAGE, reference

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
PROGRAMS = {
    "molmo-point": typer.main.get_command(build()),
    "molmo-web": typer.main.get_command(molmo_agents.cli.app.app),
    "molmo-calibrate": typer.main.get_command(molmo_calibration.cli.app.app),
}
ENDS = {"|", ">", ">>", "2>", "&&", "&", ";"}


def command_lines() -> Iterator[Any]:
    """Every line of a code block that begins with one of our programs."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = re.findall(r"^```\w*\n(.*?)^```|^((?: {4}.*\n)+)", text, re.M | re.S)
        for block in map("".join, blocks):
            for line in block.replace("\\\n", " ").splitlines():
                words = line.split()
                if words and words[0] in PROGRAMS:
                    yield pytest.param(line.strip(), id=f"{page.stem}: {line.strip()[:60]}")


LINES = list(command_lines())


def understand(line: str) -> None:
    """Parse a command line as its program does, without running it."""
    words = shlex.split(line, comments=True)
    stop = next((n for n, word in enumerate(words) if word in ENDS), len(words))
    name, *arguments = words[:stop]
    # An ellipsis stands for more of the same; an option in brackets may be left out.
    arguments = [word.strip("[]") for word in arguments if word not in ("...", "…")]
    command: Any = PROGRAMS[name]
    while arguments and arguments[0] in getattr(command, "commands", {}):
        command, arguments = command.commands[arguments[0]], arguments[1:]
    assert not getattr(command, "commands", None), f"{name} has no command {arguments[:1]}"
    command.make_context(name, arguments)


def test_the_documentation_has_commands() -> None:
    assert len(LINES) >= 25


@pytest.mark.parametrize("line", LINES)
def test_a_documented_command_is_understood(line: str) -> None:
    understand(line)


def test_the_command_reference_is_the_programs_own() -> None:
    written = PAGE.read_text(encoding="utf-8").split(MARK, 1)[1]
    assert written.strip() == reference().strip(), "run python -m molmo_point.cli.reference"


def test_no_page_installs_from_an_index() -> None:
    """The package is on no index: a line with its bare name would install whatever somebody else puts there."""
    for page in PAGES:
        lines = re.findall(r"pip install [^`\n#]*", page.read_text(encoding="utf-8"))
        for line in lines:
            assert "molmo-point" not in line or "@ git+" in line or "/molmo-point" in line, line


def test_the_first_example_of_the_readme_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    code = re.findall(r"```python\n(.*?)```", PAGES[0].read_text(encoding="utf-8"), re.S)[0]
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["pointing"].count == 3


def test_a_wrong_one_is_noticed() -> None:
    with pytest.raises(Exception, match="No such option"):
        understand("molmo-point serve --modell nano")
    with pytest.raises(Exception, match="no command"):
        understand("molmo-web pressed page")


def test_the_extra_brings_what_the_page_about_transformers_uses() -> None:
    """transformers refuses `device_map` without accelerate, which it does not install by itself."""
    page = (ROOT / "docs/transformers.md").read_text(encoding="utf-8")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extra = re.search(r"^transformers = \[(.*)\]$", project, re.M)
    assert extra is not None
    assert "device_map=" in page
    assert '"accelerate' in extra[1]
