"""`molmo-point ask`: a free question, answered in text as it is written."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from molmo_point.cli import FOUND, MISTAKE, NOTHING
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
from molmo_point.errors import ImageError

if TYPE_CHECKING:
    from molmo_point.pointer import Pointer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(ask)


def ask(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE... QUESTION",
            help="Files, globs, folders, - (stdin) or data URLs; and the question.",
        ),
    ],
    query: Annotated[
        str | None, typer.Option("--query", help="The question; then all arguments are pictures.")
    ] = None,
    model: Model = None,
    connect: Connect = None,
    key: Key = None,
    token: Token = None,
    device: Device = None,
    dtype: Dtype = None,
    quantize: Quantize = None,
    timeout: Timeout = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Ask a question about a picture: molmo-point ask desk.png "Describe this image."."""
    from molmo_point.images import load_image
    from molmo_point.preprocess.prompt import check_query

    where = Where(model, connect, key, token, device, dtype, quantize)
    names, text = split_words(words, query, "question")
    question = check_query(text)
    pictures = gather(names)
    if len(pictures) == 1:
        load_image(pictures[0].source)
    codes = set()
    with open_pointer(where, quiet=quiet) as pointer:
        for picture in pictures:
            try:
                answer = _answer(pointer, picture, question, timeout, as_json, len(pictures) > 1)
                codes.add(FOUND if answer.strip() else NOTHING)
            except ImageError as error:
                if len(pictures) == 1:
                    raise
                sys.stderr.write(f"molmo-point: {error}\n")
                codes.add(MISTAKE)
    raise typer.Exit(next(code for code in (MISTAKE, FOUND, NOTHING) if code in codes))


def _answer(
    pointer: Pointer,
    picture: Picture,
    question: str,
    timeout_s: float | None,
    as_json: bool,
    several: bool,
) -> str:
    """Print one answer, piece by piece unless as JSON; return it."""
    if as_json:
        text = pointer.ask(picture.source, question, timeout_s=timeout_s)
        line = {"image": picture.name, "question": question, "text": text, "model": pointer.model}
        typer.echo(json.dumps(line, ensure_ascii=False))
        return text
    text = ""
    if several:
        typer.echo(f"{picture.name}: ", nl=False)
    for piece in pointer.stream_text(picture.source, question, timeout_s=timeout_s):
        # The space that Molmo begins every answer with is not part of it.
        typer.echo(_visible(piece if text.strip() else piece.lstrip()), nl=False)
        text += piece
    typer.echo("")
    return text


def _visible(text: str) -> str:
    """Drop control characters: what a picture makes a model write must not steer a terminal. JSON keeps them, escaped."""
    return "".join(
        character for character in text if character.isprintable() or character in "\n\t"
    )
