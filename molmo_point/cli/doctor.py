"""`molmo-point doctor`: what this machine can do with molmo-point, and what to type for the rest."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from molmo_point.cli import FAILED, FOUND
from molmo_point.cli.opening import AsJson, Quiet
from molmo_point.cli.waiting import spinner


@dataclass(frozen=True)
class Check:
    """One line of the report.

    Attributes:
        name: What was looked at.
        state: "ok"; "missing" (something optional is not there); "failed" (something that should work does not).
        detail: What was found.
        advice: What to type; empty where there is nothing to do.
    """

    name: str
    state: str
    detail: str
    advice: str = ""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(
    as_json: AsJson = False,
    quiet: Quiet = False,
    point: Annotated[
        bool, typer.Option(help="Load nano and point with it, which takes some seconds.")
    ] = True,
) -> None:
    """Check Python, packages, devices, the download cache, the ports and nano; exit code 1 if anything failed."""
    from molmo_point.cli import doctor_checks as checks

    parts: list[Callable[[], list[Check]]] = [
        _system,
        checks.extras,
        checks.devices,
        checks.cache,
        checks.ports,
    ]
    if point:
        parts.append(checks.nano)
    found: list[Check] = []
    with spinner("looking around", quiet=quiet):
        for part in parts:
            found += part()
    if as_json:
        for check in found:
            typer.echo(json.dumps(asdict(check)))
    else:
        _print(found)
    raise typer.Exit(FAILED if any(check.state == "failed" for check in found) else FOUND)


def _system() -> list[Check]:
    from molmo_point import __version__

    version = platform.python_version()
    supported = sys.version_info >= (3, 10)
    return [
        Check("molmo-point", "ok", __version__),
        Check(
            "python",
            "ok" if supported else "failed",
            f"{version} ({sys.executable})",
            "" if supported else "install Python 3.10 or newer",
        ),
        Check("platform", "ok", f"{platform.platform()}, {platform.machine()}"),
    ]


def _print(found: list[Check]) -> None:
    from rich.table import Table
    from rich.text import Text

    from molmo_point.cli.tables import print_table

    colours = {"ok": "green", "missing": "yellow", "failed": "red"}
    table = Table()
    for title in ("what", "state", "found", "what to do"):
        table.add_column(title, overflow="fold")
    for check in found:
        state = Text(check.state, style=colours[check.state])
        table.add_row(Text(check.name), state, Text(check.detail), Text(check.advice))
    print_table(table)
