"""Small layers shared by the decoder's parts: RMS norm, rotary positions, attention.

Letters: B batch, T new tokens, S all tokens (cached and new), H query heads, K key heads, d head width, D model width.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from molmo_point.checkpoints.config import Yarn


class RMSNorm(nn.Module):
    """Root mean square norm: normalise in float32, cast to the weight's type, multiply by the weight (molmo.md 2.5)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        # x: [..., width]
        wide = x.float()
        # The norm sums squares without writing them.
        mean = torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square() / wide.shape[-1]
        normed = wide * torch.rsqrt(mean + self.eps)
        return normed.to(self.weight.dtype) * self.weight


def rotary_table(
    positions: Tensor, head_dim: int, theta: float, yarn: Yarn | None = None
) -> tuple[Tensor, Tensor]:
    """Return cos and sin of the rotary angles in float32.

    Args:
        positions: [B, T] integer positions.
        yarn: How they are stretched, if they are; it also scales cos and sin.

    Returns:
        Two tensors [B, 1, T, head_dim] in the rotate-half layout (RoFormer, arXiv 2104.09864, as Llama lays it out).
    """
    steps = torch.arange(0, head_dim, 2, dtype=torch.float32, device=positions.device)
    frequencies = 1.0 / theta ** (steps / head_dim)
    if yarn is not None:
        kept = _kept_frequencies(head_dim, theta, yarn).to(positions.device)
        frequencies = frequencies / yarn.factor * (1 - kept) + frequencies * kept
    angles = positions.float()[:, None, :, None] * frequencies
    angles = torch.cat([angles, angles], dim=-1)
    if yarn is not None:
        return angles.cos() * yarn.attention_factor, angles.sin() * yarn.attention_factor
    return angles.cos(), angles.sin()


def _kept_frequencies(head_dim: int, theta: float, yarn: Yarn) -> Tensor:
    """Return the share of each frequency that stays [d / 2]: 1 for fast ones, 0 for slow ones."""

    def place(turns: float) -> float:
        """Index of the frequency that turns so often."""
        return (
            head_dim
            * math.log(yarn.original_positions / (turns * 2 * math.pi))
            / (2 * math.log(theta))
        )

    low = max(math.floor(place(yarn.beta_fast)), 0)
    high = min(math.ceil(place(yarn.beta_slow)), head_dim - 1)
    index = torch.arange(head_dim // 2, dtype=torch.float32)
    return 1 - ((index - low) / max(high - low, 0.001)).clamp(0, 1)


def apply_rotary(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate queries or keys by their positions; computed in float32, returned in their type.

    Args:
        x: [B, H, T, d]; cos, sin: [B, 1, T, d].
    """
    wide = x.float()
    first, second = wide.chunk(2, dim=-1)
    if torch.is_grad_enabled():
        return (wide * cos + torch.cat([-second, first], dim=-1) * sin).to(x.dtype)
    # The same in half the passes over memory.
    rotated = wide * cos
    low, high = rotated.chunk(2, dim=-1)
    low_sin, high_sin = sin.chunk(2, dim=-1)
    low.addcmul_(second, low_sin, value=-1)
    high.addcmul_(first, high_sin)
    return rotated.to(x.dtype)


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Scaled dot product attention with fewer key heads than query heads.

    Args:
        q: [B, H, T, d]; k, v: [B, K, S, d], key head j serves query heads j*H/K .. (j+1)*H/K - 1.
        mask: [B or 1, 1, T, S] bool, True where a query may attend; None = the T queries are the last of the S tokens, and
            attend to all tokens up to themselves.

    Returns:
        [B, T, H*d].
    """
    queries, keys = q.shape[2], k.shape[2]
    if mask is None and 1 < queries != keys:
        mask = causal_mask(queries, keys, q.device)
    grouped = q.shape[1] != k.shape[1]
    if grouped and queries == 1:
        # One new token: fold the query heads of a group into the time axis, so that keys are not repeated.
        batch, heads, _, width = q.shape
        folded = q.view(batch, k.shape[1], heads // k.shape[1], width)
        out = F.scaled_dot_product_attention(folded, k, v, attn_mask=mask)
        return out.reshape(batch, 1, heads * width)
    out = F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=mask is None and queries > 1, enable_gqa=grouped
    )
    return out.transpose(1, 2).flatten(2)


def block_mask(in_block: Tensor) -> Tensor:
    """[1, 1, T, T] bool: every token sees the earlier ones, and those of `in_block` [T] bool see each other both ways."""
    causal = causal_mask(len(in_block), len(in_block), in_block.device)
    return causal | (in_block[:, None] & in_block[None, :])


def causal_mask(queries: int, keys: int, device: torch.device) -> Tensor:
    """Return [1, 1, queries, keys] bool: the queries are the last tokens, each attends to all tokens up to itself."""
    full = torch.ones(queries, keys, dtype=torch.bool, device=device)
    return full.tril(diagonal=keys - queries)[None, None]
