"""`molmo-point quantize`: write a checkpoint's low-bit weights into a folder that loads in seconds."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from molmo_point.cli.model_options import AsJson, Quiet
from molmo_point.cli.progress import spinner


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(quantize)


def quantize(
    checkpoint: Annotated[
        str, typer.Argument(help="A name of `molmo-point models`, a hub repository or a folder.")
    ],
    out: Annotated[Path, typer.Argument(help="Folder to write; must not exist.")],
    scheme: Annotated[
        str, typer.Option(help="int8 (nearly exact) or int4 (half the memory of int8).")
    ] = "int8",
    dtype: Annotated[
        str,
        typer.Option(
            help="Type of the weights that keep more bits: bfloat16, float16 or float32."
        ),
    ] = "bfloat16",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write the low-bit weights of a checkpoint into a folder, which every command takes as --model.

    The folder is complete or not there. The full weights are never held in memory: it takes that of the low-bit weights.

    \b
    molmo-point quantize molmo-7b-d molmo-7b-d-int4 --scheme int4
    molmo-point point table.jpg "red mug" --model molmo-7b-d-int4
    """
    from molmo_point.api import write_quantized

    start = time.perf_counter()
    with spinner(f"quantizing {checkpoint}", quiet=quiet):
        write_quantized(checkpoint, out, scheme=scheme, dtype=dtype)
    size = sum(path.stat().st_size for path in out.iterdir())
    if as_json:
        typer.echo(json.dumps({"folder": str(out), "scheme": scheme, "bytes": size}))
        return
    typer.echo(f"{out}: {scheme}, {size / 1e9:.2f} GB, {time.perf_counter() - start:.0f} s")
