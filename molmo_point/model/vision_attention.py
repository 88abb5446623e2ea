"""Attention among the patches of a crop: no mask, every crop by itself.

torch's fused kernel for CPUs is no faster in bfloat16 than in float32. Where the processor multiplies bfloat16, two products
around a softmax are, as long as their scores stay in the cache: one crop at a time. ViT-L/14 at 336 px, one thread of an AMD EPYC
(Zen 5), 4 crops in bfloat16: 73.9 ms fused, 35.4 ms by crops; all crops in one product are slower than the fused kernel.

Letters: n crops, H heads, P patches (with a class token 1 + P), d head width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from molmo_point.model.cpu_features import computes_in_bfloat16


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return softmax(q k' / sqrt(d)) v; all [n, H, P, d]."""
    if q.dtype is torch.bfloat16 and q.device.type == "cpu" and computes_in_bfloat16():
        return torch.stack([_attend_crop(*crop) for crop in zip(q, k, v, strict=True)])
    return F.scaled_dot_product_attention(q, k, v)


def _attend_crop(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """As `attend`, of one crop [H, P, d]: the scores are scaled inside the product, before they are rounded."""
    scores = torch.baddbmm(q.new_empty(()), q, k.mT, beta=0, alpha=q.shape[-1] ** -0.5)
    return scores.softmax(-1) @ v
