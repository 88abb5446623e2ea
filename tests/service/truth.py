"""Images whose truth is known, and a pointer that finds it: squares of one colour on grey, whatever size they were scaled to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from molmo_point.images import Array
from molmo_point.points import Point
from molmo_point.testing import FakePointer

COLOURS = {"red": (230, 20, 20), "blue": (20, 20, 230)}
SIZES = ((640, 480), (1280, 720), (1920, 1080), (817, 613), (390, 844))


def squares(folder: Path, count: int = 10) -> list[dict[str, Any]]:
    """Write images with one red square each; return {file, size, query, truth}: pixels, or None where nothing fits."""
    rng = np.random.default_rng(7)
    items: list[dict[str, Any]] = []
    for number in range(count):
        width, height = SIZES[number % len(SIZES)]
        left, top = (int(v) for v in rng.integers(12, (width - 24, height - 24)))
        pixels = np.full((height, width, 3), 128, np.uint8)
        pixels[top : top + 9, left : left + 9] = COLOURS["red"]
        file = folder / f"{number}.png"
        Image.fromarray(pixels).save(file)
        item = {"file": str(file), "size": [width, height]}
        items.append(
            {**item, "query": f"the red square in row {number}", "truth": [left + 4.5, top + 4.5]}
        )
    items.append({**items[0], "query": "the blue square in row 1", "truth": None})
    return items


def find(image: Array, query: str) -> list[Point]:
    """Return the centre of the pixels that have the colour in the query."""
    colour = next(value for name, value in COLOURS.items() if name in query)
    near = np.abs(image.astype(int) - colour).sum(axis=2) < 150
    if not near.any():
        return []
    rows, columns = np.nonzero(near)
    height, width = near.shape
    x, y = (columns.mean() + 0.5) / width, (rows.mean() + 0.5) / height
    # A worse point first: clients that take one position must get the better one.
    return [Point(x=0.001, y=0.999, score=0.1), Point(x=x, y=y, score=0.9, index=1)]


def pointer() -> FakePointer:
    """Return the pointer that knows the truth."""
    return FakePointer(find)


def task(items: list[dict[str, Any]]) -> str:
    """Return what a client's script is given."""
    return json.dumps({"items": items})
