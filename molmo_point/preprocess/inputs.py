"""One request as the decoder reads it: token ids, and where the image embeddings are added."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from molmo_point.checkpoints.config import PreprocessConfig
from molmo_point.errors import QueryError
from molmo_point.preprocess.crops import ImageCrops, token_grid
from molmo_point.preprocess.tokenizer import SpecialIds

Ints = np.ndarray[Any, np.dtype[np.int32]]


@dataclass(frozen=True, eq=False)
class Prefix:
    """The part of the input that only depends on the picture: it comes first, so it can be kept between questions.

    Attributes:
        input_ids: [P] int32, the begin token and all image tokens.
        image_input_idx: [n, T*T] int32, for each pooled patch its position in `input_ids`, negative where unused.
    """

    input_ids: Ints
    image_input_idx: Ints


def image_prefix(crops: ImageCrops, config: PreprocessConfig, special: SpecialIds) -> Prefix:
    """Lay out the image tokens: low-resolution view, then the whole picture in raster order (molmo.md 3.5)."""
    side = config.token_grid
    height, width = token_grid(*crops.grid, config)
    ids = np.concatenate(
        [
            np.array([special.end_of_text], np.int32),
            _block(side, side, special),
            _block(height, width, special),
        ]
    )
    index = np.where(crops.token_index >= 0, crops.token_index + 1, crops.token_index)
    return Prefix(ids, index.astype(np.int32))


def text_prefix(special: SpecialIds) -> Prefix:
    """The prefix of a question without a picture: the begin token alone."""
    return Prefix(np.array([special.end_of_text], np.int32), np.empty((0, 0), np.int32))


def check_length(prefix: int, prompt: int, answer: int, limit: int) -> None:
    """Refuse what cannot fit into the model's positions.

    Raises:
        QueryError: With the numbers.
    """
    if prefix + prompt + answer > limit:
        raise QueryError(
            f"the picture takes {prefix} tokens, the question {prompt} and the answer at least {answer}: "
            f"{prefix + prompt + answer} in all, the model holds {limit}; shorten the question or use fewer crops"
        )


def _block(height: int, width: int, special: SpecialIds) -> Ints:
    """<im_start>, `height` rows of `width` patches each closed by <im_col>, <im_end>."""
    row = [special.image_patch] * width + [special.image_column]
    return np.array([special.image_start, *(row * height), special.image_end], np.int32)
