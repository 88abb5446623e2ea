"""The command reference of docs/commands.md, written from the commands themselves: `python -m molmo_point.cli.reference`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MARK = "<!-- Below this line: python -m molmo_point.cli.reference -->"
PAGE = Path(__file__).parents[2] / "docs" / "commands.md"


def reference() -> str:
    """Return the generated part: each command with its arguments and options, as Markdown."""
    import typer

    from molmo_point.cli.app import build

    return "\n".join(_command(typer.main.get_command(build()), "molmo-point")).rstrip() + "\n"


def _command(part: Any, words: str) -> Iterator[str]:
    inner = getattr(part, "commands", {})
    if words != "molmo-point":
        yield f"## {words}\n"
        yield from _help(part.help or "")
    rows = [row for parameter in part.params if (row := _row(parameter))]
    if rows and words != "molmo-point":
        yield "| argument or option | meaning |\n|---|---|"
        yield from rows
        yield ""
    for name, each in inner.items():
        yield from _command(each, f"{words} {name}")


def _help(text: str) -> Iterator[str]:
    for block in text.split("\n\n"):
        lines = block.replace("\b", "").strip("\n").splitlines()
        if "\b" in block:
            yield "```\n" + "\n".join(line.strip() for line in lines if line.strip()) + "\n```\n"
        elif block.strip():
            yield " ".join(line.strip() for line in lines) + "\n"


def _row(parameter: Any) -> str:
    if parameter.name in ("help", "install_completion", "show_completion") or parameter.hidden:
        return ""
    names = [f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts)]
    if parameter.param_type_name == "argument":
        names = [f"`{parameter.metavar or parameter.name.upper()}`"]
    meaning = parameter.help or ""
    variables = parameter.envvar or []
    for variable in [variables] if isinstance(variables, str) else variables:
        meaning += f" Variable: `{variable}`."
    default = parameter.default
    if not callable(default) and default not in (None, False, True, (), [], ""):
        meaning += f" Default: `{default}`."
    return f"| {', '.join(names)} | {' '.join(meaning.split()).replace('|', chr(92) + '|')} |"


def main() -> None:
    """Bring docs/commands.md of a source tree up to date."""
    above = PAGE.read_text(encoding="utf-8").partition(MARK)[0]
    PAGE.write_text(f"{above}{MARK}\n\n{reference()}", encoding="utf-8")
    sys.stderr.write(f"wrote {PAGE}\n")


if __name__ == "__main__":
    main()
