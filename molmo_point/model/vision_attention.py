"""Attention among the patches of a crop: no mask, every crop by itself.

In bfloat16 on a CPU there are two ways, and the processor decides. With AMX torch's fused kernel multiplies tiles, if the heads
fill them. Elsewhere it is no faster than in float32, and two products around a softmax are, as long as their scores stay in the
cache: one crop at a time. One thread, one crop in ms:

    heads, patches, head width     Xeon with AMX: fused, by crops     EPYC (Zen 5): fused, by crops
    16, 577, 64 (ViT-L/14)                  6.9, 18.5                          18.5, 8.9
    6, 577, 64                              2.5, 3.6
    16, 729, 72 (SigLIP 2)                  28.4, 23.3

Letters: n crops, H heads, P patches (with a class token 1 + P), d head width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from molmo_point.model.cpu_features import computes_in_bfloat16, has_amx

TILE = 32
"""Numbers of bfloat16 in a row of an AMX tile."""


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return softmax(q k' / sqrt(d)) v; all [n, H, P, d]."""
    if q.dtype is torch.bfloat16 and q.device.type == "cpu" and _by_crops(q.shape[-1]):
        return torch.stack([_attend_crop(*crop) for crop in zip(q, k, v, strict=True)])
    return F.scaled_dot_product_attention(q, k, v)


def _by_crops(head_width: int) -> bool:
    fills_tiles = has_amx() and head_width % TILE == 0
    return computes_in_bfloat16() and not fills_tiles


def _attend_crop(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """As `attend`, of one crop [H, P, d]: the scores are scaled inside the product, before they are rounded."""
    scores = torch.baddbmm(q.new_empty(()), q, k.mT, beta=0, alpha=q.shape[-1] ** -0.5)
    return scores.softmax(-1) @ v
