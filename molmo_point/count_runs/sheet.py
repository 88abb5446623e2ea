"""Contact sheets: the annotated images of a run, small, with their counts, many on a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from molmo_point.annotated import save_marked

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

COLUMNS, ROWS = 6, 8
"""Images on one sheet."""

CELL = (240, 200)
"""(width, height) of a place in pixels, its caption included."""

CAPTION = 22
MOST_SHEETS = 50
BACKGROUND, TEXT, MUTED = (250, 250, 250), (20, 20, 20), (150, 30, 30)


def write_sheets(folder: Path, drawings: Sequence[tuple[Path, str]]) -> list[Path]:
    """Write contact-sheet-001.jpg, ... of the first MOST_SHEETS * COLUMNS * ROWS images; return their paths.

    Args:
        drawings: (annotated image, caption); one that is not there gets a place with its caption.

    Raises:
        OSError: They cannot be written.
    """
    per_sheet = COLUMNS * ROWS
    paths = []
    for number, first in enumerate(range(0, len(drawings), per_sheet)[:MOST_SHEETS], start=1):
        path = folder / f"contact-sheet-{number:03}.jpg"
        _write_sheet(path, drawings[first : first + per_sheet])
        paths.append(path)
    return paths


def _write_sheet(path: Path, drawings: Sequence[tuple[Path, str]]) -> None:
    from PIL import Image, ImageDraw, UnidentifiedImageError

    columns = min(COLUMNS, len(drawings))
    rows = -(-len(drawings) // columns)
    sheet = Image.new("RGB", (columns * CELL[0], rows * CELL[1]), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for number, (drawing, caption) in enumerate(drawings):
        left, top = number % columns * CELL[0], number // columns * CELL[1]
        room = (CELL[0] - 8, CELL[1] - CAPTION - 8)
        try:
            with Image.open(drawing) as image:
                image.draft("RGB", room)
                image.thumbnail(room)
                at = (left + (CELL[0] - image.width) // 2, top + (room[1] - image.height) // 2 + 4)
                sheet.paste(image.convert("RGB"), at)
            colour = TEXT
        except (OSError, UnidentifiedImageError):
            colour = MUTED
        _write_caption(draw, (left + 4, top + CELL[1] - CAPTION), caption, colour)
    save_marked(sheet, path)


def _write_caption(
    draw: ImageDraw, at: tuple[int, int], caption: str, colour: tuple[int, int, int]
) -> None:
    """Write a caption into the width of a cell; a long one loses its middle: the end holds the number."""
    from PIL import ImageFont

    font = ImageFont.load_default(14)
    shown, kept = caption, len(caption)
    while draw.textlength(shown, font) > CELL[0] - 8 and kept > 8:
        kept -= 1
        shown = f"{caption[: kept // 2]}…{caption[len(caption) - kept // 2 :]}"
    draw.text(at, shown, colour, font)
