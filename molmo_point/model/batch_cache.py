"""Keys and values of several sequences of different length: rows that fill and empty independently."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from molmo_point.checkpoints.config import DecoderConfig
from molmo_point.model.kv_cache import KVCache


class BatchKVCache:
    """Room for `rows` sequences of `capacity` tokens each.

    Attributes:
        lengths: Tokens that are there, one number a row.
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
        # One place more than there is room for: padding is written there, and never looked at.
        shape = (config.layers, rows, config.kv_heads, capacity + 1, config.head_dim)
        # Zeros, not empty: masked places are multiplied by zero weights, and NaN times zero is NaN.
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)
        self.lengths = [0] * rows
        self._rows = torch.arange(rows, device=device)[:, None]
        self._places = torch.empty(0)
        self._seen = 0
        self._first = 0

    @property
    def capacity(self) -> int:
        """Tokens a row has room for."""
        return self.keys.shape[3] - 1

    def fill(self, row: int, prefix: KVCache) -> None:
        """Start a row with the tokens of another cache."""
        self.keys[:, row, :, : prefix.length] = prefix.keys[:, 0, :, : prefix.length]
        self.values[:, row, :, : prefix.length] = prefix.values[:, 0, :, : prefix.length]
        self.lengths[row] = prefix.length

    @torch.inference_mode()
    def move(self, source: int, target: int) -> None:
        """Let a row's tokens take the place of another row's."""
        length = self.lengths[source]
        for kept in (self.keys, self.values):
            kept[:, target, :, :length] = kept[:, source, :, :length]
        self.lengths[target] = length

    @torch.inference_mode()
    def keep(self, row: int, tokens: Sequence[int]) -> None:
        """Count some of the tokens that were last written into a row as there; as `KVCache.keep`."""
        moved = [(new, old) for new, old in enumerate(tokens) if new != old]
        if moved:
            new, old = (
                torch.tensor(places) + self.lengths[row] for places in zip(*moved, strict=True)
            )
            for kept in (self.keys, self.values):
                kept[:, row, :, new] = kept[:, row, :, old]
        self.lengths[row] += len(tokens)

    def aim(self, places: Tensor, seen: int, first: int = 0) -> None:
        """Say where the next pass writes, over B rows.

        Args:
            places: [B, T] position of each new token in its row, `capacity` for padding.
            seen: Length of the longest row with its new tokens.
            first: The first of the rows.
        """
        self._places, self._seen, self._first = places, seen, first

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write the new tokens' keys and values where `aim` said, and return those of the B rows.

        Args:
            k, v: [B, K, T, d].

        Returns:
            Views [B, K, seen, d]; shorter rows end in places to be masked.
        """
        own = slice(self._first, self._first + len(self._places))
        rows = self._rows[own]
        self.keys[layer][rows, :, self._places] = k.transpose(1, 2)
        self.values[layer][rows, :, self._places] = v.transpose(1, 2)
        return (
            self.keys[layer, own, :, : self._seen],
            self.values[layer, own, :, : self._seen],
        )
