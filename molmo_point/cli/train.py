"""`molmo-point train`: train a small Molmo from a recipe, or go on with an interrupted run."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from molmo_point.cli import FAILED

if TYPE_CHECKING:
    from molmo_point.train.recipe import Recipe

INTERRUPTED = 130
"""What shells report for a program that Ctrl+C ended."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train")(train_command)


def train_command(
    recipe: Annotated[
        str,
        typer.Argument(
            help="Name of a recipe that comes with the package (nano), or a JSON file."
        ),
    ] = "nano",
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Run folder, made if missing; an unfinished run in it goes on. Default: runs/RECIPE."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that draw pictures; 0 draws in this one.")
    ] = 1,
    threads: Annotated[
        int,
        typer.Option(
            min=1,
            help="Threads that compute. On a CPU, two single-threaded runs finish sooner than one with two threads.",
        ),
    ] = 1,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Stop after this many steps, state saved. Default: to the end."),
    ] = None,
) -> None:
    """Train a model; prints the folder of the checkpoint, which `--model` of the other commands takes.

    Ctrl+C and SIGTERM end it after the step that it is in, state saved; the same command goes on. Exit codes: 0 trained to the
    end, 1 stopped by --steps, 130 by a signal, 2 your mistake.
    """
    from molmo_point.train.recipe import find_recipe

    chosen = find_recipe(recipe)
    run = folder or Path("runs") / chosen.name
    sys.stderr.write(_plan(chosen, run))
    import torch

    from molmo_point.train.loop import train
    from molmo_point.train.progress import Progress

    torch.set_num_threads(threads)
    with _asked_to_stop() as stop:
        checkpoint = train(
            chosen,
            run,
            device=device,
            workers=workers,
            progress=Progress(sys.stderr),
            steps=steps,
            stop=stop,
        )
        interrupted = stop()
    whole = not interrupted and (steps is None or _is_finished(run, chosen))
    if (checkpoint / "config.json").is_file():
        typer.echo(str(checkpoint))
    if not whole:
        sys.stderr.write(_stopped(run, checkpoint))
        raise typer.Exit(INTERRUPTED if interrupted else FAILED)


def _plan(recipe: Recipe, run: Path) -> str:
    """Say what is about to begin: the stages and what they may cost at most."""
    seconds = sum(stage.cpu_seconds or 0 for stage in recipe.stages)
    pictures = sum(stage.samples or 0 for stage in recipe.stages)
    cost = [f"{seconds / 3600:.1f} CPU-hours"] if seconds else []
    cost += [f"{pictures:,} pictures"] if pictures else []
    stages = ", ".join(stage.name for stage in recipe.stages)
    return (
        f"training {recipe.name} in {run}: at most {' and '.join(cost)}, stages: {stages}\n"
        "Ctrl+C stops and saves; the same command goes on. The first line comes after about a minute.\n"
    )


def _stopped(run: Path, checkpoint: Path) -> str:
    """Say what there is of a run that has not come to its end."""
    there = (
        f"{checkpoint} is the checkpoint of the last check"
        if (checkpoint / "config.json").is_file()
        else "there is no checkpoint yet"
    )
    return f"stopped, the state is saved in {run}, {there}; the same command goes on\n"


def _is_finished(run: Path, recipe: Recipe) -> bool:
    """Whether the saved state stands behind the last stage."""
    import json

    from safetensors import safe_open

    from molmo_point.train.state import STATE_FILE

    with safe_open(run / STATE_FILE, "pt") as state:
        place = json.loads((state.metadata() or {}).get("place", "{}"))
    return int(place.get("stage", 0)) >= len(recipe.stages)


@contextmanager
def _asked_to_stop() -> Iterator[Callable[[], bool]]:
    """While it is open, the signals that end a program are only noted; gives a function that says whether one came.

    The processes that draw only note Ctrl+C, too: a terminal sends it to all of them, and the one that trains ends them.
    """
    asked = False

    def note(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        asked = True

    signals = (signal.SIGINT, signal.SIGTERM)
    # Only the main thread may say what signals do; elsewhere they are not ours to handle.
    ours = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, note) for number in signals} if ours else {}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
