"""How many answers are decoded side by side, and how long each may become."""

from __future__ import annotations

import torch

from molmo_point.checkpoints.config import MolmoConfig
from molmo_point.engine.draft_tree import MAX_DRAFT
from molmo_point.engine.options import EngineOptions
from molmo_point.errors import QueryError


def batch_size(config: MolmoConfig, options: EngineOptions, dtype: torch.dtype) -> tuple[int, int]:
    """Return (rows, tokens a row) of the largest batch.

    Raises:
        QueryError: Not even one row fits `batch_cache_bytes`; with the numbers.
    """
    sizes = config.decoder
    # A query of 4000 characters takes about 1000 tokens.
    prefix = config.preprocess.most_image_tokens
    capacity = min(sizes.max_positions, prefix + 1040 + options.max_new_tokens) + MAX_DRAFT
    token_bytes = 2 * sizes.layers * sizes.kv_width * dtype.itemsize
    rows = min(options.max_batch, options.batch_cache_bytes // (capacity * token_bytes))
    if rows < 1:
        raise QueryError(
            f"one answer of {capacity} tokens takes {capacity * token_bytes:,} bytes of keys and values, "
            f"batch_cache_bytes is {options.batch_cache_bytes:,}: raise it"
        )
    return rows, capacity
