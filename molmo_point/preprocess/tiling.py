"""The grid of high-resolution crops of an image (molmo.md 3.2; the reference's `select_tiling`)."""

from __future__ import annotations

import numpy as np

from molmo_point.checkpoints.config import PreprocessConfig


def choose_tiling(
    width: int, height: int, config: PreprocessConfig, most: int | None = None
) -> tuple[int, int]:
    """Return the grid of crops whose canvas fits the image best.

    It is the smallest grid that does not shrink the image or, if all do, the one that shrinks it least. Computed in float32, so
    that ties and near-ties are decided as in the reference.

    Args:
        width, height: Size of the image in pixels.
        most: Largest number of crops of the grid, at least 1; None for `config.max_crops`, which it never exceeds.

    Returns:
        (rows, columns), rows * columns <= config.max_crops.
    """
    largest = config.max_crops if most is None else min(most, config.max_crops)
    candidates = np.array(_candidates(largest), dtype=np.float32)
    room = np.array([height - config.margin_size, width - config.margin_size], dtype=np.float32)
    # A side equal to the margins divides by zero (+inf), a smaller one gives a negative scale, as in the reference.
    with np.errstate(divide="ignore"):
        scale = (candidates * config.window_size / room).min(axis=1)
    if np.all(scale < 1):
        best = int(np.argmax(scale))
    else:
        best = int(np.argmin(np.where(scale < 1, np.float32(np.inf), scale)))
    rows, columns = candidates[best]
    return int(rows), int(columns)


def _candidates(max_crops: int) -> list[tuple[int, int]]:
    grids = [
        (rows, columns)
        for rows in range(1, max_crops + 1)
        for columns in range(1, max_crops // rows + 1)
    ]
    return sorted(grids, key=lambda grid: (grid[0] * grid[1], grid[0]))
