"""Attention as two matrix products and a softmax, in the type of its inputs: what bfloat16 on a CPU trains fastest with.

Letters: B pictures, H heads, T tokens of a batch's row, S tokens looked at, d head width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

HIDDEN = -1e4
"""Added to the scores of what may not be seen: nothing is left of it after the softmax, and no row is without a number."""


def fastest_attention(
    device: torch.device, mask: Tensor | None = None, rows: Sequence[tuple[int, int]] = ()
) -> AbstractContextManager[object]:
    """Return the context in which attention trains fastest on a device: on a GPU torch's fused kernels are what is wanted."""
    return PlainAttention(mask, rows) if device.type == "cpu" else nullcontext()


class PlainAttention(TorchFunctionMode):
    """Within it `scaled_dot_product_attention` is the textbook's formula.

    torch has two ways of its own on CPUs: the fused kernel, whose backward pass is slow in bfloat16, and the unfused one, which
    first turns everything to float32. This is four times as fast as the latter, forward and backward, where a picture and a
    dozen questions are 500 tokens (AMD EPYC, one thread).

    Args:
        mask: [B, 1, T, T] bool, that of `Batch.attention_mask`: who is given it looks at a packed row, piece by piece.
        rows: For each row its picture's tokens, and all of its tokens; padding follows them.
    """

    def __init__(self, mask: Tensor | None = None, rows: Sequence[tuple[int, int]] = ()) -> None:
        super().__init__()
        self._mask = mask
        self._rows = rows

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = kwargs or {}
        if func is not F.scaled_dot_product_attention or named.get("is_causal"):
            return func(*args, **named)
        query, key, value = args
        if named.get("enable_gqa"):
            group = query.shape[1] // key.shape[1]
            key, value = key.repeat_interleave(group, 1), value.repeat_interleave(group, 1)
        mask: Tensor | None = named.get("attn_mask")
        if self._mask is not None and mask is self._mask:
            return packed_attention(query, key, value, self._mask, self._rows)
        return plain_attention(query, key, value, mask)


def plain_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Return softmax(query key^T / sqrt(d)) value.

    Args:
        query: [..., T, d]; key, value: [..., S, d].
        mask: [..., T, S] bool, True where a query may look; None = everywhere.
    """
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    if mask is not None:
        scores += torch.where(mask, 0.0, HIDDEN).to(scores.dtype)
    return scores.softmax(-1).to(value.dtype) @ value


def packed_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, rows: Sequence[tuple[int, int]]
) -> Tensor:
    """Return the same for packed rows, without what no token may see: a picture does not look at its questions, nor at padding.

    Args:
        query, key, value: [B, H, T, d].
        mask: [B, 1, T, T] bool.
        rows: For each row its picture's tokens, and all of its tokens.

    Returns:
        [B, H, T, d], zero in the padding.
    """
    width = query.shape[2]
    out = []
    for index, (picture, used) in enumerate(rows):
        pieces = [picture, used - picture, width - used]
        q_picture, q_questions, _ = torch.split(query[index], pieces, dim=1)
        k, v = (torch.split(part[index], [used, width - used], dim=1)[0] for part in (key, value))
        seen = mask[index]
        shown = plain_attention(
            q_picture, k[:, :picture], v[:, :picture], seen[:, :picture, :picture]
        )
        answered = plain_attention(q_questions, k, v, seen[:, picture:used, :used])
        nothing = shown.new_zeros(len(shown), width - used, shown.shape[-1])
        out.append(torch.cat([shown, answered, nothing], dim=1))
    return torch.stack(out)
