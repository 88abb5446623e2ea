"""`molmo-point ask`: a free question, answered in text as it is written."""

from __future__ import annotations

import json
import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from molmo_point.cli.asking import report_skipped
from molmo_point.cli.exit_codes import EXIT_CODES, FAILED, FOUND, MISTAKE, NOTHING
from molmo_point.cli.inputs import InputImage, collect_images
from molmo_point.cli.model_options import (
    AsJson,
    ModelSelection,
    Quiet,
    Timeout,
    open_pointer,
    with_model_options,
)
from molmo_point.cli.output import visible
from molmo_point.cli.words import split_arguments
from molmo_point.errors import OF_ONE_REQUEST, PointError, UsageError

if TYPE_CHECKING:
    from molmo_point.pointer import Pointer
    from molmo_point.points import Text

WHY_CUT = {"length": "the model's token limit", "timeout": "--timeout"}
"""What came before the end of a text, by its finish reason."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXIT_CODES)(ask)


@with_model_options
def ask(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE... QUESTION",
            help="Files, globs, folders, - (stdin) or data URLs; and the question.",
        ),
    ],
    query: Annotated[
        str | None, typer.Option("--query", help="The question; then all arguments are images.")
    ] = None,
    *,
    where: ModelSelection,
    timeout: Timeout = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Look into the folders of folders, too.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Ask a question about an image; nano answers none, give a published model.

    \b
    molmo-point ask table.jpg "Describe this image." --model molmo-7b-d
    molmo-point ask photos/ "Is the door open?" --connect http://gpu:8000 --json
    """
    from molmo_point.arguments import check_query
    from molmo_point.capabilities import check_question
    from molmo_point.images import load_image

    names, texts = split_arguments(words, [] if query is None else [query], "question")
    question = check_query(texts[0])
    again = f"molmo-point ask - {shlex.quote(question)}"
    found = collect_images(names, recursive=recursive, again=again)
    report_skipped(found, quiet)
    if len(found.images) == 1 and not found.several:
        load_image(found.images[0].source)
    codes = set()
    with open_pointer(where, quiet=quiet) as pointer:
        check_question(pointer.model, question)
        for image in found.images:
            try:
                text = _answer(pointer, image, question, timeout, as_json, found.several)
                codes.add(_code(text, image.name))
            except OF_ONE_REQUEST as error:
                if not found.several:
                    raise
                codes.add(_failed(error, image, question, as_json))
    raise typer.Exit(next(code for code in (FAILED, MISTAKE, FOUND, NOTHING) if code in codes))


def _code(text: Text, name: str) -> int:
    """The exit code of an answer; says on stderr that it was cut."""
    if text.complete:
        return FOUND if text.strip() else NOTHING
    reason = WHY_CUT.get(text.finish_reason.value, text.finish_reason.value)
    sys.stderr.write(f"molmo-point: {visible(name)}: the text is cut: {reason} came first\n")
    return FAILED


def _failed(error: PointError, image: InputImage, question: str, as_json: bool) -> int:
    if as_json:
        body = {"kind": error.kind, "message": str(error)}
        line = {"image": image.name, "question": question, "text": None, "error": body}
        typer.echo(json.dumps(line, ensure_ascii=False))
    shown = visible(str(error), keep="\n")
    sys.stderr.write(f"molmo-point: {shown}\n")
    return MISTAKE if isinstance(error, UsageError) else FAILED


def _answer(
    pointer: Pointer,
    image: InputImage,
    question: str,
    timeout_s: float | None,
    as_json: bool,
    several: bool,
) -> Text:
    """Print one answer, piece by piece unless as JSON; return it."""
    from molmo_point.points import Text

    if as_json:
        text = Text.of(pointer.ask(image.source, question, timeout_s=timeout_s))
        line = {
            "image": image.name,
            "question": question,
            "text": text,
            "finish_reason": text.finish_reason.value,
            "model": pointer.model,
        }
        typer.echo(json.dumps(line, ensure_ascii=False))
        return text
    if several:
        typer.echo(visible(f"{image.name}: "), nl=False)
    stream = pointer.stream_text(image.source, question, timeout_s=timeout_s)
    began = False
    while True:
        try:
            piece = next(stream)
        except StopIteration as end:
            typer.echo("")
            return Text.of(end.value)
        # The space that Molmo begins every answer with is not part of it.
        typer.echo(_visible(piece if began else piece.lstrip()), nl=False)
        began = began or bool(piece.strip())


def _visible(text: str) -> str:
    """Drop control characters: what an image makes a model write must not steer a terminal. JSON keeps them, escaped."""
    return "".join(
        character for character in text if character.isprintable() or character in "\n\t"
    )
