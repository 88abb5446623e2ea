"""`molmo-web`: the commands. Results on stdout (`--json` for machines), talk on stderr.

Exit code 0: done or found; 1: failed; 2: the caller's mistake; 3: nothing there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Optional

from molmo_point.errors import PointError, UsageError
from molmo_point.install import import_failure
from molmo_point.pointer import Pointer
from molmo_point.version import __version__

try:
    import typer
except ImportError as error:
    raise import_failure(error, "typer", "agents", "the command molmo-web") from error

from molmo_agents.browser.launch import open_page
from molmo_agents.cli import bench, options
from molmo_agents.cli.options import (
    Allow,
    AsJson,
    At,
    Dpr,
    Model,
    Overlay,
    Overwrite,
    Query,
    Url,
    Viewport,
)
from molmo_agents.cli.output import draw, finish, leave, say
from molmo_agents.journal import Journal
from molmo_agents.outcome import Outcome
from molmo_agents.playwright_types import Page
from molmo_agents.pointers import choose_pointer
from molmo_agents.policy import Policy, allow_risks
from molmo_agents.session import Options
from molmo_agents.sync_pointer import WebPointer

app = typer.Typer(
    help="Point and click in a browser by description.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(bench.app, name="bench")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"molmo-web {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool,
        typer.Option("--version", "-V", is_eager=True, callback=_print_version, help="Print it."),
    ] = False,
) -> None:
    """Options of the program itself."""


def main() -> None:
    """Run the command line; a mistake of the caller is one sentence and exit code 2."""
    try:
        app()
    except UsageError as mistake:
        say(f"molmo-web: {mistake}")
        sys.exit(2)
    except PointError as failure:
        say(f"molmo-web: {failure}")
        sys.exit(1)


@app.command()
def shot(
    url: Url,
    out: Annotated[Path, typer.Option("-o", "--out", help="Where to write the PNG.")] = Path(
        "shot.png"
    ),
    region: Annotated[Optional[str], typer.Option(help="X,Y,WIDTH,HEIGHT in CSS pixels.")] = None,  # noqa: UP045
    viewport: Viewport = "1280x800",
    dpr: Dpr = 1.0,
    overwrite: Overwrite = False,
) -> None:
    """Take the screenshot that a model would see; with --dpr in device pixels."""
    screen = options.screen(viewport, dpr)
    part = options.region(region, screen)
    options.writable(out, overwrite)
    with open_page(screen) as page, _web(page, url, choose_pointer("none")) as web:
        outcome = _opened(web, url) or web.look(region=part, scale=dpr)
    if outcome.ok and outcome.screenshot is not None:
        out.write_bytes(outcome.screenshot.image)
        typer.echo(out)
    leave(outcome, quiet=outcome.ok)


@app.command()
def point(
    url: Url,
    query: Query,
    model: Model = "nano",
    at: At = None,
    many: Annotated[bool, typer.Option(help="Every place that matches.")] = False,
    image: Overlay = None,
    viewport: Viewport = "1280x800",
    dpr: Dpr = 1.0,
    as_json: AsJson = False,
    allow_origin: Allow = None,
    overwrite: Overwrite = False,
) -> None:
    """Say where something is on a page and what lies there; touches nothing."""
    options.writable(image, overwrite)
    pointer = choose_pointer(model, at)
    with (
        open_page(options.screen(viewport, dpr)) as page,
        _web(page, url, pointer, allow_origin) as web,
    ):
        outcome = _opened(web, url) or web.locate(query, many=many)
    draw(outcome, image)
    leave(outcome, as_json)


@app.command()
def click(
    url: Url,
    query: Query,
    act: Annotated[
        bool,
        typer.Option("--act", help="Really press; without it everything is done but the press."),
    ] = False,
    yes_risk: Annotated[
        list[str] | None, typer.Option(help="Say yes to this risk: buy, pay, delete, send, ...")
    ] = None,
    expect_name: Annotated[str | None, typer.Option(help="Press only what is called so.")] = None,
    model: Model = "nano",
    at: At = None,
    image: Overlay = None,
    log: Annotated[Optional[Path], typer.Option(help="Folder for a journal.")] = None,  # noqa: UP045
    viewport: Viewport = "1280x800",
    dpr: Dpr = 1.0,
    as_json: AsJson = False,
    allow_origin: Allow = None,
    overwrite: Overwrite = False,
) -> None:
    """Press something on a page; a dry run unless --act."""
    options.writable(image, overwrite)
    pointer = choose_pointer(model, at)
    confirm = allow_risks(yes_risk) if yes_risk else None
    changes = {"dry_run": not act, "confirm": confirm}
    journal = Journal(log) if log else None
    with (
        open_page(options.screen(viewport, dpr)) as page,
        _web(page, url, pointer, allow_origin, journal, **changes) as web,
    ):
        outcome = _opened(web, url) or web.click(query, expect_name=expect_name)
    draw(outcome, image)
    leave(outcome, as_json)


@app.command()
def run(
    flow_file: Annotated[Path, typer.Argument(help="YAML file of steps; see docs/agents.md.")],
    start: Annotated[
        str | None, typer.Option(help="Begin at this address instead of the flow's.")
    ] = None,
    log: Annotated[Path, typer.Option(help="Folder for journal and report.html.")] = Path(
        "molmo-web-log"
    ),
    model: Model = "nano",
    at: At = None,
    dpr: Dpr = 1.0,
    dry_run: Annotated[bool, typer.Option(help="Press nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Do the steps of a flow; write one HTML page about it."""
    from molmo_agents.flows.flow_runner import run_recorded

    done = run_recorded(
        flow_file,
        log,
        choose_pointer(model, at),
        start=start,
        dpr=dpr,
        dry_run=dry_run,
        say=say,
    )
    finish(done.report, done.good, done.outcomes, as_json)


