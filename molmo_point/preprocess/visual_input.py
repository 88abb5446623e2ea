"""What the network takes of one image, of several, or of a video's frames: crops, windows of patches, tokens (molmo2.md 3).

Letters: n crops; G patches along a side of a crop; P image tokens, each a window of k patches; T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from molmo_point.checkpoints.config import PreprocessConfig
from molmo_point.errors import UsageError
from molmo_point.pointer import Detail
from molmo_point.preprocess.arrays import Bools, Bytes, Floats, Ints
from molmo_point.preprocess.crops import crop_image
from molmo_point.preprocess.inputs import image_prefix, patch_positions, windowed_tokens
from molmo_point.preprocess.tokenizer import SpecialIds, Tokenizer
from molmo_point.preprocess.windows import (
    crop_frames,
    crop_stretched,
    frame_windows,
    patch_numbers,
)

FRAME_POOL = 3
"""Side of the window of patches that becomes one image token of a video's frame."""


@dataclass(frozen=True, eq=False)
class VisualInput:
    """Images as the network takes them. They come first in every prompt.

    Attributes:
        crops: [n, G*G, patch*patch*3] float32, normalised, of all images.
        pooling: What the connector needs beside their features: windows [P, k] of Molmo 2, numbered over all crops, or masks.
        input_ids: [T] int32, the begin token, image tokens, and the words between images.
        image_input_idx: For each vector of the connector its position in `input_ids`, negative where unused.
        in_block: [T] bool, tokens of images: in Molmo 2 they see each other in both directions.
        grids: For each image [rows, columns] int32, which patch shows each place of it; () before Molmo 2.
    """

    crops: Floats
    pooling: Floats | Ints
    input_ids: Ints
    image_input_idx: Ints
    in_block: Bools
    grids: tuple[Ints, ...] = ()


def images_input(
    images: Sequence[Bytes],
    config: PreprocessConfig,
    tokenizer: Tokenizer,
    detail: Detail = "auto",
) -> VisualInput:
    """Return the input of one or more images.

    Args:
        images: Each (H, W, 3) uint8 RGB.
        detail: How finely each is looked at.

    Raises:
        UsageError: Several images for a model of the first generation, which was trained with one.
    """
    special = tokenizer.special
    if config.stretched:
        return _stretched_input(images, config, tokenizer, fine_crops(detail))
    if len(images) != 1:
        raise UsageError(
            f"this model takes one image a question, got {len(images)}: ask about each by itself, or load a Molmo 2"
        )
    crops = crop_image(images[0], config, fine_crops(detail))
    prefix = image_prefix(crops, config, special)
    ids = prefix.input_ids
    return VisualInput(
        crops.crops, crops.masks, ids, prefix.image_input_idx, _in_block(ids, special)
    )


def fine_crops(detail: Detail) -> int | None:
    """Return the largest number of crops beside the global one; None = as many as in training."""
    if detail == "auto":
        return None
    return 0 if detail == "low" else detail - 1


def _stretched_input(
    images: Sequence[Bytes], config: PreprocessConfig, tokenizer: Tokenizer, most: int | None
) -> VisualInput:
    special, patches = tokenizer.special, config.grid_size**2
    ids: list[Ints] = [np.array([special.begin], np.int32)]
    crops, windows, grids = [], [], []
    first = 0
    for number, image in enumerate(images, start=1):
        cut = crop_stretched(image, config, most)
        if len(images) > 1:
            ids.append(np.array(tokenizer.encode(f"Image {number}"), np.int32))
        ids.append(windowed_tokens(cut, config, special))
        crops.append(cut.crops)
        windows.append(np.where(cut.windows >= 0, cut.windows + first, cut.windows))
        shown = patch_numbers(*cut.grid, config) if any(cut.grid) else _whole_crop(config)
        grids.append(shown + np.int32(first))
        first += len(cut.crops) * patches
    return _joined(crops, windows, ids, grids, special)


def frames_input(
    frames: Sequence[Bytes],
    times_s: Sequence[float],
    config: PreprocessConfig,
    tokenizer: Tokenizer,
) -> VisualInput:
    """Return the input of a video's frames.

    Args:
        frames: Each (H, W, 3) uint8 RGB, all of one size.
        times_s: Their times in seconds, ascending.
    """
    special = tokenizer.special
    if special.frame is None:
        raise UsageError("this model takes single images, no videos: load a Molmo 2")
    crops = crop_frames(frames, config)
    own = frame_windows(replace(config, pool_size=FRAME_POOL))
    start, end = special.frame
    ids: list[Ints] = [np.array([special.begin], np.int32)]
    windows, grids = [], []
    patches = config.grid_size**2
    for index, time_s in enumerate(times_s):
        words = tokenizer.encode(f"{' ' if index else ''}{time_s:.1f} ")
        tokens = [*words, start, *[special.image_patch] * len(own), end]
        ids.append(np.array(tokens, np.int32))
        windows.append(np.where(own >= 0, own + index * patches, own))
        grids.append(_whole_crop(config) + np.int32(index * patches))
    return _joined([crops], windows, ids, grids, special)


def _whole_crop(config: PreprocessConfig) -> Ints:
    """Return which patch of a crop shows each place of it: of a frame, or of a low-resolution view that stands alone."""
    side = config.grid_size
    return np.arange(side * side, dtype=np.int32).reshape(side, side)


def _joined(
    crops: Sequence[Floats],
    windows: Sequence[Ints],
    ids: Sequence[Ints],
    grids: Sequence[Ints],
    special: SpecialIds,
) -> VisualInput:
    tokens = np.concatenate(ids)
    return VisualInput(
        np.concatenate(crops),
        np.concatenate(windows).astype(np.int32),
        tokens,
        patch_positions(tokens, special),
        _in_block(tokens, special),
        tuple(grids),
    )


def _in_block(ids: Ints, special: SpecialIds) -> Bools:
    inside: Bools = np.isin(ids, special.visual)
    # The begin token may have the id of a visual token only by mistake of a tokenizer; it is never part of an image.
    inside[0] = False
    return inside
