"""Keys and values of several sequences of different length, one sequence a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from molmo_point.checkpoints.config import DecoderConfig
from molmo_point.model.kv_cache import KVCache


class BatchKVCache:
    """Keys and values of up to `rows` sequences of up to `capacity` tokens each.

    Attributes:
        lengths: Number of kept tokens of each row.
    """

    def __init__(
        self,
        config: DecoderConfig,
        rows: int,
        capacity: int,
        *,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        # One slot beyond the capacity: padding is written there, and never read.
        shape = (config.layers, rows, config.kv_heads, capacity + 1, config.head_dim)
        # Zeros, not empty: masked slots are multiplied by zero weights, and NaN times zero is NaN.
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)
        self.lengths = [0] * rows
        self._rows = torch.arange(rows, device=device)[:, None]

    @property
    def capacity(self) -> int:
        """Largest number of tokens of a row."""
        return self.keys.shape[3] - 1

    def fill(self, row: int, prefix: KVCache) -> None:
        """Fill a row with the tokens of another cache."""
        self.keys[:, row, :, : prefix.length] = prefix.keys[:, 0, :, : prefix.length]
        self.values[:, row, :, : prefix.length] = prefix.values[:, 0, :, : prefix.length]
        self.lengths[row] = prefix.length

    @torch.inference_mode()
    def move(self, source: int, target: int) -> None:
        """Copy the kept tokens of row `source` to row `target`."""
        length = self.lengths[source]
        for kept in (self.keys, self.values):
            kept[:, target, :, :length] = kept[:, source, :, :length]
        self.lengths[target] = length

    @torch.inference_mode()
    def keep(self, row: int, tokens: Sequence[int]) -> None:
        """Keep some of the tokens that were last written to a row; see `KVCache.keep`."""
        moved = [(new, old) for new, old in enumerate(tokens) if new != old]
        if moved:
            new, old = (
                torch.tensor(slots) + self.lengths[row] for slots in zip(*moved, strict=True)
            )
            for kept in (self.keys, self.values):
                kept[:, row, :, new] = kept[:, row, :, old]
        self.lengths[row] += len(tokens)

    def append(
        self, layer: int, k: Tensor, v: Tensor, *, slot_mapping: Tensor, seen: int, first: int
    ) -> tuple[Tensor, Tensor]:
        """Write the keys and values of new tokens of B rows; return those of all tokens of these rows.

        Args:
            k, v: [B, K, T, d].
            slot_mapping: [B, T] int64, position of each new token in its row, `capacity` for padding.
            seen: Length of the longest row with its new tokens.
            first: Index of the first row.

        Returns:
            Views [B, K, seen, d]; the ends of shorter rows have to be masked.
        """
        own = slice(first, first + len(slot_mapping))
        rows = self._rows[own]
        self.keys[layer][rows, :, slot_mapping] = k.transpose(1, 2)
        self.values[layer][rows, :, slot_mapping] = v.transpose(1, 2)
        return self.keys[layer, own, :, :seen], self.values[layer, own, :, :seen]


@dataclass(frozen=True, eq=False)
class BatchSlots:
    """Where one pass writes in a `BatchKVCache`: the `Cache` that the decoder gets. Attributes as in `BatchKVCache.append`."""

    cache: BatchKVCache
    slot_mapping: Tensor
    seen: int
    first: int = 0

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write the keys and values of new tokens [B, K, T, d]; return those of all tokens [B, K, seen, d]."""
        return self.cache.append(
            layer, k, v, slot_mapping=self.slot_mapping, seen=self.seen, first=self.first
        )
