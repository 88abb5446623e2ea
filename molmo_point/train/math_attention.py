"""Attention as two matrix products and a softmax in the type of its inputs, which trains fastest on a CPU.

Letters: B images, H heads, T tokens of a batch's row, S tokens looked at, d head width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

MASKED = -1e4
"""Added to masked scores: exp of it is 0, and a fully masked row stays finite."""


def fastest_attention(
    device: torch.device, mask: Tensor | None = None, rows: Sequence[tuple[int, int]] = ()
) -> AbstractContextManager[object]:
    """Return the context in which attention trains fastest on a device: a GPU uses torch's fused kernels."""
    return MathAttention(mask, rows) if device.type == "cpu" else nullcontext()


class MathAttention(TorchFunctionMode):
    """Within this context `scaled_dot_product_attention` is computed by the plain formula.

    torch's fused CPU kernel has a slow backward pass in bfloat16, and its unfused one converts everything to float32. This is
    four
    times as fast as the latter, forward and backward, at 500 tokens: an image and a dozen questions (AMD EPYC, one thread).

    Args:
        mask: [B, 1, T, T] bool, that of `ModelInputs.attention_mask`. A call with this mask is computed in pieces, see
            `packed_attention`.
        rows: For each row its number of image tokens and of all tokens; padding follows them.
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
        mask: [..., T, S] bool, True where a query attends; None = everywhere.
    """
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    if mask is not None:
        scores += torch.where(mask, 0.0, MASKED).to(scores.dtype)
    return scores.softmax(-1).to(value.dtype) @ value


def packed_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, rows: Sequence[tuple[int, int]]
) -> Tensor:
    """Return the same for packed rows, skipping what is masked: an image attends neither to its questions nor to padding.

    Args:
        query, key, value: [B, H, T, d].
        mask: [B, 1, T, T] bool.
        rows: For each row its number of image tokens and of all tokens.

    Returns:
        [B, H, T, d], zero in the padding.
    """
    width = query.shape[2]
    out = []
    for index, (image, used) in enumerate(rows):
        pieces = [image, used - image, width - used]
        q_image, q_questions, _ = torch.split(query[index], pieces, dim=1)
        k, v = (torch.split(part[index], [used, width - used], dim=1)[0] for part in (key, value))
        seen = mask[index]
        shown = plain_attention(q_image, k[:, :image], v[:, :image], seen[:, :image, :image])
        answered = plain_attention(q_questions, k, v, seen[:, image:used, :used])
        nothing = shown.new_zeros(len(shown), width - used, shown.shape[-1])
        out.append(torch.cat([shown, answered, nothing], dim=1))
    return torch.stack(out)
