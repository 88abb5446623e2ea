"""What rows draw with: labels that do not repeat, and the shapes that rows share."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw

from molmo_point.synthetic.pages.canvas import Box, PageCanvas, face
from molmo_point.synthetic.pages.controls import Icon, icons
from molmo_point.synthetic.pages.labels import Words, fresh_label
from molmo_point.synthetic.pages.themes import Rgb, is_light
from molmo_point.synthetic.scenes.fonts import emoji_font
from molmo_point.synthetic.scenes.kinds import kind_of


@dataclass
class PagePainter:
    """What rows draw with.

    Attributes:
        canvas: What they are drawn on.
        rng: Source of all randomness.
        words: Set of words.
        unseen: Use the icons of evaluation.
        used: Labels on the page in lower case; none is used twice.
    """

    canvas: PageCanvas
    rng: np.random.Generator
    words: Words
    unseen: bool
    used: set[str] = field(default_factory=set)

    def label(self) -> str:
        """Draw a label that is not on the page yet."""
        return fresh_label(self.rng, self.words, self.used)

    def style(self, bold: float = 0.1) -> str:
        """Draw a font style."""
        if self.rng.random() < self.canvas.theme.italic:
            return "italic"
        return "bold" if self.rng.random() < bold else "plain"


def draw_icon(
    painter: PagePainter, x: float, y: float, size: int, ink: Rgb, right: float
) -> float:
    """Draw an icon that is not on the page yet, its left edge at x; return where it ends, x if it does not fit."""
    canvas = painter.canvas
    icon: Icon = icons()[int(painter.rng.integers(len(icons())))]
    if x + size * 1.3 > right or f"{icon.meaning} icon" in painter.used:
        return x
    painter.used.add(f"{icon.meaning} icon")
    box = (x, y - size * 0.65, x + size * 1.3, y + size * 0.65)
    if painter.rng.random() < 0.3:
        canvas.draw_box(box, None, canvas.theme.line, canvas.theme.radius)
    if painter.unseen:
        glyph = Image.new("RGBA", (160, 160), (0, 0, 0, 0))
        ImageDraw.Draw(glyph).text((8, 8), icon.unseen, font=emoji_font(), embedded_color=True)
        glyph = glyph.crop(glyph.getbbox()).resize((size, size), Image.Resampling.LANCZOS)
        canvas.image.paste(glyph, (round(x + size * 0.15), round(y - size / 2)), glyph)
    else:
        sign = icon.glyphs[int(painter.rng.integers(len(icon.glyphs)))]
        canvas.painter.text(
            (x + size * 0.65, y), sign, ink, font=face("DejaVuSans", "plain", size), anchor="mm"
        )
    canvas.add(kind_of("icon", icon.glyphs), "", (box,))
    return box[2]


def write_control(
    painter: PagePainter,
    role: str,
    x: float,
    y: float,
    label: str,
    ink: Rgb,
    style: str,
    right: float,
) -> float:
    """Draw a control that is only text; return where it ends, x if it does not fit."""
    canvas = painter.canvas
    if x + canvas.measure(label, canvas.theme.size, style) > right:
        return x
    lined = role == "link" and canvas.theme.underlined
    box = canvas.write(x, y, label, ink, style=style, underlined=lined)
    kind = kind_of("control", role)
    canvas.add(kind, label, (box,))
    return box[2]


def checkmark(canvas: PageCanvas, box: Box, role: str) -> None:
    """Draw the mark of a checked box, or the dot of a radio button."""
    left, top, right, bottom = box
    white = (255, 255, 255)
    wide, high = right - left, bottom - top
    if role == "radio":
        inner = (left + wide * 0.3, top + high * 0.3, right - wide * 0.3, bottom - high * 0.3)
        canvas.painter.ellipse(inner, fill=white)
        return
    checkmark = [(0.2, 0.5), (0.42, 0.75), (0.8, 0.25)]
    canvas.painter.line(
        [(left + x * wide, top + y * high) for x, y in checkmark], fill=white, width=2
    )


def ink_on(fill: Rgb) -> Rgb:
    """Return black or white, whichever has more contrast to a colour."""
    return (20, 20, 20) if is_light(fill) else (255, 255, 255)


def legible(ink: Rgb, ground: Rgb) -> Rgb:
    """Return the ink, or black or white where its contrast is too low."""
    return (
        ink if sum(abs(a - b) for a, b in zip(ink, ground, strict=True)) > 200 else ink_on(ground)
    )
