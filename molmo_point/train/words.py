"""Which words each image token of a page shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molmo_point.preprocess.resize import Placement
from molmo_point.synthetic.pages.labels import word_classes
from molmo_point.synthetic.scenes.scene import Scene, Writing
from molmo_point.train.letters import MIN_HEIGHT

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

WORDS = 4
"""Largest number of words learned at a token: those with the largest area."""

NO_WORD = -1

MIN_TEXT_AREA = 0.06
"""Share of a token that text must cover: about one letter of 11 pixels."""

MIN_WORD_AREA = 0.1
"""Share of a token's text below which a word is not learned there."""


def words_in_cells(
    scene: Scene, view: Placement, rows: int, columns: int, side: int
) -> tuple[Ints, Floats]:
    """Return the words written in each cell of a canvas.

    A cell that shows part of a line counts as showing all its words, because a label is looked for as a whole: "Forgot
    password" is not "Password".

    Args:
        side: Of a cell, in pixels of the canvas.

    Returns:
        Classes [rows, columns, WORDS], see `word_classes`, NO_WORD in unused places; and the share of each word in the cell's
        text, summing to 1 where there is text.
    """
    classes = np.full((rows * columns, WORDS), NO_WORD, np.int32)
    shares = np.zeros((rows * columns, WORDS), np.float32)
    lines = [(line, found) for line in scene.writings if (found := word_classes(line.text))]
    height = scene.image.shape[0]
    lines = [
        (line, found)
        for line, found in lines
        if (line.box[3] - line.box[1]) * view.height / height >= MIN_HEIGHT
    ]
    if not lines:
        return classes.reshape(rows, columns, WORDS), shares.reshape(rows, columns, WORDS)
    covered = _covered(scene, [line for line, _ in lines], view, rows, columns, side)
    there = sorted({word for _, found in lines for word in found})
    parts = np.zeros((len(there), len(lines)))
    for number, (_, found) in enumerate(lines):
        for word in found:
            parts[there.index(word), number] += 1 / len(found)
    amounts = (parts @ covered).T
    total = amounts.sum(1)
    kept = min(WORDS, len(there))
    best = np.argsort(-amounts, axis=1, kind="stable")[:, :kept]
    share = np.take_along_axis(amounts, best, 1) / np.maximum(total, 1e-9)[:, None]
    seen = (share >= MIN_WORD_AREA) & (total >= MIN_TEXT_AREA * side * side)[:, None]
    share = np.where(seen, share, 0)
    classes[:, :kept] = np.where(seen, np.array(there)[best], NO_WORD)
    shares[:, :kept] = share / np.maximum(share.sum(1), 1e-9)[:, None]
    return classes.reshape(rows, columns, WORDS), shares.reshape(rows, columns, WORDS)


def _covered(
    scene: Scene, lines: Sequence[Writing], view: Placement, rows: int, columns: int, side: int
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the area that each line covers in each cell, [lines, rows * columns] in square pixels of the canvas."""
    height, width = scene.image.shape[:2]
    boxes = np.array([line.box for line in lines])
    x = boxes[:, [0, 2]] / width * view.width + view.left
    y = boxes[:, [1, 3]] / height * view.height + view.top
    across = _overlap(x, columns, side)
    down = _overlap(y, rows, side)
    return (down[:, :, None] * across[:, None, :]).reshape(len(boxes), rows * columns)


def _overlap(
    spans: np.ndarray[Any, Any], count: int, side: int
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the overlap [n, count] of each span [n, 2] with each of `count` cells."""
    starts = np.arange(count) * side
    low = np.maximum(spans[:, :1], starts)
    high = np.minimum(spans[:, 1:], starts + side)
    return np.maximum(high - low, 0.0)
