"""`molmo-point doctor`: what this machine can do with molmo-point, and what to type for the rest."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated

import typer

from molmo_point.cli.doctor_check import Check
from molmo_point.cli.exit_codes import FAILED, FOUND
from molmo_point.cli.model_options import AsJson, Connect, Key, ModelSelection, Quiet, Token
from molmo_point.cli.progress import spinner
from molmo_point.cli.tables import Column, print_rows


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(
    as_json: AsJson = False,
    quiet: Quiet = False,
    point: Annotated[
        bool, typer.Option(help="Load nano and point with it, which takes some seconds.")
    ] = True,
    connect: Connect = None,
    key: Key = None,
    token: Token = None,
) -> None:
    """Check Python, packages, devices, the download cache, the ports and nano; with --connect, a server instead.

    Exit code 1 if anything failed. What is missing is no failure: a machine that only asks a server needs no torch.

    \b
    molmo-point doctor                                   # this machine
    molmo-point doctor --connect tcp://gpu:5555          # a server: model, latency, key
    """
    from molmo_point.cli import doctor_checks as checks

    parts: list[Callable[[], list[Check]]] = [
        _system,
        checks.extras,
        checks.devices,
        checks.cache,
        checks.ports,
    ]
    where = ModelSelection(connect=connect, key=key, token=token)
    if where.connect is not None:
        parts = [_system, lambda: checks.server(where)]
    elif point:
        parts += [checks.speed, checks.nano]
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
    from molmo_point.version import __version__

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


COLUMNS = (Column("what"), Column("state"), Column("found"), Column("what to do"))


def _print(found: list[Check]) -> None:
    print_rows(COLUMNS, [(check.name, check.state, check.detail, check.advice) for check in found])
