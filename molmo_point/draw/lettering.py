"""Type for drawings: lines of text in whatever script, each run in a font that has its letters.

Pillow's own font has Latin letters only. Other letters are looked for in the fonts of this machine, first in well-known ones,
then in all of them. A letter that none has is written in Latin letters or as its number (U+8D64), never as an empty box.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Union

from PIL import ImageDraw, ImageFont, features

from molmo_point.draw.font_files import installed_fonts

Font = Union[ImageFont.FreeTypeFont, ImageFont.ImageFont]
Fill = tuple[int, int, int]

_MISSING = "\U0010fffd"
"""A private character that no font draws: what it looks like is what missing letters look like."""

_JOINERS = "\u200c\u200d"
_INVISIBLE = re.compile(
    "[\u200b\u200e\u200f\u061c\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffb]"
)
"""Marks that turn the direction of writing around (a label could be made to read backwards), and others without a shape."""

_NAMED_LETTER = re.compile(
    r"(?:LETTER|SYLLABLE|VOWEL SIGN)(?: SMALL)? ([A-Z]{1,12})$|CHARACTER (?:SARA )?([A-Z]{1,12})\b"
)

_RIGHT_TO_LEFT = ("R", "AL")


@functools.lru_cache(maxsize=64)
def load_font(size_px: int, text: str = "", path: str | None = None) -> Font:
    """Return a font of that height: the first one that can draw all of `text`, else Pillow's own.

    Args:
        size_px: Height of the em square in pixels.
        text: Letters that will be drawn.
        path: A TrueType or OpenType file to use instead.

    Raises:
        OSError: `path` is no font.
    """
    if path is not None:
        return _from_file(path, size_px)
    for font in _chain(size_px, None, text):
        if all(_draws(font, character) for character in set(text)):
            return font
    return _own(size_px)


def text_size(font: Font, text: str) -> tuple[int, int]:
    """Return (width, height) in pixels that a line of text takes; the height is the font's, the same for every text."""
    left, _, right, _ = font.getbbox(text)
    _, top, _, bottom = font.getbbox("Ág")
    return int(right - left + 0.999), int(bottom - top + 0.999)


def shorten(text: str, longest: int) -> str:
    """Return one line of at most that many characters, cut at the end if need be; without marks that turn its direction."""
    line = " ".join(plain(text).split())
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"


