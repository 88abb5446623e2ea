"""Crops of a stretched image, and the windows of patches that become its image tokens (molmo2.md 3.1, 3.3).

Letters: R, C rows and columns of high-resolution crops; n = 1 + R*C crops; G patches along a side of a crop; P image tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from molmo_point.checkpoints.config import PreprocessConfig
from molmo_point.preprocess.arrays import Bytes, Floats, Ints
from molmo_point.preprocess.bilinear import stretch
from molmo_point.preprocess.tiling import choose_tiling

NO_PATCH = -1
"""In a window: beyond the edge of the image."""


@dataclass(frozen=True, eq=False)
class WindowedCrops:
    """An image as Molmo 2's vision tower and connector take it.

    Attributes:
        crops: [n, G*G, patch*patch*3] float32, normalised; the low-resolution view first, then the grid in raster order.
        windows: [P, pool*pool] int32, the patches of each image token, numbered over all crops, or NO_PATCH.
        grid: (R, C); (0, 0) for the low-resolution view alone.
        low, high: (rows, columns) of image tokens of the low-resolution view and of the whole canvas; P of both together.
    """

    crops: Floats
    windows: Ints
    grid: tuple[int, int]
    low: tuple[int, int]
    high: tuple[int, int]

    @property
    def pooling(self) -> Ints:
        """What the connector needs beside the features."""
        return self.windows


def crop_stretched(
    image: Bytes, config: PreprocessConfig, most: int | None = None
) -> WindowedCrops:
    """Stretch an image to the low-resolution view and to the canvas, and cut the canvas into overlapping crops.

    Args:
        image: (H, W, 3) uint8 RGB.
        most: Largest number of crops of the canvas; 0 for no canvas, None and any larger number for that of the training.
    """
    if most == 0:
        return _low_view(image, config)
    height, width = image.shape[:2]
    rows, columns = choose_tiling(width, height, config, most)
    side, step, grid = config.crop_size, config.window_patches, config.grid_size
    canvas_width = config.window_size * columns + config.margin_size
    canvas_height = config.window_size * rows + config.margin_size
    canvas = _patches(stretch(image, canvas_width, canvas_height), config)
    crops = [_patches(stretch(image, side, side), config)]
    for index in range(rows * columns):
        top, left = index // columns * step, index % columns * step
        crops.append(canvas[top : top + grid, left : left + grid])
    low = _windows(np.arange(grid**2, dtype=np.int32).reshape(grid, grid), config.pool_size)
    high = _windows(patch_numbers(rows, columns, config), config.pool_size)
    return WindowedCrops(
        crops=np.stack(crops).reshape(len(crops), grid * grid, -1),
        windows=np.concatenate([w.reshape(-1, config.pool_size**2) for w in (low, high)]),
        grid=(rows, columns),
        low=(low.shape[0], low.shape[1]),
        high=(high.shape[0], high.shape[1]),
    )


def _low_view(image: Bytes, config: PreprocessConfig) -> WindowedCrops:
    side = -(-config.grid_size // config.pool_size)
    return WindowedCrops(
        crops=crop_frames([image], config),
        windows=frame_windows(config),
        grid=(0, 0),
        low=(side, side),
        high=(0, 0),
    )


def crop_frames(frames: Sequence[Bytes], config: PreprocessConfig) -> Floats:
    """Return the low-resolution view of each frame of a video [n, G*G, patch*patch*3]: frames have no other crops."""
    side = config.crop_size
    views = [_patches(stretch(frame, side, side), config) for frame in frames]
    return np.stack(views).reshape(len(views), config.grid_size**2, -1)


def frame_windows(config: PreprocessConfig) -> Ints:
    """Return the windows of patches of one low-resolution view [tokens, pool*pool]."""
    grid = np.arange(config.grid_size**2, dtype=np.int32).reshape(config.grid_size, -1)
    return _windows(grid, config.pool_size).reshape(-1, config.pool_size**2)


def patch_numbers(rows: int, columns: int, config: PreprocessConfig) -> Ints:
    """Say which crop's patch shows each place of the canvas; of overlapping crops, inner margins show nothing.

    Returns:
        [rows * window + margins, columns * window + margins] int32: crop * G*G + patch, where crop 0 is the low-resolution view.
    """
    down = _shown(rows, config)
    across = _shown(columns, config)
    crop = 1 + down[0][:, None] * columns + across[0][None, :]
    patch = down[1][:, None] * config.grid_size + across[1][None, :]
    return (crop * config.grid_size**2 + patch).astype(np.int32)


def _shown(count: int, config: PreprocessConfig) -> tuple[Ints, Ints]:
    """Return for each patch along one axis of the canvas the crop that shows it, and its place in that crop."""
    step, (before, _) = config.window_patches, config.margins
    place = np.arange(step * count + sum(config.margins), dtype=np.int32)
    crop = np.clip((place - before) // step, 0, count - 1).astype(np.int32)
    return crop, place - crop * np.int32(step)


def _windows(numbers: Ints, pool: int) -> Ints:
    """Cut a grid of patch numbers into windows: [h, w] -> [ceil(h / pool), ceil(w / pool), pool*pool]; odd sides are padded."""
    pads = [(-side % pool // 2, -side % pool - -side % pool // 2) for side in numbers.shape]
    padded = np.pad(numbers, pads, constant_values=NO_PATCH).astype(np.int32)
    rows, columns = (side // pool for side in padded.shape)
    windows = padded.reshape(rows, pool, columns, pool).transpose(0, 2, 1, 3)
    return windows.reshape(rows, columns, pool * pool)


def _patches(canvas: Bytes, config: PreprocessConfig) -> Floats:
    """(H, W, 3) bytes -> [H/patch, W/patch, patch*patch*3] normalised; inside a patch in (row, column, channel) order."""
    patch = config.patch_size
    rows, columns = canvas.shape[0] // patch, canvas.shape[1] // patch
    level = np.arange(256, dtype=np.float32)[:, None] / np.float32(255)
    level = (level - np.array(config.mean, np.float32)) / np.array(config.std, np.float32)
    # Three look-ups of a byte are faster than arithmetic on every pixel.
    normal = np.stack([level[canvas[..., channel], channel] for channel in range(3)], axis=-1)
    strips = normal.reshape(rows, patch, columns, patch * 3).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(strips).reshape(rows, columns, patch * patch * 3)
