"""Keys and values of earlier tokens, allocated once and owned by the caller of the decoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from molmo_point.checkpoints.config import DecoderConfig


class KVCache:
    """Keys and values of up to `capacity` tokens of one sequence.

    Attributes:
        length: Number of kept tokens. The decoder writes behind them; `keep` decides which of the new tokens are kept.
    """

    def __init__(
        self,
        config: DecoderConfig,
        capacity: int,
        *,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        shape = (config.layers, 1, config.kv_heads, capacity, config.head_dim)
        self.keys = torch.empty(shape, dtype=dtype, device=device)
        self.values = torch.empty(shape, dtype=dtype, device=device)
        self.length = 0

    @property
    def capacity(self) -> int:
        """Largest number of tokens."""
        return self.keys.shape[3]

    @property
    def nbytes(self) -> int:
        """Bytes allocated for keys and values."""
        return 2 * self.keys.numel() * self.keys.element_size()

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write the keys and values of new tokens behind the kept ones; return those of all tokens.

        Args:
            k, v: [1, K, T, d].

        Returns:
            Views [1, K, length + T, d].
        """
        end = self.length + k.shape[2]
        assert end <= self.capacity, f"cache of {self.capacity} tokens cannot take token {end}"
        self.keys[layer, :, :, self.length : end] = k
        self.values[layer, :, :, self.length : end] = v
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    @torch.inference_mode()
    def keep(self, tokens: Sequence[int]) -> None:
        """Keep some of the tokens that were last written.

        Args:
            tokens: Their indices among the written ones, ascending; the others are dropped.
        """
        moved = [(new, old) for new, old in enumerate(tokens) if new != old]
        if moved:
            new, old = (torch.tensor(slots) + self.length for slots in zip(*moved, strict=True))
            for kept in (self.keys, self.values):
                kept[:, :, :, new] = kept[:, :, :, old]
        self.length += len(tokens)

    def fork(self, capacity: int) -> KVCache:
        """Return a copy of the kept tokens with a capacity of `capacity` tokens."""
        twin = object.__new__(KVCache)
        for name in ("keys", "values"):
            old: Tensor = getattr(self, name)
            new = old.new_empty((*old.shape[:3], capacity, old.shape[4]))
            new[:, :, :, : self.length] = old[:, :, :, : self.length]
            setattr(twin, name, new)
        twin.length = self.length
        return twin
