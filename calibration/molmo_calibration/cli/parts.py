"""What several commands of `molmo-calibrate` share: finding boards, reading cameras, progress, printed results."""

from __future__ import annotations

import functools
import importlib.metadata
import inspect
import json
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from molmo_calibration.calibrate.boards import Board
from molmo_calibration.cli.options import (
    Border,
    Charuco,
    Columns,
    Dictionary,
    Kind,
    Legacy,
    Marker,
    Rows,
    Square,
    Target,
)
from molmo_calibration.errors import BoardNotFoundError, InvalidArgumentError

# In a pipe or a log file lines are not broken: paths in them are to be copied.
talk = Console(
    stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty(), emoji=False, markup=False
)


def board_of(
    columns: Columns = 10,
    rows: Rows = 7,
    square: Square = 25.0,
    marker: Marker = None,
    pattern: Kind = "chessboard",
    charuco: Charuco = False,
    dictionary: Dictionary = "DICT_4X4_250",
    legacy: Legacy = False,
    border: Border = 2,
    target: Target = None,
) -> Board:
    """The board that the options of a command describe."""
    if target is not None:
        from molmo_calibration.files.target_files import load_target

        return load_target(target, border)
    for name, value in (("--square", square), ("--marker", marker)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise InvalidArgumentError(f"{name} must be above 0 (millimetres), got {value:g}")
    if charuco and pattern not in ("chessboard", "charuco"):
        raise InvalidArgumentError(f"--charuco and --pattern {pattern} are two kinds of boards")
    kind = "charuco" if charuco else pattern
    side = marker / 1e3 if marker is not None else None
    return Board(columns, rows, square / 1e3, kind, side, dictionary, legacy, border)


def takes_board(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `board_of` in place of its parameter `board`."""
    own = inspect.signature(command, eval_str=True).parameters.values()
    options = inspect.signature(board_of, eval_str=True).parameters.values()
    # By keyword, because options without a default may follow.
    shown = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in (*(p for p in own if p.name != "board"), *options)
    ]

    @functools.wraps(command)
    def run(**values: Any) -> None:
        described = {option.name: values.pop(option.name) for option in options}
        command(board=board_of(**described), **values)

    run.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
    return run


def detections_in(folder: Path, pattern: Board) -> list[Any]:
    from molmo_calibration.calibrate.find_board import detect_in_file, image_files, likely_board

    found, files = [], image_files(folder)
    reasons: dict[str, list[Path]] = {}
    with progress("looking for the board") as tell:
        for index, path in enumerate(files):
            try:
                found.append(detect_in_file(path, pattern))
            except BoardNotFoundError as error:
                reason = str(error).replace(str(path), "IMAGE").replace(path.name, "IMAGE")
                reasons.setdefault(reason, []).append(path)
            tell((index + 1) / len(files))
    for reason, paths in reasons.items():
        talk.print(f"skipped {_names(paths)}: {reason.replace('IMAGE', 'the image')}")
    talk.print(f"the board is in {len(found)} of {len(files)} images")
    if not found:
        other = likely_board([path for paths in reasons.values() for path in paths], pattern)
        if other:
            talk.print(other)
    return found


def _names(paths: list[Path]) -> str:
    """One name, or how many and the first few."""
    shown = ", ".join(path.name for path in paths[:3])
    more = ", ..." if len(paths) > 3 else ""
    return shown if len(paths) == 1 else f"{len(paths)} images ({shown}{more})"


def camera_of(path: Path, name: str | None, size: str | None) -> Any:
    """The camera of a file; says which one it takes where there are several."""
    from molmo_calibration.files.camera_files import load_camera, names_in

    width_height = None
    if size is not None:
        numbers = size.lower().split("x")
        if len(numbers) != 2 or not all(number.isdigit() for number in numbers):
            raise InvalidArgumentError(f"--size must be WIDTHxHEIGHT as in 640x480, got {size!r}")
        width_height = int(numbers[0]), int(numbers[1])
    loaded = load_camera(path, name, width_height)
    if name is None and len(names := names_in(path)) > 1:
        talk.print(f"{path} holds {', '.join(names)}: taking {names[0]} (--camera-name)")
    return loaded


def check_free(overwrite: bool, *paths: Path | None) -> None:
    """Refuse to replace existing files unless asked to, before the work begins."""
    for path in paths:
        if path is not None and path.exists() and not overwrite:
            raise InvalidArgumentError(f"{path} is there already; --overwrite replaces it")


def report_facts(facts: dict[str, str]) -> dict[str, str]:
    """Facts of a report: how it was made."""
    command = " ".join(["molmo-calibrate", *(shlex.quote(word) for word in sys.argv[1:])])
    now = datetime.now().astimezone().isoformat(" ", "seconds")
    return {"date": now, "command": command, "version": version(), **facts}


def version() -> str:
    try:
        return importlib.metadata.version("molmo-point")
    except importlib.metadata.PackageNotFoundError:
        return "of a source tree"


@contextmanager
def progress(what: str) -> Iterator[Callable[[float], None]]:
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f} %")
    with Progress(*columns, console=talk, transient=True) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda share: bar.update(task, completed=share)


def one_of(names: Iterable[str]) -> str:
    """`a, b or c`."""
    *first, last = names
    return f"{', '.join(first)} or {last}"


def number(value: float) -> float | None:
    """Return a number for JSON: None for NaN and infinity, which JSON does not have."""
    return float(value) if np.isfinite(value) else None


def print_answer(
    numbers: dict[str, Any], text: str, advice: tuple[str, ...], as_json: bool
) -> None:
    if as_json:
        typer.echo(json.dumps(numbers))
        return
    typer.echo(text)
    for line in advice:
        talk.print(f"to make it better: {line}")


def exit_by(grade: str) -> None:
    """Exit code 1 for a bad verdict."""
    if grade == "bad":
        raise typer.Exit(1)
