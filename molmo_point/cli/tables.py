"""Tables on stdout. What does not fit the terminal loses columns that were named for it, then becomes a list: nothing is cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from molmo_point.cli.output import visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from molmo_point.points import Point, Pointing

PIPE_WIDTH = 200
"""Columns where stdout is not a terminal."""

_TROUBLE = {"truncated": ", cut short", "malformed": ", unreadable", "pending": ", no answer yet"}
"""What a title adds for a status, by its value."""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: Its heading.
        right: Whether it holds numbers.
        spare: Left out where there is no room; the highest goes first, 0 stays.
    """

    title: str
    right: bool = False
    spare: int = 0


POINT_COLUMNS = (
    Column("#", right=True),
    Column("x", right=True),
    Column("y", right=True),
    Column("px", right=True, spare=1),
    Column("py", right=True, spare=1),
    Column("score", right=True),
    Column("label"),
)


def print_points(pointing: Pointing, name: str) -> None:
    """Print a line with the count, and a table of points: place in the image (0-1), in its pixels, score and label.

    Args:
        pointing: The answer.
        name: Of the image.
    """
    import typer

    title = f"{name}: {pointing.count} × {pointing.query}{_TROUBLE.get(pointing.status.value, '')}"
    typer.echo(visible(title))
    where = _where(pointing)
    rows = []
    for point in pointing.points:
        px, py = point.pixel(*pointing.size_of(point))
        score = "" if point.score is None else f"{100 * point.score:.0f} %"
        places = (f"{point.x:.3f}", f"{point.y:.3f}", f"{px:.1f}", f"{py:.1f}")
        first = (str(point.index + 1), *(value(point) for value in where.values()))
        rows.append((*first, *places, score, point.label))
    if rows:
        columns = [Column(title, right=True) for title in where]
        print_rows((POINT_COLUMNS[0], *columns, *POINT_COLUMNS[1:]), rows)


def _where(pointing: Pointing) -> dict[str, Callable[[Point], str]]:
    """Return the columns that say in which image or frame a point lies, and on which object; none for one image."""
    columns: dict[str, Callable[[Point], str]] = {}
    if len(pointing.image_sizes) > 1:
        columns["image"] = lambda point: str(point.image_index + 1)
    if any(point.time_s is not None for point in pointing.points):
        columns["s"] = lambda point: "" if point.time_s is None else f"{point.time_s:.1f}"
    if any(point.track is not None for point in pointing.points):
        columns["track"] = lambda point: "" if point.track is None else str(point.track)
    return columns


def print_rows(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of text on stdout, as a table where it fits and as a list of `title: value` where it does not."""
    from rich.console import Console

    rows = [[visible(value) for value in row] for row in rows]
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPE_WIDTH)
    for least in sorted({0, *(column.spare for column in columns)}, reverse=True):
        kept = [number for number, column in enumerate(columns) if column.spare <= least]
        table = _table(
            [columns[number] for number in kept], [[row[n] for n in kept] for row in rows]
        )
        if console.measure(table).maximum <= console.width and _fits(table, console):
            console.print(table)
            return
    _print_list(columns, rows, console)


def _table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for column in columns:
        table.add_column(column.title, justify="right" if column.right else "left", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _fits(table: Table, console: Console) -> bool:
    """Whether the table's widest line is no wider than the console; `measure` clips at the console's own width."""
    wide = console.options.update(max_width=10_000, width=10_000)
    return console.measure(table, options=wide).maximum <= console.width


def _print_list(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], console: Console
) -> None:
    """Print one `title: value` a line; a value is never broken, whatever its length."""
    width = max(len(column.title) for column in columns) + 2
    for row in rows:
        for column, value in zip(columns, row, strict=True):
            if value:
                console.print(
                    f"{column.title + ':':{width}}{value}",
                    markup=False,
                    highlight=False,
                    soft_wrap=True,
                )
        console.print()


def print_table(table: Table) -> None:
    """Print a table on stdout, in full width where stdout is not a terminal."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPE_WIDTH)
    console.print(table)
