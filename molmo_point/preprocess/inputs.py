"""Input of the decoder: token ids, and the positions where image embeddings are added."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molmo_point.checkpoints.config import PreprocessConfig
from molmo_point.errors import QueryError
from molmo_point.preprocess.arrays import Ints
from molmo_point.preprocess.crops import ImageCrops, token_grid
from molmo_point.preprocess.tokenizer import SpecialIds
from molmo_point.preprocess.windows import WindowedCrops


@dataclass(frozen=True, eq=False)
class Prefix:
    """The part of the input that depends on the image only. It comes first, so that all questions about the image share it.

    Attributes:
        input_ids: [P] int32, the begin token and all image tokens.
        image_input_idx: [n, T*T] or [P] int32, for each vector of the connector its position in `input_ids`, negative where
            unused.
    """

    input_ids: Ints
    image_input_idx: Ints


def image_prefix(
    crops: ImageCrops | WindowedCrops, config: PreprocessConfig, special: SpecialIds
) -> Prefix:
    """Return the tokens of an image: the global crop, then the whole image in raster order (molmo.md 3.5, molmo2.md 3.4)."""
    if isinstance(crops, WindowedCrops):
        return _windowed_prefix(crops, config, special)
    side = config.token_grid
    blocks = [np.array([special.begin], np.int32), _block(side, side, special)]
    if any(crops.grid):
        blocks.append(_block(*token_grid(*crops.grid, config), special))
    ids = np.concatenate(blocks)
    index = np.where(crops.token_index >= 0, crops.token_index + 1, crops.token_index)
    return Prefix(ids, index.astype(np.int32))


def _windowed_prefix(
    crops: WindowedCrops, config: PreprocessConfig, special: SpecialIds
) -> Prefix:
    ids = np.concatenate(
        [np.array([special.begin], np.int32), windowed_tokens(crops, config, special)]
    )
    return Prefix(ids, patch_positions(ids, special))


def windowed_tokens(crops: WindowedCrops, config: PreprocessConfig, special: SpecialIds) -> Ints:
    """Return the tokens of one image: <low_res_im_start>, its patches without columns, <im_end>; then the canvas."""
    rows, columns = crops.low
    patch = special.image_patch
    if config.low_token and special.low_image_patch is not None:
        patch = special.low_image_patch
    low = [special.low_image_start, *[patch] * (rows * columns), special.image_end]
    tokens: Ints = np.array(low, np.int32)
    return np.concatenate([tokens, _block(*crops.high, special)]) if any(crops.grid) else tokens


def patch_positions(ids: Ints, special: SpecialIds) -> Ints:
    """Return the positions of the tokens to which image embeddings are added [P]."""
    patches = [special.image_patch]
    if special.low_image_patch is not None:
        patches.append(special.low_image_patch)
    return np.flatnonzero(np.isin(ids, patches)).astype(np.int32)


def text_prefix(special: SpecialIds) -> Prefix:
    """Return the prefix of a question without an image: the begin token alone."""
    return Prefix(np.array([special.begin], np.int32), np.empty((0, 0), np.int32))


def check_length(prefix: int, prompt: int, answer: int, limit: int) -> None:
    """Refuse a request that does not fit the model's positions; all arguments are numbers of tokens.

    Raises:
        QueryError: With the numbers.
    """
    if prefix + prompt + answer > limit:
        raise QueryError(
            f"the image takes {prefix} tokens, the question {prompt} and the answer at least {answer}: "
            f"{prefix + prompt + answer} in total, the model holds {limit}; shorten the question or use fewer crops"
        )


def _block(height: int, width: int, special: SpecialIds) -> Ints:
    """Return <im_start>, `height` rows of `width` patches with <im_col> after each, <im_end>."""
    row = [special.image_patch] * width + [special.image_column]
    return np.array([special.image_start, *(row * height), special.image_end], np.int32)
