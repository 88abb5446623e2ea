"""Where tiles lie: rectangles in original pixels, overlapping their neighbours by a share of their side."""

from __future__ import annotations

import math
from dataclasses import dataclass

Size = tuple[int, int]

OVERLAP = 0.25
"""Share of a tile's side that it has in common with its neighbour: a thing up to that size is whole in one of the two."""

MOST_ASPECT = 1.5
"""Largest ratio of the sides that tiles aim at."""

SMALLEST_SIDE = 48
"""Pixels. Tiles are not made smaller: enlarging them shows the model nothing new."""


@dataclass(frozen=True)
class Tile:
    """A rectangle of an image in original pixels: columns [left, right), rows [top, bottom)."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top


def shape_for(size: Size, tiles: int) -> tuple[int, int]:
    """Return (columns, rows) of at least `tiles` tiles in the shape of photographs: that of the image, within MOST_ASPECT.

    A model points less exactly in images of a shape that it was seldom shown.
    """
    width, height = size
    usual = min(max(width / height, 1 / MOST_ASPECT), MOST_ASPECT)

    def cost(shape: tuple[int, int]) -> float:
        columns, rows = shape
        aspect = (width / columns) / (height / rows)
        return 2 * abs(math.log(aspect / usual)) + (columns * rows - tiles) / tiles

    shapes = [(columns, math.ceil(tiles / columns)) for columns in range(1, tiles + 1)]
    return min(shapes, key=cost)


def split(tile: Tile, columns: int, rows: int) -> list[Tile]:
    """Divide a rectangle into overlapping tiles that cover it, row by row."""
    across = _spans(tile.left, tile.right, columns)
    down = _spans(tile.top, tile.bottom, rows)
    return [Tile(left, top, right, bottom) for top, bottom in down for left, right in across]


def most_tiles(tile: Tile) -> int:
    """Return how many tiles of SMALLEST_SIDE a rectangle holds, at least 1."""
    return max(1, tile.width // SMALLEST_SIDE) * max(1, tile.height // SMALLEST_SIDE)


def _spans(start: int, end: int, parts: int) -> list[tuple[int, int]]:
    """Divide [start, end) into `parts` intervals of equal length, each overlapping the next by OVERLAP of its length."""
    length = (end - start) / (parts - (parts - 1) * OVERLAP)
    step = length * (1 - OVERLAP)
    begins = [start + step * part for part in range(parts)]
    spans = [(math.floor(begin), min(end, math.ceil(begin + length))) for begin in begins]
    return [*spans[:-1], (spans[-1][0], end)]
