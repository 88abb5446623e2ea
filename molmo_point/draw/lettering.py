"""Type for drawings: a font that has the letters of a label, and labels short enough to place."""

from __future__ import annotations

import functools
from typing import Union

from PIL import ImageFont

Font = Union[ImageFont.FreeTypeFont, ImageFont.ImageFont]

_WIDE_FONTS = (
    "NotoSansCJK-Regular.ttc",
    "NotoSans-Regular.ttf",
    "DejaVuSans.ttf",
    "arialuni.ttf",
    "Arial Unicode.ttf",
)
"""Looked for on the machine when a label has letters that Pillow's own font lacks; Pillow searches the system's folders."""

_MISSING = "\U0010fffd"
"""A private character that no font draws: what it looks like is what missing letters look like."""


@functools.lru_cache(maxsize=64)
def load_font(size_px: int, text: str = "", path: str | None = None) -> Font:
    """Return a font of that height that can draw `text`: Pillow's own, or one found on the machine for letters it lacks.

    Args:
        size_px: Height of the em square in pixels.
        text: Letters that will be drawn.
        path: A TrueType or OpenType file to use instead.

    Raises:
        OSError: `path` is no font.
    """
    if path is not None:
        return ImageFont.truetype(path, size_px)
    own = ImageFont.load_default(size_px)
    if _can_draw(own, text):
        return own
    for name in _WIDE_FONTS:
        try:
            font = ImageFont.truetype(name, size_px)
        except OSError:
            continue
        if _can_draw(font, text):
            return font
    return own


def text_size(font: Font, text: str) -> tuple[int, int]:
    """Return (width, height) in pixels that a line of text takes; the height is the font's, the same for every text."""
    left, _, right, _ = font.getbbox(text)
    _, top, _, bottom = font.getbbox("Ág")
    return int(right - left + 0.999), int(bottom - top + 0.999)


def shorten(text: str, longest: int) -> str:
    """Return one line of at most that many characters, cut at the end if need be."""
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"


def _can_draw(font: Font, text: str) -> bool:
    missing = bytes(font.getmask(_MISSING))
    return all(
        character.isspace() or bytes(font.getmask(character)) != missing
        for character in set(text)
        if not character.isascii()
    )
