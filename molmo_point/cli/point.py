"""`molmo-point point` and `molmo-point count`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from molmo_point.cli import FAILED, FOUND, MISTAKE, NOTHING
from molmo_point.cli.drawings import Drawings
from molmo_point.cli.opening import (
    AsJson,
    Connect,
    Device,
    Dtype,
    Key,
    Model,
    Quantize,
    Quiet,
    Timeout,
    Token,
    Where,
    open_pointer,
)
from molmo_point.cli.pictures import Picture, gather, split_words
from molmo_point.cli.waiting import progress
from molmo_point.errors import ImageError

if TYPE_CHECKING:
    from molmo_point.pointer import Pointer
    from molmo_point.points import Pointing

Words = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGE... QUERY",
        help="Files, globs, folders, - (stdin) or data URLs; and what to look for.",
    ),
]
Query = Annotated[
    str | None, typer.Option("--query", help="What to look for; then all arguments are pictures.")
]
Out = Annotated[
    str | None,
    typer.Option(
        "--out", "-o", help="Draw the points: a .png, .jpg or .webp, or a folder for several."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(point)
    app.command()(count)


def point(
    words: Words,
    query: Query = None,
    model: Model = None,
    connect: Connect = None,
    key: Key = None,
    token: Token = None,
    device: Device = None,
    dtype: Dtype = None,
    quantize: Quantize = None,
    timeout: Timeout = None,
    as_json: AsJson = False,
    out: Out = None,
    quiet: Quiet = False,
) -> None:
    """Point to everything that fits: molmo-point point desk.png "the red mug"."""
    where = Where(model, connect, key, token, device, dtype, quantize)
    show = _print_json if as_json else _print_table
    _answer_all(_Task("point", timeout, quiet, show), words, query, where, out)


def count(
    words: Words,
    query: Query = None,
    model: Model = None,
    connect: Connect = None,
    key: Key = None,
    token: Token = None,
    device: Device = None,
    dtype: Dtype = None,
    quantize: Quantize = None,
    timeout: Timeout = None,
    as_json: AsJson = False,
    out: Out = None,
    quiet: Quiet = False,
) -> None:
    """Count by pointing: molmo-point count harbour.jpg boats. Prints the number of points."""
    where = Where(model, connect, key, token, device, dtype, quantize)
    show = _print_json if as_json else _print_count
    _answer_all(_Task("count", timeout, quiet, show), words, query, where, out)


@dataclass(frozen=True)
class _Task:
    """What is asked about every picture, and how an answer is shown."""

    kind: str
    timeout_s: float | None
    quiet: bool
    show: Callable[[Pointing, bool], None]
    """Takes the answer and whether it is one of several."""

    def ask(self, pointer: Pointer, picture: Picture, query: str) -> Pointing:
        method = pointer.point if self.kind == "point" else pointer.count
        return method(picture.source, query, timeout_s=self.timeout_s, frame_id=picture.name)


def _answer_all(
    task: _Task, words: list[str], query: str | None, where: Where, out: str | None
) -> None:
    from molmo_point.images import load_image
    from molmo_point.preprocess.prompt import check_query

    names, text = split_words(words, query, "query")
    text = check_query(text)
    pictures = gather(names)
    drawings = Drawings(out, pictures) if out is not None else None
    if len(pictures) == 1:
        # Before the model is loaded, which may take minutes.
        load_image(pictures[0].source)
    codes = set()
    with open_pointer(where, quiet=task.quiet) as pointer:
        for picture in progress(pictures, task.kind, quiet=task.quiet):
            try:
                pointing = task.ask(pointer, picture, text)
                task.show(pointing, len(pictures) > 1)
                _remark(pointing, picture, task.quiet)
                codes.add(_exit_code(pointing))
                if drawings is not None:
                    _say(f"wrote {drawings.write(picture, pointing)}", task.quiet)
            except ImageError as error:
                if len(pictures) == 1:
                    raise
                # One bad picture does not lose the others.
                sys.stderr.write(f"molmo-point: {error}\n")
                codes.add(MISTAKE)
    raise typer.Exit(next(code for code in (FAILED, MISTAKE, FOUND, NOTHING) if code in codes))


def _exit_code(pointing: Pointing) -> int:
    from molmo_point.points import Status

    if pointing.status is Status.NOT_FOUND:
        return NOTHING
    if pointing.status is Status.MALFORMED or not pointing.points:
        return FAILED
    return FOUND


def _print_json(pointing: Pointing, several: bool) -> None:
    typer.echo(pointing.model_dump_json())


def _print_count(pointing: Pointing, several: bool) -> None:
    typer.echo(f"{pointing.count}\t{pointing.frame_id}" if several else str(pointing.count))


def _print_table(pointing: Pointing, several: bool) -> None:
    from molmo_point.cli.tables import print_points

    print_points(pointing, str(pointing.frame_id))


def _remark(pointing: Pointing, picture: Picture, quiet: bool) -> None:
    """Say on stderr what the result alone does not tell."""
    from molmo_point.points import Status

    if pointing.status is Status.NOT_FOUND:
        _say(f"{picture.name}: nothing there that fits {pointing.query!r}", quiet)
    elif pointing.status is Status.TRUNCATED:
        _say(
            f"{picture.name}: cut short by --timeout or the token limit, there may be more", quiet
        )
    elif pointing.status is Status.MALFORMED:
        sys.stderr.write(
            f"molmo-point: {picture.name}: the model's answer could not be read: {pointing.text[:200]!r}\n"
        )
    if pointing.stated_count is not None and pointing.stated_count != pointing.count:
        _say(
            f"{picture.name}: the model wrote {pointing.stated_count} and pointed {pointing.count} times; "
            "the points count",
            quiet,
        )


def _say(words: str, quiet: bool) -> None:
    if not quiet:
        sys.stderr.write(words + "\n")
