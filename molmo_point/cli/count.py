"""`molmo-point count`: one number, a line for each image, or a run into a folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from molmo_point.cli.asking import Shown
from molmo_point.cli.count_inputs import Columns, is_list, is_special, is_table_name
from molmo_point.cli.exit_codes import EXIT_CODES
from molmo_point.cli.model_options import (
    AsJson,
    ModelSelection,
    Quiet,
    Timeout,
    with_model_options,
)
from molmo_point.cli.point import Overwrite, Query, Recursive, ask_images
from molmo_point.cli.ray_options import Cluster, Gpus, Ray, Replicas
from molmo_point.cli.words import names_image, split_arguments
from molmo_point.errors import UsageError

if TYPE_CHECKING:
    from molmo_point.pointer import Tiles

Words = Annotated[
    list[str],
    typer.Argument(
        metavar="INPUT... QUERY",
        help="Files, globs, folders, @LIST, - (stdin), data URLs; with --out DIR also tables (.csv, .tsv, .parquet) and videos. "
        "And what to count; commas separate several queries.",
    ),
]
Out = Annotated[
    str | None,
    typer.Option(
        "--out",
        "-o",
        help="For one image: draw the points into this file. For several: count into this folder: tables, points, annotated "
        "images, contact sheets; the same command resumes.",
    ),
]
TileCount = Annotated[
    str | None,
    typer.Option(
        "--tiles",
        metavar="auto|N",
        help="Also look at overlapping tiles: N of them, or as many as the first look asks for. For many and for small things.",
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        min=1,
        max=256,
        help="Images asked about at a time, of a server or cluster. Default: 4 of each server or replica.",
    ),
]
EveryNth = Annotated[
    str | None,
    typer.Option(
        "--every",
        metavar="N|Ns",
        help="Count in videos: every N frames (30), or every N seconds (2s).",
    ),
]
ImageColumn = Annotated[
    str | None,
    typer.Option(help="Column of a table that holds paths. Default: image, file, path, ..."),
]
QueryColumn = Annotated[
    str | None,
    typer.Option(
        help="Column of a table that holds queries. Default: query, where no --query is given."
    ),
]
Drawings = Annotated[
    bool, typer.Option("--drawings/--no-drawings", help="Whether a run writes annotated images.")
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXIT_CODES)(count)


@with_model_options
def count(
    words: Words,
    query: Query = None,
    *,
    where: ModelSelection,
    timeout: Timeout = None,
    recursive: Recursive = False,
    tiles: TileCount = None,
    every: EveryNth = None,
    image_column: ImageColumn = None,
    query_column: QueryColumn = None,
    jobs: Jobs = None,
    as_json: AsJson = False,
    out: Out = None,
    drawings: Drawings = True,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    ray: Ray = None,
    replicas: Replicas = None,
    gpus: Gpus = None,
) -> None:
    """Count by pointing: molmo-point count harbour.jpg boats. Prints the number of points.

    One image and one query: the number alone. A folder, a pattern, several images or queries: a line each,
    COUNT, IMAGE, (QUERY,) STATUS between tabs. A count that is not known is NA. With --out DIR also counts.csv, points.jsonl
    and annotated images in DIR; interrupted, the same command goes on where it stopped.

    \b
    molmo-point count harbour.jpg boats
    molmo-point count photos/ boats --recursive > counts.tsv
    molmo-point count photos/ --query boats --query "people on a pier" --out counted/
    molmo-point count shelf.jpg bottles --tiles auto
    molmo-point count traffic.mp4 cars --every 2s --out counted/
    molmo-point count images.csv --out counted/            # columns image and query
    molmo-point count @files.txt boats --connect tcp://gpu:5555 --jobs 8 --out counted/
    molmo-point count photos/ boats --ray auto --replicas 4 --out counted/
    """
    from molmo_point.count_runs.videos import Every

    grid = _tiles(tiles)
    named, queries = _split(words, query)
    special = [word for word in named if is_special(word)]
    cluster = Cluster(ray, replicas, gpus)
    if out is None:
        _check_without_folder(special, cluster)
    if out is None or not (special or cluster.ray or _several(named, queries)):
        # Queries of --query are taken as they are; one among the words is split at commas.
        first, asked = (named, queries) if query else (words, None)
        shown = Shown(as_json, quiet, out, overwrite)
        ask_images(
            "count", first, asked, where, shown, recursive=recursive, timeout_s=timeout, tiles=grid
        )
        return
    from molmo_point.cli.count_run import CountRun

    run = CountRun(
        Path(out),
        where,
        tiles=grid,
        timeout_s=timeout,
        jobs=jobs,
        drawings=drawings,
        as_json=as_json,
        quiet=quiet,
        cluster=cluster,
    )
    step = None if every is None else Every.parse(every)
    columns = Columns(image_column, query_column)
    raise typer.Exit(run.go(named, queries, recursive, step, columns))


def _check_without_folder(special: list[str], cluster: Cluster) -> None:
    """Raise UsageError for what is counted into a folder only."""
    if special:
        raise UsageError(f"{special[0]} is counted into a folder, a row an image: add --out DIR")
    if cluster.ray is not None:
        raise UsageError(
            "--ray counts into a folder, so that an interrupted run goes on: add --out DIR"
        )


def _split(words: list[str], query: list[str] | None) -> tuple[list[str], list[str]]:
    """Return inputs and queries; the queries of tables stand in the tables."""
    if not query and all(names_image(word) or is_list(word) for word in words):
        tables = [word for word in words if is_table_name(word) and os.path.isfile(word)]
        if tables:
            return list(words), []
    return split_arguments(words, query or (), "query")


def _several(named: list[str], queries: list[str]) -> bool:
    """Whether a set is asked for: more than one word or query, a folder or a pattern."""
    one_file = len(named) == 1 and (
        named[0] == "-" or named[0].startswith("data:") or os.path.isfile(named[0])
    )
    return not one_file or len(queries) > 1


def _tiles(text: str | None) -> Tiles:
    from molmo_point.counting.tiled import check_tiles

    return check_tiles(
        int(text) if text is not None and text.isascii() and text.isdigit() else text
    )
