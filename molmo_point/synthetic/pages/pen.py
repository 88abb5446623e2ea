"""The pen that pages are drawn with: labels that do not repeat, and the strokes that rows have in common."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw

from molmo_point.synthetic.pages.controls import Icon, icons
from molmo_point.synthetic.pages.labels import Words, fresh_label
from molmo_point.synthetic.pages.sheet import Box, PageCanvas, face
from molmo_point.synthetic.pages.themes import Rgb, is_light
from molmo_point.synthetic.scenes.fonts import emoji_font
from molmo_point.synthetic.scenes.kinds import kind_of


@dataclass
class PagePainter:
    """What rows are drawn with.

    Attributes:
        sheet: What they are drawn on.
        rng: Decides everything.
        words: Which words are written.
        unseen: Whether icons are those of evaluation.
        used: Labels that are on the page, in small letters: none comes twice.
    """

    sheet: PageCanvas
    rng: np.random.Generator
    words: Words
    unseen: bool
    used: set[str] = field(default_factory=set)

    def label(self) -> str:
        """Draw a label that is not on the page yet."""
        return fresh_label(self.rng, self.words, self.used)

    def style(self, bold: float = 0.1) -> str:
        """Draw a face."""
        if self.rng.random() < self.sheet.look.italic:
            return "italic"
        return "bold" if self.rng.random() < bold else "plain"


def write_sign(pen: PagePainter, x: float, y: float, size: int, ink: Rgb, right: float) -> float:
    """Draw an icon that is not on the page yet, its left edge at x; return where it ends, x if it does not fit."""
    sheet = pen.sheet
    icon: Icon = icons()[int(pen.rng.integers(len(icons())))]
    if x + size * 1.3 > right or f"{icon.meaning} icon" in pen.used:
        return x
    pen.used.add(f"{icon.meaning} icon")
    box = (x, y - size * 0.65, x + size * 1.3, y + size * 0.65)
    if pen.rng.random() < 0.3:
        sheet.plate(box, None, sheet.look.line, sheet.look.radius)
    if pen.unseen:
        glyph = Image.new("RGBA", (160, 160), (0, 0, 0, 0))
        ImageDraw.Draw(glyph).text((8, 8), icon.unseen, font=emoji_font(), embedded_color=True)
        glyph = glyph.crop(glyph.getbbox()).resize((size, size), Image.Resampling.LANCZOS)
        sheet.image.paste(glyph, (round(x + size * 0.15), round(y - size / 2)), glyph)
    else:
        sign = icon.glyphs[int(pen.rng.integers(len(icon.glyphs)))]
        sheet.pen.text(
            (x + size * 0.65, y), sign, ink, font=face("DejaVuSans", "plain", size), anchor="mm"
        )
    sheet.add(kind_of("icon", icon.glyphs), "", (box,))
    return box[2]


def write_control(
    pen: PagePainter, role: str, x: float, y: float, label: str, ink: Rgb, style: str, right: float
) -> float:
    """Write a control that is nothing but text; return where it ends, x if it does not fit."""
    sheet = pen.sheet
    if x + sheet.measure(label, sheet.look.size, style) > right:
        return x
    lined = role == "link" and sheet.look.underlined
    box = sheet.write(x, y, label, ink, style=style, underlined=lined)
    kind = kind_of("control", role)
    sheet.add(kind, label, (box,))
    return box[2]


def tick(sheet: PageCanvas, box: Box, role: str) -> None:
    """Tick a box, or put the dot into a radio button."""
    left, top, right, bottom = box
    white = (255, 255, 255)
    wide, high = right - left, bottom - top
    if role == "radio":
        inner = (left + wide * 0.3, top + high * 0.3, right - wide * 0.3, bottom - high * 0.3)
        sheet.pen.ellipse(inner, fill=white)
        return
    tick = [(0.2, 0.5), (0.42, 0.75), (0.8, 0.25)]
    sheet.pen.line([(left + x * wide, top + y * high) for x, y in tick], fill=white, width=2)


def ink_on(fill: Rgb) -> Rgb:
    """Black or white, whichever can be read on a colour."""
    return (20, 20, 20) if is_light(fill) else (255, 255, 255)


def legible(ink: Rgb, ground: Rgb) -> Rgb:
    """The ink, or black or white where it cannot be read."""
    return (
        ink if sum(abs(a - b) for a, b in zip(ink, ground, strict=True)) > 200 else ink_on(ground)
    )
