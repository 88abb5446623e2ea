"""The language model (molmo.md 2.4, 2.5, molmo2.md 4): one embedding table, pre- or post-norm blocks, dense or mixture, head.

Letters: B batch, T new tokens, S all tokens, D model width, V rows of the output head.
"""

from __future__ import annotations

from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from molmo_point.checkpoints.config import DecoderConfig
from molmo_point.model.cpu_kernel import Linear, fastest_kernel
from molmo_point.model.kv_cache import KVCache
from molmo_point.model.layers import RMSNorm, apply_rotary, attention, rotary_table
from molmo_point.model.mixture import MixtureOfExperts


class Cache(Protocol):
    """Keys and values of earlier tokens: of one sequence (`KVCache`) or of many (`BatchSlots`)."""

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write the keys and values of new tokens [B, K, T, d]; return those of all tokens [B, K, S, d]."""


class Attention(nn.Module):
    """Self-attention with rotary positions, grouped keys, and an optional norm of q and k, over their full width or each head."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.sizes = (config.query_width, config.kv_width, config.kv_width)
        self.head_dim = config.head_dim
        self.qkv = Linear(config.d_model, sum(self.sizes), bias=config.qkv_bias)
        self.out = Linear(config.query_width, config.d_model, bias=False)
        self.norm_heads = config.norm_heads
        widths = config.query_width, config.kv_width
        if config.norm_heads:
            widths = config.head_dim, config.head_dim
        self.q_norm = RMSNorm(widths[0], config.norm_eps) if config.qk_norm else None
        self.k_norm = RMSNorm(widths[1], config.norm_eps) if config.qk_norm else None

    def forward(
        self,
        x: Tensor,
        rotary: tuple[Tensor, Tensor],
        mask: Tensor | None,
        cache: Cache | None,
        layer: int,
    ) -> Tensor:
        # x: [B, T, D]
        q, k, v = self.project(x, rotary)
        if cache is not None:
            k, v = cache.append(layer, k, v)
        return self.out(attention(q, k, v, mask))

    def project(self, x: Tensor, rotary: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return rotated q [B, H, T, d], rotated k and v [B, K, T, d]."""
        q, k, v = self.qkv(x).split(self.sizes, dim=-1)
        if not self.norm_heads:
            q, k = self._normed(q, k)
        q, k, v = (part.unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for part in (q, k, v))
        if self.norm_heads:
            q, k = self._normed(q, k)
        return apply_rotary(q, *rotary), apply_rotary(k, *rotary), v

    def _normed(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        if self.q_norm is None or self.k_norm is None:
            return q, k
        return self.q_norm(q), self.k_norm(k)


class FeedForward(nn.Module):
    """SwiGLU. The first half of `up_gate` is UP, the second GATE; most fused kernels expect the reverse order."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.up_gate = Linear(config.d_model, 2 * config.ffn_width, bias=False)
        self.down = Linear(config.ffn_width, config.d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        # x: [B, T, D]
        up, gate = self.up_gate(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)


class DecoderBlock(nn.Module):
    """Attention and feed-forward network around the residual stream.

    The stream is float32 for every weight type, as under the mixed precision of the models' training: in bfloat16 its rounding
    would be most of the error.
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.norm_after = config.norm_after
        self.attention_norm = RMSNorm(config.d_model, config.norm_eps)
        self.attention = Attention(config)
        self.ffn_norm = RMSNorm(config.d_model, config.norm_eps)
        self.ffn = MixtureOfExperts(config) if config.experts else FeedForward(config)

    def forward(
        self,
        x: Tensor,
        rotary: tuple[Tensor, Tensor],
        mask: Tensor | None,
        cache: Cache | None,
        layer: int,
    ) -> Tensor:
        # x: [B, T, D] float32
        if self.norm_after:
            kind = self.attention_norm.weight.dtype
            x = x + self.attention_norm(self.attention(x.to(kind), rotary, mask, cache, layer))
            return x + self.ffn_norm(self.ffn(x.to(kind)))
        x = x + self.attention(self.attention_norm(x), rotary, mask, cache, layer)
        return x + self.ffn(self.ffn_norm(x))

    def write_keys(
        self, x: Tensor, rotary: tuple[Tensor, Tensor], cache: Cache, layer: int
    ) -> None:
        """Write the keys and values of x [B, T, D] float32, and compute nothing else."""
        normed = (
            x.to(self.attention_norm.weight.dtype) if self.norm_after else self.attention_norm(x)
        )
        _, k, v = self.attention.project(normed, rotary)
        cache.append(layer, k, v)


class Decoder(nn.Module):
    """Maps embeddings to hidden states; `logits` maps chosen hidden states to scores of the vocabulary."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        # One table: rows for input-only tokens follow the vocabulary. The reference concatenates two tables in every pass.
        rows = config.embedding_size + config.new_embedding_size
        # Random initialization on the meta device imports torch's compiler, which takes a second; the weights come from a file.
        initial = None
        if torch.get_default_device().type == "meta":
            initial = torch.empty(rows, config.d_model)
        self.embedding = nn.Embedding(rows, config.d_model, _weight=initial)
        self.blocks = nn.ModuleList(DecoderBlock(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.d_model, config.norm_eps)
        self.head = Linear(config.d_model, config.embedding_size, bias=False)

    def forward(
        self,
        x: Tensor,
        positions: Tensor,
        *,
        mask: Tensor | None = None,
        cache: Cache | None = None,
        keys_only: bool = False,
    ) -> Tensor:
        """Run the blocks over new tokens.

        Args:
            x: [B, T, D] embeddings.
            positions: [B, T] or [1, T] integer positions.
            mask: [B or 1, 1, T, S] bool, True where a token may attend; None = causal, the new tokens are the last.
            cache: Keys and values of earlier tokens; those of the new tokens are written behind them (see `keep`).
            keys_only: Nobody needs the hidden states, only the cache: the last block writes keys and values, nothing else.

        Returns:
            [B, T, D] as `logits` takes it: after the last norm, except where that belongs to the head (MolmoPoint). With
            `keys_only` what the last block reads.
        """
        config = self.config
        plain = stretched = rotary_table(positions, config.head_dim, config.rope_theta)
        if config.yarn is not None:
            stretched = rotary_table(positions, config.head_dim, config.rope_theta, config.yarn)
        x = x.float()
        with fastest_kernel(x, self.norm.weight):
            for layer, block in enumerate(self.blocks):
                rotary = stretched if layer in config.yarn_layers else plain
                if keys_only and cache is not None and layer == config.layers - 1:
                    cast("DecoderBlock", block).write_keys(x, rotary, cache, layer)
                    return x
                x = block(x, rotary, mask, cache, layer)
        return x if config.norm_in_head else self.norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """Return logits [..., embedding_size] in the weights' type, from hidden states [..., D]."""
        if self.config.norm_in_head:
            hidden = self.norm(hidden)
        with fastest_kernel(hidden, self.norm.weight):
            scores: Tensor = self.head(hidden)
        return scores

    @torch.no_grad()
    def allocate_cache(self, capacity: int) -> KVCache:
        """Return an empty cache of the weights' type, on their device."""
        like = self.norm.weight
        return KVCache(self.config, capacity, dtype=like.dtype, device=like.device)
