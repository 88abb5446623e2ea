"""The canvas of a page drawn by Pillow: shapes, text, and the ground truth."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from molmo_point.synthetic.letter_classes import letter_class
from molmo_point.synthetic.pages.themes import FACES, Rgb, Theme
from molmo_point.synthetic.scenes.fonts import find_font
from molmo_point.synthetic.scenes.kinds import Kind
from molmo_point.synthetic.scenes.scene import NOTHING, Thing, Writing

Box = tuple[float, float, float, float]
"""(left, top, right, bottom) in pixels."""


@functools.lru_cache(maxsize=512)
def face(font: str, style: str, size: int) -> ImageFont.FreeTypeFont:
    """Load a font; Pillow's default where it is not installed.

    Args:
        font: A key of FACES.
        style: "plain", "bold" or "italic".
        size: In pixels.
    """
    suffix = FACES[font][("plain", "bold", "italic").index(style)]
    path = find_font(f"{font}{suffix}.ttf")
    if path is not None:
        return ImageFont.truetype(str(path), size)
    spare = ImageFont.load_default(size=size)
    assert isinstance(spare, ImageFont.FreeTypeFont)
    return spare


class PageCanvas:
    """The image of a page while it is drawn, and its controls so far."""

    def __init__(self, width: int, height: int, theme: Theme) -> None:
        self.theme = theme
        self.width, self.height = width, height
        self.image = Image.new("RGB", (width, height), theme.ground)
        self.painter = ImageDraw.Draw(self.image)
        self.owner = np.full((height, width), NOTHING, np.int16)
        self.things: list[Thing] = []
        self.writings: list[Writing] = []
        self._letters: list[tuple[int, float, float, float]] = []

    def letters(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """(n, 4): class, middle x, middle y, height of every letter written."""
        return np.array(self._letters, np.float32).reshape(-1, 4)

    def measure(self, text: str, size: int, style: str = "plain") -> float:
        """Width of a line of text in pixels."""
        return float(face(self.theme.font, style, size).getlength(text))

    def write(
        self,
        x: float,
        y: float,
        text: str,
        ink: Rgb,
        *,
        size: int | None = None,
        style: str = "plain",
        underlined: bool = False,
    ) -> Box:
        """Write a line of text, its left end at x, its middle at y; return its box."""
        size = size or self.theme.size
        font = face(self.theme.font, style, size)
        self.painter.text((x, y), text, ink, font=font, anchor="lm")
        ends = [x + font.getlength(text[: n + 1]) for n in range(len(text))]
        starts = [x, *ends[:-1]]
        self._letters += [
            (letter_class(sign), (start + end) / 2, y, float(size))
            for sign, start, end in zip(text, starts, ends, strict=True)
            if sign != " "
        ]
        right = ends[-1] if ends else x
        self.writings.append(Writing(text, (x, y - size * 0.45, right, y + size * 0.45)))
        if underlined:
            low = y + size * 0.42
            self.painter.line([(x, low), (right, low)], fill=ink, width=1)
        return (x, y - size * 0.6, right, y + size * 0.6)

    def draw_box(self, box: Box, fill: Rgb | None, line: Rgb | None, radius: float = 0) -> None:
        """Draw a rectangle, perhaps with round corners."""
        left, top, right, bottom = (round(edge) for edge in box)
        if right <= left or bottom <= top:
            return
        self.painter.rounded_rectangle(
            (left, top, right - 1, bottom - 1),
            radius=min(radius, (bottom - top) / 2, (right - left) / 2),
            fill=fill,
            outline=line,
            width=self.theme.border,
        )

    def add(self, kind: Kind, text: str, boxes: tuple[Box, ...]) -> bool:
        """Add a control: all its boxes answer, its point is the center of the first.

        Returns:
            Whether all of it lies on the canvas; otherwise it cannot be asked for.
        """
        whole = all(
            left >= 0 and top >= 0 and right <= self.width and bottom <= self.height
            for left, top, right, bottom in boxes
        )
        visible = 1.0 if whole else 0.0
        index = len(self.things)
        for left, top, right, bottom in boxes:
            rows = slice(max(0, round(top)), max(0, round(bottom)))
            columns = slice(max(0, round(left)), max(0, round(right)))
            self.owner[rows, columns] = index
        left, top, right, bottom = boxes[0]
        x = float(np.clip((left + right) / 2, 0.5, self.width - 0.5))
        y = float(np.clip((top + bottom) / 2, 0.5, self.height - 0.5))
        around = (
            min(box[0] for box in boxes),
            min(box[1] for box in boxes),
            max(box[2] for box in boxes),
            max(box[3] for box in boxes),
        )
        self.things.append(Thing(kind, None, (x, y), around, visible, text))
        return whole
