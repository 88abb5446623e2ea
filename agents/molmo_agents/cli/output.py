"""What the commands print: results on stdout, talk on stderr, and the exit code that fits."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import typer

from molmo_agents.outcome import Outcome, Status
from molmo_agents.overlay import overlay


def draw(outcome: Outcome, path: Path | None) -> None:
    """Write the screenshot with the point drawn on it, where a path is given and there is a screenshot."""
    if path is not None and outcome.screenshot is not None:
        path.write_bytes(overlay(outcome.screenshot, outcome))
        say(f"drawn: {path}")


def finish(report: Path, good: bool, outcomes: list[Outcome], as_json: bool) -> None:
    """Print where the report of a flow is, or everything as JSON, and leave with 0 where all came out as wanted, else 1."""
    if as_json:
        steps = [outcome.model_dump(mode="json") for outcome in outcomes]
        typer.echo(json.dumps({"good": good, "report": str(report), "steps": steps}))
    else:
        typer.echo(report)
    sys.exit(0 if good else 1)


def leave(outcome: Outcome, as_json: bool = False, quiet: bool = False) -> None:
    """Print the outcome and leave with the exit code that fits it."""
    if as_json:
        typer.echo(outcome.model_dump_json())
    elif not quiet:
        place = f" at {outcome.point[0]:.1f},{outcome.point[1]:.1f}" if outcome.point else ""
        target = f" <{outcome.target.tag}> {outcome.target.name!r}" if outcome.target else ""
        score = "" if outcome.score is None else f" score {outcome.score:.2f}"
        typer.echo(f"{outcome.status}{place}{target}{score}")
        for x, y in () if outcome.point else outcome.points:
            typer.echo(f"  {x:.1f},{y:.1f}")
    if outcome.message:
        say(outcome.message)
    if outcome.status is Status.ERROR and outcome.text:
        say(f"the model wrote: {outcome.text[:300]}")
    sys.exit(0 if outcome.ok else 3 if outcome.status is Status.ABSENT else 1)


def say(text: str) -> None:
    """Talk to the person at the terminal."""
    typer.echo(text, err=True)
