"""The map of an image's places, read from MolmoPoint's heads in one pass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from molmo_point.engine.encoded_image import EncodedImage
from molmo_point.model.molmo import Molmo
from molmo_point.point_map import PointMap
from molmo_point.preprocess.tokenizer import Tokenizer

OPENING = '<points coords="'
"""What an answer with points begins with: behind it the first patch is chosen."""


@torch.inference_mode()
def read_point_map(
    model: Molmo, tokenizer: Tokenizer, image: EncodedImage, prompt: Sequence[int], query: str
) -> PointMap:
    """Read the prompt and the opening of an answer behind an image; return the probabilities of the first patch.

    Args:
        image: One image, with keys of its patches.
        prompt: Token ids of the question.
    """
    assert model.points is not None
    assert image.patches is not None
    assert image.places is not None
    ids = torch.tensor([[*prompt, *tokenizer.encode(OPENING)]], device=model.device)
    cache = image.cache.fork(image.cache.length + ids.shape[1])
    positions = cache.length + torch.arange(ids.shape[1], device=model.device)[None]
    hidden = model.decoder(model.embed(ids), positions, cache=cache)[0, -1]
    scores = model.points.patch_scores(hidden, image.patches, None).double()
    chances = scores.softmax(-1).cpu().numpy()
    ((rows, columns),) = image.places.shapes
    inside = image.places.image >= 0
    shares = chances[:-1, None] * inside / np.maximum(inside.sum(1, keepdims=True), 1)
    centres = image.places.centres[inside]
    grid = np.zeros((rows, columns))
    row, column = (centres[:, 1] * rows).astype(int), (centres[:, 0] * columns).astype(int)
    np.add.at(grid, (row, column), shares[inside])
    return PointMap(grid, float(chances[-1]), query, image.image_size)
