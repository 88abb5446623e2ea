"""`molmo-point point`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from molmo_point.cli.answers import overall_code
from molmo_point.cli.asking import Asking, Shown, report_skipped
from molmo_point.cli.exit_codes import EXIT_CODES, FAILED
from molmo_point.cli.inputs import collect_images, stdin_command
from molmo_point.cli.model_options import (
    AsJson,
    ModelSelection,
    Quiet,
    Timeout,
    open_pointer,
    with_model_options,
)
from molmo_point.cli.outputs import AnnotatedOutputs
from molmo_point.cli.together import Sampling, ask_together, is_one_question
from molmo_point.cli.words import split_arguments
from molmo_point.wording import counted

if TYPE_CHECKING:
    from molmo_point.pointer import Tiles

Words = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGE... QUERY",
        help="Files, globs, folders, - (stdin) or data URLs; and what to look for. Commas separate several queries.",
    ),
]
Query = Annotated[
    list[str] | None,
    typer.Option(
        "--query",
        help="What to look for, taken as it is (commas, too); repeatable. Then all arguments are images.",
    ),
]
Recursive = Annotated[
    bool, typer.Option("--recursive", "-r", help="Look into the folders of folders, too.")
]
Out = Annotated[
    str | None,
    typer.Option(
        "--out",
        "-o",
        help="Draw the points: a .png, .jpg or .webp, or a folder for several (JPEG). At most 2048 pixels wide and high.",
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Let --out replace a file that is no drawing of molmo-point.",
    ),
]

Together = Annotated[
    bool,
    typer.Option(
        "--together",
        help="One question about all images: each point says in which it lies. Needs a Molmo 2.",
    ),
]
Fps = Annotated[
    float | None,
    typer.Option("--fps", help="Of a video: most frames a second. Default 2, as in training."),
]
Frames = Annotated[
    int | None,
    typer.Option("--frames", help="Of a video: most frames. Default 384, or what a server takes."),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXIT_CODES)(point)


@with_model_options
def point(
    words: Words,
    query: Query = None,
    *,
    where: ModelSelection,
    timeout: Timeout = None,
    recursive: Recursive = False,
    as_json: AsJson = False,
    out: Out = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    together: Together = False,
    fps: Fps = None,
    frames: Frames = None,
) -> None:
    """Point to everything that fits: molmo-point point table.png "the red mug".

    \b
    molmo-point point table.jpg "red mug" --out points.png
    molmo-point point table.jpg "mugs, pens" --json
    molmo-point point photos/ mugs --connect http://gpu:8000 --out drawn/
    curl -sL https://example.org/table.jpg | molmo-point point - "red mug"
    molmo-point point left.png right.png "boxes" --together --model molmo2-4b
    molmo-point point clip.mp4 "the ball" --frames 64 --model molmo2-4b
    """
    shown = Shown(as_json, quiet, out, overwrite)
    ask_images(
        "point",
        words,
        query,
        where,
        shown,
        recursive=recursive,
        timeout_s=timeout,
        together=together,
        sampling=Sampling(fps, frames),
    )


def ask_images(
    kind: str,
    words: list[str],
    query: list[str] | None,
    where: ModelSelection,
    shown: Shown,
    *,
    recursive: bool,
    timeout_s: float | None,
    tiles: Tiles = None,
    together: bool = False,
    sampling: Sampling | None = None,
) -> None:
    """Ask every query about every image, print the answers and draw them; leave with the exit code.

    Args:
        together: Ask about all images in one question.
        sampling: Of a video, which is asked about in one question, too; None where videos are no input.
    """
    from molmo_point.arguments import check_query
    from molmo_point.images import load_image

    names, queries = split_arguments(words, query or (), "query")
    queries = [check_query(text) for text in queries]
    found = collect_images(names, recursive=recursive, again=stdin_command(kind, queries))
    if sampling is not None and is_one_question(found, together, sampling):
        ask_together(found, queries, where, shown, sampling, timeout_s=timeout_s)
    outputs = (
        None
        if shown.out is None
        else AnnotatedOutputs(
            shown.out, found.images, several=found.several, overwrite=shown.overwrite
        )
    )
    report_skipped(found, shown.quiet)
    several = found.several or len(queries) > 1
    if len(found.images) == 1 and not several:
        # Before the model is loaded, which may take minutes.
        load_image(found.images[0].source)
    asking = Asking(kind, queries, several, timeout_s, shown.as_json, shown.quiet, tiles)
    with open_pointer(where, quiet=shown.quiet) as pointer:
        answers = asking.run(pointer, found, outputs)
    code = overall_code(answers)
    if outputs is not None:
        if several and not shown.quiet:
            sys.stderr.write(f"wrote {counted(outputs.written, 'drawing')} in {outputs.place}\n")
        code = FAILED if outputs.failed else code
    raise typer.Exit(code)
