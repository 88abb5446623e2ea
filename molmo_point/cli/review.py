"""`molmo-point review`: look at the points of a run, correct them, export the result."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from molmo_point.cli.model_options import Quiet
from molmo_point.defaults import REVIEW_PORT

FORMATS = ("csv", "coco", "yolo", "label-studio", "fiftyone")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(review)


def review(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder of molmo-point count ... --out DIR.")
    ],
    port: Annotated[
        int,
        typer.Option(min=0, max=65535, help="Port of the page on this machine; 0 = any free one."),
    ] = REVIEW_PORT,
    browse: Annotated[
        bool, typer.Option("--browser", help="Open the page in the browser.")
    ] = False,
    export: Annotated[
        str | None,
        typer.Option(help=f"Write the reviewed points instead: {', '.join(FORMATS)}."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Correct the points of a counting run in a web page on this machine, by mouse or keyboard alone.

    Every change is on the disk (corrections.jsonl in DIR) before the page calls it saved. The files of the run stay as they are.

    \b
    molmo-point review counted/
    molmo-point review counted/ --export coco      # into counted/export-coco/
    """
    if export is not None:
        from molmo_point.review.export import write_export
        from molmo_point.review.reviewed import Review

        for path in write_export(Review(folder), export, folder / f"export-{export}"):
            typer.echo(str(path))
        return
    from molmo_point.review.serve import serve_review

    def ready(address: str) -> None:
        if not quiet:
            sys.stderr.write(f"review {folder} at {address} (Ctrl-C ends it; nothing is lost)\n")
            sys.stderr.flush()
        if browse:
            typer.launch(address)

    serve_review(folder, port, ready)
