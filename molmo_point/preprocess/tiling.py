"""How many high-resolution crops a picture gets (molmo.md 3.2; the reference's `select_tiling`)."""

from __future__ import annotations

import numpy as np

from molmo_point.checkpoints.config import PreprocessConfig


def choose_tiling(width: int, height: int, config: PreprocessConfig) -> tuple[int, int]:
    """Choose the grid of crops whose canvas fits the picture best.

    The smallest grid that need not shrink the picture; if all must shrink it, the one that shrinks it least. Computed in
    float32, because ties and near-ties are decided as in the reference.

    Args:
        width, height: Size of the picture in pixels.

    Returns:
        (rows, columns), rows * columns <= config.max_crops.
    """
    candidates = np.array(_candidates(config.max_crops), dtype=np.float32)
    room = np.array([height - config.margin_size, width - config.margin_size], dtype=np.float32)
    # A side of exactly the margins divides by zero on purpose (+inf), a smaller one gives a negative scale: both as there.
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
