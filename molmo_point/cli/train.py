"""`molmo-point train`: train a small Molmo from a recipe, or resume an interrupted run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from molmo_point.cli.exit_codes import FAILED
from molmo_point.cli.finetune_options import Tensorboard
from molmo_point.cli.signals import INTERRUPTED, catch_signals
from molmo_point.cli.threads import one_blas_thread
from molmo_point.errors import UsageError

if TYPE_CHECKING:
    from molmo_point.train.recipe import Recipe


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train")(train_command)


def train_command(
    recipe: Annotated[
        str,
        typer.Argument(
            help="Name of a recipe of the package (nano, nano-ui, words, more), or a JSON file."
        ),
    ] = "nano",
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Run folder, created if missing; an unfinished run in it is resumed. Default: runs/RECIPE."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that render images; 0 renders in this one.")
    ] = 1,
    threads: Annotated[
        int,
        typer.Option(
            min=1,
            help="Threads of the training process. On a CPU, two runs of one thread each finish sooner than one with two.",
        ),
    ] = 1,
    precision: Annotated[
        str | None,
        typer.Option(
            help="Matrix products in float32 or bfloat16, or auto: what this machine is fastest in. Default: the recipe's.",
            show_default=False,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Save and stop after this many steps. Default: run to the end."),
    ] = None,
    tensorboard: Tensorboard = False,
) -> None:
    """Train a model; print the folder of the checkpoint, for `--model` of the other commands.

    Ctrl+C and SIGTERM save the state after the current step and stop; the same command resumes. Exit codes: 0 trained to the end,
    1 stopped by --steps, 130 stopped by a signal, 2 a mistake on the command line or in a file.
    """
    one_blas_thread()
    chosen = _recipe(recipe, precision)
    run = folder or Path("runs") / chosen.name
    sys.stderr.write(_plan(chosen, run))
    import torch

    from molmo_point.train.loop import train
    from molmo_point.train.progress import Progress

    torch.set_num_threads(threads)
    with catch_signals() as stop:
        checkpoint = train(
            chosen,
            run,
            device=device,
            workers=workers,
            progress=Progress(sys.stderr),
            steps=steps,
            stop=stop,
            tensorboard=tensorboard,
        )
        interrupted = stop()
    whole = not interrupted and (steps is None or _is_finished(run, chosen))
    if (checkpoint / "config.json").is_file():
        typer.echo(str(checkpoint))
    if not whole:
        sys.stderr.write(_stopped(run, checkpoint))
        raise typer.Exit(INTERRUPTED if interrupted else FAILED)


def _recipe(name: str, precision: str | None) -> Recipe:
    """Return a recipe, with another precision where one is given.

    Raises:
        UsageError: There is no such recipe or precision.
    """
    from molmo_point.train.recipe import PRECISIONS, find_recipe

    chosen = find_recipe(name)
    if precision is None:
        return chosen
    if precision not in PRECISIONS:
        raise UsageError(
            f"--precision: expected one of {', '.join(PRECISIONS)}, got {precision!r}"
        )
    return chosen.model_copy(update={"precision": precision})


def _plan(recipe: Recipe, run: Path) -> str:
    """Return the announcement: the stages and their budget."""
    seconds = sum(stage.cpu_seconds or 0 for stage in recipe.stages)
    images = sum(stage.samples or 0 for stage in recipe.stages)
    cost = [f"{seconds / 3600:.1f} CPU-hours"] if seconds else []
    cost += [f"{images:,} images"] if images else []
    stages = ", ".join(stage.name for stage in recipe.stages)
    return (
        f"training {recipe.name} in {run}: at most {' and '.join(cost)}, stages: {stages}\n"
        "Ctrl+C saves and stops; the same command resumes. The first line comes after about a minute.\n"
    )


def _stopped(run: Path, checkpoint: Path) -> str:
    """Return the message of a run that was stopped before its end."""
    there = (
        f"{checkpoint} is the checkpoint of the last evaluation"
        if (checkpoint / "config.json").is_file()
        else "there is no checkpoint yet"
    )
    return f"stopped, the state is saved in {run}, {there}; the same command resumes\n"


def _is_finished(run: Path, recipe: Recipe) -> bool:
    """Whether the saved state is that of a finished run."""
    from molmo_point.train.state import read_position

    position = read_position(run)
    return position is not None and position.stage >= len(recipe.stages)
