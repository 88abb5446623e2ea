"""The tree of commands. Each lives in a module of its own and imports what it needs only when it runs: `--help` is instant."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Annotated

import typer

from molmo_point.errors import BrokenInstall, MissingExtra
from molmo_point.install import import_failure

COMMANDS = ("point", "ask", "demo", "models", "doctor")
"""Modules of this package that are always there; `point` also holds `count`."""

EXTENSIONS = {
    "verify": "engine",
    "serve": "serve",
    "watch": "serve",
    "keys": "serve",
    "bridge": "dds",
    "bag": "bag",
    "eval": "engine",
    "calibrate": "train",
    "train": "train",
    "bench": "engine",
}
"""Modules that are included where they exist, and the extra that brings what they need."""


def build() -> typer.Typer:
    """Return the application with every command that this installation has."""
    app = typer.Typer(
        name="molmo-point",
        help="A picture and a few words in, points out.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_globals)
    for name in COMMANDS:
        importlib.import_module(f"molmo_point.cli.{name}").register(app)
    for name, extra in EXTENSIONS.items():
        _include(app, name, extra)
    return app


def _include(app: typer.Typer, name: str, extra: str) -> None:
    module = f"molmo_point.cli.{name}"
    if importlib.util.find_spec(module) is None:
        return
    try:
        importlib.import_module(module).register(app)
    except ImportError as error:
        failure = import_failure(error, error.name or name, extra, f"molmo-point {name}")
        _stand_in(app, name, extra, failure)


def _stand_in(
    app: typer.Typer, name: str, extra: str, failure: MissingExtra | BrokenInstall
) -> None:
    """Register a command that says what to install."""

    @app.command(
        name,
        help=f"(needs the extra '{extra}')",
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )
    def stand_in() -> None:
        raise failure


def _print_version(wanted: bool) -> None:
    if wanted:
        from molmo_point import __version__

        typer.echo(__version__)
        raise typer.Exit(0)


def _globals(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version and leave.",
            is_eager=True,
            callback=_print_version,
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error came from (anywhere on the line).")
    ] = False,
) -> None:
    """A picture and a few words in, points out."""
