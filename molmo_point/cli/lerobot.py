"""`molmo-point lerobot`: annotate a LeRobot dataset with points, counts and boxes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from molmo_point.cli.exit_codes import EXIT_CODES
from molmo_point.cli.model_options import (
    AsJson,
    ModelSelection,
    Quiet,
    open_pointer,
    with_model_options,
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXIT_CODES)(lerobot)


@with_model_options
def lerobot(
    folder: Annotated[Path, typer.Argument(help="A LeRobot dataset of version 3.")],
    query: Annotated[
        list[str],
        typer.Option("--query", help="What to point to; repeat it: asked in turn."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write; must not exist.")],
    *,
    where: ModelSelection,
    camera: Annotated[
        list[str] | None, typer.Option(help="Camera feature, or its last name. Default: all.")
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            help="keypoint, count or bbox; repeat it: in turn. Default: keypoint, count."
        ),
    ] = None,
    every: Annotated[
        float, typer.Option(min=0.0, help="Seconds between the frames that are asked about.")
    ] = 1.0,
    box_px: Annotated[
        float | None, typer.Option(help="Side of the boxes of bbox rows, in pixels.")
    ] = None,
    min_score: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Leave out less certain answers.")
    ] = 0.0,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Annotate a LeRobot dataset: question and answer rows (style vqa) with pixels, image size and score.

    Writes a new folder; the dataset itself is not changed. Answers that are cut or cannot be read have no rows.

    \b
    molmo-point lerobot my_dataset --query "the red mug" --query "the gripper" --out my_dataset_pointed
    molmo-point lerobot my_dataset --query mugs --kind bbox --box-px 40 --camera top --every 0.5 --out boxes
    """
    from molmo_point.lerobot_dataset import Asking, annotate

    kinds = tuple(kind) if kind else Asking.kinds
    asking = Asking(tuple(query), kinds, box_px, min_score)
    with open_pointer(where, quiet=quiet) as pointer:
        report = annotate(folder, out, pointer, asking, every_s=every, cameras=camera or ())
    if as_json:
        written = {"folder": str(out), "asked": report.asked, "written": report.written}
        typer.echo(json.dumps({**written, "skipped": report.skipped}))
    else:
        counts = ", ".join(f"{count} {name}" for name, count in sorted(report.written.items()))
        typer.echo(f"{out}: {report.asked} frames asked about; rows: {counts or 'none'}")
        if not quiet:
            for name, row, feature, reason in report.skipped[:20]:
                typer.echo(f"{name}, row {row}, {feature}: {reason}", err=True)
    if report.asked and not report.written:
        raise typer.Exit(1)
