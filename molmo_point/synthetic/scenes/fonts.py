"""Font files: emoji from Debian's Noto Color Emoji, letters from the text fonts that are installed."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from PIL import ImageFont

from molmo_point.errors import UsageError

FONT_FOLDERS = (
    Path("/usr/share/fonts"),
    Path("/usr/local/share/fonts"),
    Path(os.path.expanduser("~/.local/share/fonts")),
    Path(os.path.expanduser("~/.fonts")),
    Path("/Library/Fonts"),
)
EMOJI_FONT = "NotoColorEmoji.ttf"
EMOJI_PIXELS = 109
"""The only bitmap size of Noto Color Emoji; a bitmap has 136 x 128 pixels."""

TEXT_FONTS = (
    "DejaVuSans-Bold.ttf",
    "DejaVuSans.ttf",
    "DejaVuSerif-Bold.ttf",
    "DejaVuSansMono-Bold.ttf",
    "LiberationSans-Bold.ttf",
    "LiberationSans-Regular.ttf",
    "LiberationSerif-Bold.ttf",
    "LiberationMono-Bold.ttf",
)


class MissingFont(UsageError):
    """A font that rendering needs is not installed."""


@functools.cache
def find_font(name: str) -> Path | None:
    """Return the path of a font file by its name, or None."""
    for folder in FONT_FOLDERS:
        if folder.is_dir():
            for path in sorted(folder.rglob(name)):
                return path
    return None


@functools.cache
def emoji_font() -> ImageFont.FreeTypeFont:
    """Load the colour emoji font.

    Raises:
        MissingFont: It is not installed; names the Debian package.
    """
    path = find_font(EMOJI_FONT)
    if path is None:
        raise MissingFont(
            f"drawing scenes needs the font {EMOJI_FONT}, which is in none of "
            f"{', '.join(map(str, FONT_FOLDERS))}: install it (Debian: apt-get install fonts-noto-color-emoji)"
        )
    try:
        return ImageFont.truetype(str(path), EMOJI_PIXELS)
    except OSError as error:
        raise MissingFont(
            f"{path} has no {EMOJI_PIXELS} px bitmaps ({error}): expected the bitmap build of Noto Color Emoji "
            "(Debian: apt-get install fonts-noto-color-emoji)"
        ) from error


@functools.cache
def text_fonts(pixels: int) -> tuple[ImageFont.FreeTypeFont, ...]:
    """Load the text fonts that are installed, at one size; Pillow's own font where there is none."""
    paths = [path for path in map(find_font, TEXT_FONTS) if path is not None]
    if paths:
        return tuple(ImageFont.truetype(str(path), pixels) for path in paths)
    font = ImageFont.load_default(size=pixels)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise MissingFont(
            "drawing letters needs a scalable font: install one (Debian: apt-get install fonts-dejavu-core)"
        )
    return (font,)
