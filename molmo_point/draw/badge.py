"""The panel in a corner: the count, the query, what went wrong, and in a crowd the legend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from molmo_point.draw import shapes
from molmo_point.draw.layout import Box, quiet_corner
from molmo_point.draw.lettering import Line, shorten
from molmo_point.draw.shapes import Colour
from molmo_point.draw.style import ACCENT, GREY, PANEL, Style
from molmo_point.points import Pointing, Status
from molmo_point.wording import counted

_MOST_ROWS = 8
"""Of a legend; further labels share the last row."""


@dataclass(frozen=True)
class Row:
    """One label of the legend: its colour, its name, how many points have it."""

    colour: Colour
    name: Line
    count: Line


@dataclass(frozen=True)
class Badge:
    """A large number, words behind it, rows below, and where all that stands."""

    number: Line
    words: Line
    rows: tuple[Row, ...]
    head: float
    box: Box


def legend_rows(
    pointing: Pointing, colours: Mapping[str, Colour], style: Style
) -> tuple[Row, ...]:
    """Return the rows of a legend: the labels by how often they come; those beyond the last row are counted together."""
    counts = Counter(point.label for point in pointing.points).most_common()
    shown = counts if len(counts) <= _MOST_ROWS else counts[: _MOST_ROWS - 1]
    rows = [
        Row(
            colours[label],
            style.text(shorten(label or pointing.query, 28), 0.85),
            style.text(str(count), 0.85),
        )
        for label, count in shown
    ]
    rest = counts[len(shown) :]
    if rest:
        name = counted(len(rest), "other label")
        total = str(sum(count for _, count in rest))
        rows.append(Row(GREY, style.text(name, 0.85), style.text(total, 0.85)))
    return tuple(rows)


def lay_badge(
    pointing: Pointing,
    style: Style,
    places: Sequence[tuple[float, float]],
    canvas: Box,
    rows: tuple[Row, ...] = (),
) -> Badge:
    """Return the panel and the corner where it is least in the way."""
    number, trouble = str(pointing.count), ""
    if pointing.status is Status.TRUNCATED:
        number, trouble = f"{pointing.count}+", " (cut short)"
    elif pointing.status is Status.MALFORMED:
        number, trouble = "?", " (unreadable answer)"
    elif pointing.status is Status.PENDING:
        number, trouble = "…", " (no answer yet)"
    margin, pad = 0.7 * style.letters, 0.6 * style.letters
    large = style.text(number, 1.5)
    room = canvas.right - canvas.left - 2 * margin
    # On a narrow image the words shrink and go; the number stays.
    for text in (shorten(pointing.query, 36) + trouble, shorten(pointing.query, 16), ""):
        words = style.text(text)
        width = large.size[0] + 2 * pad + (words.size[0] + pad if text else 0)
        if width <= room:
            break
    head = large.size[1] + 1.1 * pad
    for row in rows:
        width = max(width, row.name.size[0] + row.count.size[0] + 3 * pad + style.letters)
    height = head + (len(rows) * 1.25 * style.letters + 0.6 * pad if rows else 0)
    return Badge(large, words, rows, head, quiet_corner((width, height), places, margin, canvas))


def draw_badge(image: Image.Image, badge: Badge, found: bool, style: Style) -> None:
    """Draw the panel."""
    box = badge.box
    shapes.pill(image, box, PANEL, 0.25 * style.letters, corner=0.36 * badge.head)
    pen = ImageDraw.Draw(image)
    left, middle = box.left + 0.6 * style.letters, box.top + badge.head / 2
    badge.number.draw(pen, (left, middle), ACCENT if found else shapes.WHITE)
    badge.words.draw(
        pen, (left + badge.number.size[0] + 0.6 * style.letters, middle), shapes.WHITE
    )
    middle = box.top + badge.head + 0.45 * style.letters
    for row in badge.rows:
        radius = 0.38 * style.letters
        shapes.ring(image, left + radius, middle, radius, 1.3 * style.line, row.colour)
        row.name.draw(pen, (left + 1.3 * style.letters, middle), shapes.WHITE)
        right = box.right - 0.6 * style.letters - row.count.size[0]
        row.count.draw(pen, (right, middle), GREY)
        middle += 1.25 * style.letters
