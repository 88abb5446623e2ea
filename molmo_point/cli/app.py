"""The tree of commands. Each lives in a module of its own and imports what it needs only when it runs: `--help` is instant."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from molmo_point.cli.exit_codes import EXIT_CODES
from molmo_point.cli.model_options import TYPED
from molmo_point.errors import BrokenInstall, MissingExtra
from molmo_point.install import import_failure, missing

ENTRY_POINTS = "molmo_point.commands"
"""Entry points by which other packages add commands: a module with `register(app)` and the extra that it needs."""


@dataclass(frozen=True)
class Command:
    """A command of this package, and what it cannot run without.

    Attributes:
        extra: The optional part of this package that brings what it needs; empty for none.
        packages: Import names, checked before the command runs and told by `--help`; empty where it checks for itself.
        unless_connected: Whether a server (`--connect`) does instead.
    """

    extra: str = ""
    packages: tuple[str, ...] = ()
    unless_connected: bool = False


_ENGINE = ("torch", "safetensors", "tokenizers")

COMMANDS = {
    "point": Command("engine", _ENGINE, unless_connected=True),
    "count": Command("engine", _ENGINE, unless_connected=True),
    "ask": Command("engine", _ENGINE, unless_connected=True),
    "demo": Command("engine", _ENGINE),
    "models": Command(),
    "doctor": Command(),
    "quantize": Command("engine", _ENGINE),
    "verify": Command("engine", _ENGINE),
    "serve": Command("serve", (*_ENGINE, "fastapi", "uvicorn")),
    "mcp": Command("mcp", ("mcp",)),
    "watch": Command("tracking", ("cv2",)),
    "keys": Command(),
    "eval": Command("engine", _ENGINE),
    "calibrate-scores": Command("train", (*_ENGINE, "matplotlib")),
    "calibrate-counts": Command("count", (*_ENGINE, "scipy")),
    "review": Command("count", ("fastapi", "uvicorn")),
    "lerobot": Command("lerobot", ("pyarrow",)),
    "train": Command("train", (*_ENGINE, "matplotlib")),
    "finetune": Command("train", (*_ENGINE, "matplotlib")),
    "merge": Command("engine", _ENGINE),
    "bench": Command("engine", _ENGINE),
}
"""In the order of `--help`."""


def build() -> typer.Typer:
    """Return the application with every command that this installation has."""
    app = typer.Typer(
        name="molmo-point",
        help="An image and a few words in, points out.",
        epilog=EXIT_CODES,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_globals)
    for name, own in COMMANDS.items():
        _include(app, name, f"molmo_point.cli.{name.replace('-', '_')}", own.extra)
    for joined in importlib.metadata.entry_points(group=ENTRY_POINTS):
        _include(app, joined.name, joined.module, ",".join(joined.extras))
    return app


def command() -> Any:
    """Return the tree as a Click command: help texts are shown as they are written, and what a command lacks is said."""
    root = typer.main.get_command(build())
    for name, inner in getattr(root, "commands", {}).items():
        if name in COMMANDS:
            _guard(inner, f"molmo-point {name}", COMMANDS[name])
    _show_as_written(root)
    _note_typed(root)
    return root


def _note_typed(part: Any) -> None:
    """Before a command runs, note which of its options stand on the command line: the others may come from the environment."""
    inner = getattr(part, "commands", {}).values()
    for each in inner:
        _note_typed(each)
    if inner:
        return
    invoke = part.invoke

    def noting(context: Any) -> Any:
        typed = {
            name
            for name in context.params
            if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
        }
        token = TYPED.set(frozenset(typed))
        try:
            return invoke(context)
        finally:
            TYPED.reset(token)

    part.invoke = noting


def lacking(command: Command) -> list[str]:
    """Return the packages of a command that are not installed; nothing is imported."""
    return [package for package in command.packages if importlib.util.find_spec(package) is None]


def _guard(inner: Any, words: str, own: Command) -> None:
    """Say in a command's help what it lacks here, and refuse to run it."""
    lacks = lacking(own)
    if not lacks:
        return
    hint = f"needs the extra '{own.extra}', which is not installed"
    hint = f"(here only with --connect: a model {hint})" if own.unless_connected else f"({hint})"
    inner.help = f"{inner.help or ''}\n\n{hint}"
    short = "--connect only" if own.unless_connected else f"needs '{own.extra}'"
    inner.short_help = f"{(inner.short_help or inner.get_short_help_str(200)).rstrip()} ({short})"
    if own.unless_connected:
        return

    def refuse(*_: object, **__: object) -> None:
        raise missing(lacks[0], own.extra, words)

    for part in (inner, *getattr(inner, "commands", {}).values()):
        if not getattr(part, "commands", None):
            part.callback = refuse


def _show_as_written(part: Any) -> None:
    """Escape what Rich would take for markup in a command's help, and below; show given metavars as they are."""
    from rich.markup import escape

    for holder in (part, *part.params):
        for field in ("help", "short_help", "epilog"):
            if isinstance(text := getattr(holder, field, None), str):
                setattr(holder, field, escape(text))
    for parameter in part.params:
        if parameter.param_type_name == "argument" and parameter.metavar:
            parameter.get_usage_pieces = lambda ctx, words=parameter.metavar: [words]
    for inner in getattr(part, "commands", {}).values():
        _show_as_written(inner)


def _include(app: typer.Typer, name: str, module: str, extra: str) -> None:
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
        from molmo_point.version import __version__

        typer.echo(__version__)
        raise typer.Exit(0)


def _globals(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            "-V",
            help="Print the version and leave.",
            is_eager=True,
            callback=_print_version,
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error came from (anywhere on the line).")
    ] = False,
) -> None:
    """An image and a few words in, points out.

    \b
    molmo-point demo                                         the shipped model on a shipped image
    molmo-point point table.jpg "red mug" --out points.png    points, and a drawing of them
    molmo-point count photos/ boats --recursive              one line for each image
    molmo-point serve nano                                   a server with a web page
    """
