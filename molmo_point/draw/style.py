"""Sizes of one drawing, all from one unit that grows with the image."""

from __future__ import annotations

import math
from dataclasses import dataclass

from molmo_point.draw.lettering import Line, lay_line
from molmo_point.draw.shapes import Colour

PANEL = (17, 20, 27, 222)
GREY: Colour = (178, 188, 203)
ACCENT: Colour = (255, 176, 92)


@dataclass(frozen=True)
class Style:
    """Sizes in the drawing's pixels.

    Attributes:
        unit: 1 for an image of about 640x400.
        font_path: A font file to use, or None.
    """

    unit: float
    font_path: str | None

    @classmethod
    def of(cls, width: int, height: int, font_path: str | None) -> Style:
        """Return the style of an image of that size."""
        unit = max(0.75, min(min(width, height) / 400, math.sqrt(width * height) / 640))
        return cls(unit, font_path)

    @property
    def letters(self) -> int:
        return max(11, round(16.5 * self.unit))

    @property
    def pad(self) -> float:
        return 0.5 * self.letters

    @property
    def gap(self) -> float:
        """Between a label's name and its score."""
        return 0.45 * self.letters

    @property
    def line(self) -> float:
        return max(1.0, 1.6 * self.unit)

    def text(self, words: str, times: float = 1.0) -> Line:
        """Return words, ready to be drawn, at a multiple of the usual height."""
        return lay_line(words, max(6, round(self.letters * times)), self.font_path)