def plain(text: str) -> str:
    """Return the text without control characters, invisible marks and what is no character at all."""
    text = _INVISIBLE.sub("", text)
    return "".join(" " if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") else c for c in text)


@dataclass(frozen=True)
class Line:
    """A line of text, cut into runs of one font each, in the order in which they stand from left to right.

    Attributes:
        runs: (text, font).
        size: (width, height) in pixels; the height is the same for every text of one size.
    """

    runs: tuple[tuple[str, Font], ...]
    size: tuple[int, int]

    @property
    def text(self) -> str:
        """What is written, letters without a font already replaced."""
        return "".join(text for text, _ in self.runs)

    def draw(
        self,
        pen: ImageDraw.ImageDraw,
        place: tuple[float, float],
        fill: Fill,
        *,
        centred: bool = False,
        edge: tuple[int, Fill] | None = None,
    ) -> None:
        """Draw the line.

        Args:
            pen: Of the image.
            place: Left end, at half the height of a capital letter; its middle where `centred`.
            fill: Colour.
            centred: Put the middle of the line at `place`.
            edge: (width in pixels, colour) of an outline around the letters.
        """
        left, middle = place
        if centred:
            left -= self.size[0] / 2
        width, colour = edge or (0, fill)
        # One baseline for all runs: fonts differ in where their middle is.
        baseline = middle + _capital_height(self.runs[0][1]) / 2 if self.runs else middle
        for text, font in self.runs:
            at = (left, baseline)
            pen.text(at, text, fill, font, anchor="ls", stroke_width=width, stroke_fill=colour)
            left += font.getlength(text)


@functools.lru_cache(maxsize=512)
def lay_line(text: str, size_px: int, path: str | None = None) -> Line:
    """Return a line of text, ready to be drawn.

    Args:
        text: In any script.
        size_px: Height of the em square in pixels.
        path: A font file to use for the letters that it has.

    Raises:
        OSError: `path` is no font.
    """
    main = _from_file(path, size_px) if path is not None else _own(size_px)
    runs = _trimmed(
        [(_joined(run, font), font) for run, font in _runs(plain(text), size_px, path)]
    )
    if _leftwards(text):
        runs.reverse()
    ordered = tuple((_in_order(run), font) for run, font in runs)
    width = sum(font.getlength(run) for run, font in ordered)
    return Line(ordered, (int(width + 0.999), text_size(main, "Á")[1]))


def _runs(text: str, size_px: int, path: str | None) -> list[tuple[str, Font]]:
    """Cut a text into runs; a run goes on for as long as its font has the letters (direction and shapes of a word stay whole)."""
    whole = load_font(size_px, text, path)
    if all(_draws(whole, character) for character in set(text)):
        return [(text, whole)]
    runs: list[tuple[str, Font]] = []
    replaced = ""
    for character in text:
        current = runs[-1][1] if runs else None
        if replaced and unicodedata.category(character)[0] == "M" and current is not None:
            # The sign of a letter that has no font: the inherent vowel goes where another one is written.
            sign = substitute(character)
            if sign and replaced.endswith("a"):
                runs[-1] = (runs[-1][0].removesuffix("a"), current)
            font, written = current, sign
        else:
            font, written = _font_for(character, current, size_px, path)
            replaced = written if written != character else ""
        if current is not None and font is current:
            runs[-1] = (runs[-1][0] + written, current)
        else:
            runs.append((written, font))
    return runs


def _joined(run: str, font: Font) -> str:
    """Return a run without the marks that join letters where its font would draw them as a box."""
    return "".join(c for c in run if c not in _JOINERS or bytes(font.getmask(c)) != _missing(font))


def _trimmed(runs: list[tuple[str, Font]]) -> list[tuple[str, Font]]:
    """Return the runs without blanks at the ends and without double ones, which substitutes leave."""
    trimmed: list[tuple[str, Font]] = []
    after_blank = True
    for text, font in runs:
        text = re.sub(r"\s+", " ", text)
        text = text.removeprefix(" ") if after_blank else text
        after_blank = text.endswith(" ") if text else after_blank
        trimmed.append((text, font))
    if trimmed:
        trimmed[-1] = (trimmed[-1][0].rstrip(), trimmed[-1][1])
    return [(text, font) for text, font in trimmed if text]


def _font_for(
    character: str, current: Font | None, size_px: int, path: str | None
) -> tuple[Font, str]:
    if current is not None and _draws(current, character):
        return current, character
    for font in _chain(size_px, path, character):
        if _draws(font, character):
            return font, character
    return current or _own(size_px), substitute(character)


def substitute(character: str) -> str:
    """Return what is written for a letter that no font here has: Latin letters where its name tells them, else its number."""
    base = "".join(c for c in unicodedata.normalize("NFKD", character) if c.isascii())
    if base:
        return base
    name = unicodedata.name(character, "")
    letter = _NAMED_LETTER.search(name)
    if letter is not None:
        return (letter.group(1) or letter.group(2)).lower()
    if unicodedata.category(character) in ("Mn", "Mc", "Me", "Cc", "Cf", "Cs"):
        return ""
    if name and not name.startswith(("CJK", "PRIVATE")) and len(name) <= 32:
        return f"[{name.lower()}]"
    return f" U+{ord(character):04X} "


def _chain(size_px: int, path: str | None, text: str) -> Iterator[Font]:
    """Yield the fonts to be tried, the preferred ones first."""
    if path is not None:
        yield _from_file(path, size_px)
    yield _own(size_px)
    if text.isascii():
        return
    for file in installed_fonts():
        font = _if_usable(str(file), size_px)
        if font is not None:
            yield font


@functools.lru_cache(maxsize=16)
def _own(size_px: int) -> Font:
    return ImageFont.load_default(size_px)


@functools.lru_cache(maxsize=64)
def _from_file(path: str | Path, size_px: int) -> Font:
    return ImageFont.truetype(str(path), size_px)


@functools.lru_cache(maxsize=512)
def _if_usable(path: str, size_px: int) -> Font | None:
    try:
        return _from_file(path, size_px)
    except (OSError, ValueError):  # colour bitmaps of one size only, damaged files
        return None


@functools.lru_cache(maxsize=4096)
def _draws(font: Font, character: str) -> bool:
    if character.isascii() or character.isspace() or character in _JOINERS:
        return True
    drawn = bytes(font.getmask(character))
    return drawn != _missing(font) and (any(drawn) or unicodedata.category(character)[0] in "ZC")


@functools.lru_cache(maxsize=256)
def _missing(font: Font) -> bytes:
    return bytes(font.getmask(_MISSING))


@functools.lru_cache(maxsize=64)
def _capital_height(font: Font) -> float:
    _, top, _, bottom = font.getbbox("H", anchor="ls") if _scalable(font) else font.getbbox("H")
    return float(bottom - top)


def _scalable(font: Font) -> bool:
    return isinstance(font, ImageFont.FreeTypeFont)


def _leftwards(text: str) -> bool:
    """Whether a text runs from right to left: its first letter with a direction says so."""
    directions = (unicodedata.bidirectional(character) for character in text)
    return next((d in _RIGHT_TO_LEFT for d in directions if d in ("L", *_RIGHT_TO_LEFT)), False)


def _in_order(run: str) -> str:
    """Return a run as the layout engine wants it: without Raqm, Pillow writes every letter to the right of the one before."""
    if features.check("raqm") or not _leftwards(run):
        return run
    clusters: list[str] = []
    for character in run:
        if clusters and unicodedata.combining(character):
            clusters[-1] += character
        else:
            clusters.append(character)
    return "".join(reversed(clusters))
