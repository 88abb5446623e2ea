"""Tables on stdout."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from molmo_point.points import Pointing

_TROUBLE = {"truncated": ", cut short", "malformed": ", unreadable"}
"""What a title adds for a status, by its value."""


def print_points(pointing: Pointing, name: str) -> None:
    """Print a line with the count, and a table of points: place in the picture (0-1), in its pixels, score and label.

    Args:
        pointing: The answer.
        name: Of the picture.
    """
    import typer
    from rich.table import Table
    from rich.text import Text

    title = f"{name}: {pointing.count} × {pointing.query}{_TROUBLE.get(pointing.status.value, '')}"
    typer.echo(title)
    table = Table()
    for column in ("#", "x", "y", "px", "py", "score"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("label")
    for point in pointing.points:
        px, py = point.pixel(*pointing.image_size)
        score = "" if point.score is None else f"{100 * point.score:.0f} %"
        table.add_row(
            str(point.index + 1),
            f"{point.x:.3f}",
            f"{point.y:.3f}",
            f"{px:.1f}",
            f"{py:.1f}",
            score,
            Text(point.label),
        )
    if pointing.points:
        print_table(table)


def print_table(table: Table) -> None:
    """Print a table on stdout, in full width where stdout is not a terminal."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(table)
