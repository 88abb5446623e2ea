"""`molmo-point train`: train a small Molmo from a recipe, or go on with an interrupted run."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer


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
            help="Run folder, made if missing; an unfinished run in it goes on. [runs/RECIPE]"
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that draw pictures; 0 draws in this one.")
    ] = 1,
    threads: Annotated[
        int,
        typer.Option(
            min=1, help="Threads that compute; on a CPU two runs of one beat one of two."
        ),
    ] = 1,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Stop after so many steps, state saved. [to the end]")
    ] = None,
) -> None:
    """Train a model; prints the folder of the checkpoint, which `--model` of the other commands takes.

    Ctrl+C and SIGTERM end it after the step that it is in, state saved; the same command goes on.
    """
    import torch

    from molmo_point.train.loop import train
    from molmo_point.train.progress import Progress
    from molmo_point.train.recipe import find_recipe

    torch.set_num_threads(threads)
    chosen = find_recipe(recipe)
    with _asked_to_stop() as stop:
        checkpoint = train(
            chosen,
            folder or Path("runs") / chosen.name,
            device=device,
            workers=workers,
            progress=Progress(sys.stderr),
            steps=steps,
            stop=stop,
        )
    typer.echo(str(checkpoint))


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