@app.command()
def replay(
    folder: Annotated[Path, typer.Argument(help="Folder that `molmo-web run` wrote.")],
    log: Annotated[
        Path | None, typer.Option(help="Folder for the new journal; default FOLDER/replay.")
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="Begin at this address instead of the flow's.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Do a recorded flow again with the recorded points, without a model."""
    from molmo_agents.flows.flow_runner import replay_recorded

    done = replay_recorded(folder, log or folder / "replay", start=start, say=say)
    finish(done.report, done.good, done.outcomes, as_json)


@app.command()
def mcp(
    origin: Annotated[
        list[str],
        typer.Option("--allow-origin", help="Origin that pages may be at; repeat for more."),
    ],
    model: Model = "nano",
    at: At = None,
    yes_risk: Annotated[
        list[str] | None, typer.Option(help="Say yes to this risk without asking.")
    ] = None,
    http: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Serve HTTP on this loopback port instead of stdio."),
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VARIABLE: type_secret types the environment variable's value."),
    ] = None,
    files: Annotated[
        Path | None, typer.Option(help="Folder whose files may be uploaded; none without it.")
    ] = None,
    viewport: Viewport = "1280x800",
) -> None:
    """Serve the verbs to an MCP client: descriptions in, outcomes out."""
    from molmo_agents.mcp.server import serve

    if files is not None and not files.is_dir():
        raise UsageError(f"there is no folder {files}: check --files")
    policy = Policy(
        origins=tuple(origin),
        confirm=allow_risks(yes_risk) if yes_risk else None,
        secrets=options.secrets(secret or [], tuple(origin)),
    )
    serve(choose_pointer(model, at), policy, options.screen(viewport, 1.0), port=http, files=files)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Find browser, fonts and sandbox, and prove one click."""
    from molmo_agents.cli.doctor import examine

    findings = examine()
    if as_json:
        typer.echo(json.dumps([vars(finding) for finding in findings]))
    else:
        for finding in findings:
            typer.echo(f"{'ok  ' if finding.good else 'BAD '} {finding.name:<11} {finding.detail}")
    sys.exit(0 if all(finding.good for finding in findings) else 1)


def _web(
    page: Page,
    url: str,
    pointer: Pointer,
    more: list[str] | None = None,
    journal: Journal | None = None,
    **changes: Any,
) -> WebPointer:
    policy = Policy(origins=tuple(more or ()), **changes).with_start(url)
    return WebPointer(page, pointer, policy, Options(), journal)


def _opened(web: WebPointer, url: str) -> Outcome | None:
    outcome = web.goto(url)
    return None if outcome.ok else outcome
