"""`molmo-point demo`: the model in the package points at something in an image that comes with it."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from molmo_point.cli.exit_codes import FAILED
from molmo_point.cli.inputs import InputImage
from molmo_point.cli.model_options import ModelSelection, Quiet, open_pointer
from molmo_point.cli.outputs import AnnotatedOutputs
from molmo_point.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    out: Annotated[
        str, typer.Option("--out", "-o", help="Where the drawn image goes.")
    ] = "demo.png",
    quiet: Quiet = False,
) -> None:
    """Point at something in an image that comes along, print the points and draw them."""
    from molmo_point.cli.tables import print_points

    image, query = _scene()
    outputs = AnnotatedOutputs(out, [image])
    with open_pointer(ModelSelection(), quiet=quiet) as pointer:
        pointing = pointer.point(image.source, query, frame_id="demo.png")
        model = pointer.model
    print_points(pointing, "demo.png")
    path = outputs.write(image, pointing)
    if not quiet:
        sys.stderr.write(
            f"{model} took {pointing.timing.total_s:.1f} s; the points are drawn in {path}. "
            'Go on with your own: molmo-point point YOUR.jpg "what to look for" --out points.png\n'
        )
    if not pointing.points:
        raise typer.Exit(FAILED)


def _scene() -> tuple[InputImage, str]:
    """Read demo.png and, from demo.json, what to look for in it: {"query": "..."}."""
    from molmo_point.checkpoints.catalog import NANO_FOLDER

    path = NANO_FOLDER / "demo.png"
    try:
        query = str(json.loads((NANO_FOLDER / "demo.json").read_text("utf-8"))["query"])
        if not path.is_file():
            raise FileNotFoundError(path)
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(
            f"expected the demo's image and demo.json in {NANO_FOLDER}, got {error}: install molmo-point again"
        ) from error
    return InputImage(str(path), str(path)), query
