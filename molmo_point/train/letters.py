"""Which letters each patch of a page shows: targets of the vision tower."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from molmo_point.checkpoints.config import PreprocessConfig
from molmo_point.preprocess.crops import ImageCrops
from molmo_point.preprocess.resize import Placement, place
from molmo_point.synthetic.letter_classes import CLASSES
from molmo_point.synthetic.scenes.scene import Scene

Flags = NDArray[np.bool_]

MIN_HEIGHT = 6.0
"""Height in pixels, after the image is resized to its crops, below which letters are not learned."""


def letters_in_patches(
    scene: Scene, cut: ImageCrops, config: PreprocessConfig
) -> tuple[Flags, Flags]:
    """Return the letters [n, P, CLASSES] whose middle lies in a patch, and for which crops [n] they are known."""
    count, patches = cut.crops.shape[:2]
    letters = np.zeros((count, patches, CLASSES), bool)
    known = np.zeros(count, bool)
    if not len(scene.letters):
        return letters, known
    height, width = scene.image.shape[:2]
    side, step = config.grid_size, config.window_patches
    low = place(width, height, config.crop_size, config.crop_size)
    typical = float(np.median(scene.letters[:, 3]))
    columns = cut.grid[1]
    views = [(low, 0, 0)]
    views += [
        (cut.placement, index // columns * step, index % columns * step)
        for index in range(count - 1)
    ]
    for crop, (view, top, left) in enumerate(views):
        known[crop] = typical * view.height / height >= MIN_HEIGHT
        row, column = _patch(scene, view, config.patch_size)
        row, column = row - top, column - left
        inside = (row >= 0) & (row < side) & (column >= 0) & (column < side)
        kinds = scene.letters[inside, 0].astype(int)
        letters[crop, row[inside] * side + column[inside], kinds] = True
    return letters, known


def _patch(scene: Scene, view: Placement, patch: int) -> tuple[Any, Any]:
    """Return row and column of the patch of a canvas that holds the middle of each letter."""
    height, width = scene.image.shape[:2]
    x = scene.letters[:, 1] / width * view.width + view.left
    y = scene.letters[:, 2] / height * view.height + view.top
    return (y // patch).astype(int), (x // patch).astype(int)
