"""`molmo-point merge`: write a checkpoint with a LoRA adapter merged into its weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from molmo_point.cli.model_options import AsJson, Quiet
from molmo_point.cli.progress import spinner


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("merge")(merge_command)


def merge_command(
    checkpoint: Annotated[
        str,
        typer.Argument(
            help="The adapter's base model: a name of `molmo-point models`, a hub repository or a folder."
        ),
    ],
    adapter: Annotated[
        Path,
        typer.Argument(help="Folder of the adapter, written by `molmo-point finetune` or peft."),
    ],
    out: Annotated[Path, typer.Argument(help="Folder to write; must not exist.")],
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Merge a LoRA adapter into its base model, as a checkpoint folder that every command takes as --model.

    The folder is complete or not there; tensors keep their names, types and files. Calibrations of scores are not copied: they
    belong to the base model.

    \b
    molmo-point merge molmo-7b-d runs/screws/best screws
    molmo-point point photo.jpg "screw" --model screws
    """
    from molmo_point.api import merge

    with spinner(f"merging {adapter} into {checkpoint}", quiet=quiet):
        changed = merge(checkpoint, adapter, out)
    if as_json:
        typer.echo(json.dumps({"folder": str(out), "tensors": changed}))
        return
    typer.echo(f"{out}: {changed} tensors changed")
