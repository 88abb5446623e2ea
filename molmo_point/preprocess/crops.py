"""Crops of an image, their patches, padding masks and image tokens (molmo.md 3.4-3.6).

Letters: R, C rows and columns of high-resolution crops; n = 1 + R*C crops; G patches along a side of a crop; T image tokens
along a side of a crop (G / pooling); l, r the left and right margins in tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from molmo_point.checkpoints.config import PreprocessConfig
from molmo_point.preprocess.arrays import Bools, Floats, Ints
from molmo_point.preprocess.resize import Placement, letterbox
from molmo_point.preprocess.tiling import choose_tiling
from molmo_point.preprocess.windows import WindowedCrops, crop_stretched

UNUSED = -100
"""Value in `token_index` of pooled patches in a margin: they have no token."""


@dataclass(frozen=True, eq=False)
class ImageCrops:
    """Input of the vision tower for one image.

    Attributes:
        crops: [n, G*G, patch*patch*3] float32, normalised; the global crop (low resolution) first, then the grid in raster order.
        masks: [n, G*G] float32, share of each patch that is image and not padding. Row k is used with crop k but describes
            crop k + 1, and the last row is -1: the released weights were trained that way (molmo.md 3.6).
        token_index: [n, T*T] int32, position of each pooled patch among the image tokens (0 = first `<im_start>`), or UNUSED.
        grid: (R, C); (0, 0) for the global crop alone.
        placement: Position of the image on the high-resolution canvas; on the global crop where there is nothing else.
    """

    crops: Floats
    masks: Floats
    token_index: Ints
    grid: tuple[int, int]
    placement: Placement

    @property
    def pooling(self) -> Floats:
        """What the connector needs beside the features."""
        return self.masks


def cut_image(image: NDArray[np.uint8], config: PreprocessConfig) -> ImageCrops | WindowedCrops:
    """Cut an image into crops, padded or stretched as the checkpoint wants it; argument as of `crop_image`."""
    return crop_stretched(image, config) if config.stretched else crop_image(image, config)


def crop_image(
    image: NDArray[np.uint8], config: PreprocessConfig, most: int | None = None
) -> ImageCrops:
    """Return the global crop and the high-resolution crops of an image.

    Args:
        image: (H, W, 3) uint8 RGB.
        most: Largest number of high-resolution crops; None, and any larger number, for that of the training.
    """
    if most == 0:
        return _global_crop(image, config)
    height, width = image.shape[:2]
    rows, columns = choose_tiling(width, height, config, most)
    # Resizing divides by the standard deviation; `_patches` subtracts the mean, also from black margins.
    red, green, blue = (1 / (255 * deviation) for deviation in config.std)
    gain = red, green, blue
    canvas, where = letterbox(image, *canvas_size(rows, columns, config), gain)
    side, step, grid = config.crop_size, config.window_patches, config.grid_size
    low, _ = letterbox(image, side, side, gain)
    crops = np.empty((1 + rows * columns, grid, grid, config.patch_size**2 * 3), np.float32)
    crops[0] = _patches(low, config)
    # Crops begin at whole patches: the canvas is split into patches once, and neighbouring crops share them.
    patches = _patches(canvas, config)
    for index in range(rows * columns):
        top, left = index // columns * step, index % columns * step
        crops[1 + index] = patches[top : top + grid, left : left + grid]
    flat = crops.reshape(len(crops), grid * grid, -1)
    masks = _masks(where, rows, columns, config)
    return ImageCrops(flat, masks, token_index(rows, columns, config), (rows, columns), where)


def _global_crop(image: NDArray[np.uint8], config: PreprocessConfig) -> ImageCrops:
    """Return the global crop alone. Its mask is that of the last crop in training: unknown."""
    red, green, blue = (1 / (255 * deviation) for deviation in config.std)
    low, where = letterbox(image, config.crop_size, config.crop_size, (red, green, blue))
    patches = config.grid_size**2
    crops = _patches(low, config).reshape(1, patches, -1)
    masks = np.full((1, patches), -1, np.float32)
    return ImageCrops(crops, masks, _global_index(config).reshape(1, -1), (0, 0), where)


def canvas_size(rows: int, columns: int, config: PreprocessConfig) -> tuple[int, int]:
    """Return (width, height) in pixels of the canvas that a grid of overlapping crops covers."""
    step, margin = config.window_size, config.margin_size
    return step * columns + margin, step * rows + margin


def token_grid(rows: int, columns: int, config: PreprocessConfig) -> tuple[int, int]:
    """Return (height, width) of the high-resolution part in image tokens: the pooled canvas."""
    width, height = canvas_size(rows, columns, config)
    side = config.patch_size * config.pool_size
    return height // side, width // side


def token_index(rows: int, columns: int, config: PreprocessConfig) -> Ints:
    """Return the image token of each pooled patch: raster order over the whole image, margins unused.

    Returns:
        [1 + rows*columns, T*T] int32, positions among the image tokens, UNUSED in margins.
    """
    side = config.token_grid
    before, after = (margin // config.pool_size for margin in config.margins)
    step = side - before - after
    cell = np.arange(side)
    low = _global_index(config)
    _, row_length = token_grid(rows, columns, config)
    first = low.size + side + 2 + 1
    index = np.full((1 + rows * columns, side, side), UNUSED, np.int32)
    index[0] = low
    for row in range(rows):
        v_kept = _kept(row, rows, side, before, after)
        for column in range(columns):
            u_kept = _kept(column, columns, side, before, after)
            tokens = (
                first
                + (step * row + cell[:, None]) * (row_length + 1)
                + (step * column + cell[None, :])
            )
            kept = v_kept[:, None] & u_kept[None, :]
            index[1 + row * columns + column] = np.where(kept, tokens, UNUSED)
    return index.reshape(len(index), -1)


def _global_index(config: PreprocessConfig) -> Ints:
    """Return the image token of each pooled patch of the global crop [T, T]: <im_start>, then rows closed by <im_col>."""
    cell = np.arange(config.token_grid, dtype=np.int32)
    return (1 + (config.token_grid + 1) * cell[:, None] + cell[None, :]).astype(np.int32)


def _kept(position: int, count: int, side: int, before: int, after: int) -> Bools:
    """Return [side] bool: cells along one axis that a crop keeps, all but the margins that a neighbour covers."""
    cell = np.arange(side)
    first = before if position > 0 else 0
    last = side if position == count - 1 else side - after
    return (cell >= first) & (cell < last)


def _patches(canvas: Floats, config: PreprocessConfig) -> Floats:
    """Return [H/patch, W/patch, patch*patch*3] normalised from (H, W, 3); a patch is in (row, column, channel) order."""
    patch = config.patch_size
    rows, columns = canvas.shape[0] // patch, canvas.shape[1] // patch
    # The mean repeated for one row of a patch: subtracting long rows is faster than subtracting triples.
    mean = np.tile(np.array(config.mean, np.float32) / np.array(config.std, np.float32), patch)
    strips = canvas.reshape(rows, patch, columns, patch * 3).transpose(0, 2, 1, 3)
    out = np.subtract(strips, mean, order="C")
    return out.reshape(rows, columns, patch * patch * 3)


def _masks(where: Placement, rows: int, columns: int, config: PreprocessConfig) -> Floats:
    """Return `ImageCrops.masks`: the share of image in each patch of the high-resolution crops, then a row of -1."""
    patch, grid, step = config.patch_size, config.grid_size, config.window_patches
    across = _covered(where.left, where.width, where.canvas_width, patch)
    down = _covered(where.top, where.height, where.canvas_height, patch)
    share = (down[:, None] * across[None, :]).astype(np.float32) / np.float32(patch * patch)
    crops = [
        share[row * step : row * step + grid, column * step : column * step + grid].reshape(-1)
        for row in range(rows)
        for column in range(columns)
    ]
    return np.stack([*crops, np.full(grid * grid, -1, np.float32)])


def _covered(start: int, length: int, total: int, patch: int) -> NDArray[np.int64]:
    """Return, for each patch along one axis, how many of its pixels lie in [start, start + length)."""
    edges = np.arange(0, total, patch)
    return np.clip(np.minimum(edges + patch, start + length) - np.maximum(edges, start), 0, patch)
