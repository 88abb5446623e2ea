"""Attention for training: the textbook's formula, held to torch's own, forward and backward."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from molmo_point.model.layers import attention
from molmo_point.train.math_attention import MathAttention, fastest_attention

ROWS = st.lists(
    st.tuples(st.integers(1, 12), st.lists(st.integers(1, 6), max_size=4)), min_size=1, max_size=4
)


def heads(batch: int, count: int, length: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, count, length, 8, generator=generator).requires_grad_()


@given(ROWS)
def test_packed_rows_see_what_their_mask_shows(rows: list[tuple[int, list[int]]]) -> None:
    """Images of any size with questions of any length, in one batch: values and gradients are those of the whole matrix."""
    used = [image + sum(questions) for image, questions in rows]
    segments = torch.full((len(rows), max(used)), -1)
    for row, (image, questions) in enumerate(rows):
        lengths = torch.tensor([image, *questions])
        segments[row, : used[row]] = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
    width = segments.shape[1]
    same = (segments[:, :, None] == segments[:, None]) | (segments == 0)[:, None]
    mask = (same & torch.ones(width, width, dtype=torch.bool).tril())[:, None]
    q, k, v = (heads(len(rows), 2, width, seed) for seed in range(3))
    wanted = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    # Nothing is read off the padding.
    real = (segments >= 0)[:, None, :, None]
    sizes = [(image, whole) for (image, _), whole in zip(rows, used, strict=True)]
    with MathAttention(mask, sizes):
        got = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    assert torch.allclose(got * real, wanted * real, atol=1e-5)
    for mine, theirs in zip(
        torch.autograd.grad((got * real).square().sum(), (q, k, v)),
        torch.autograd.grad((wanted * real).square().sum(), (q, k, v)),
        strict=True,
    ):
        assert torch.allclose(mine, theirs, atol=1e-4)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("key_heads", [1, 2, 4])
def test_the_models_attention_is_the_same_within(key_heads: int, causal: bool) -> None:
    q, k, v = heads(2, 4, 7, 0), heads(2, key_heads, 7, 1), heads(2, key_heads, 7, 2)
    mask = None if causal else torch.rand(1, 1, 7, 7, generator=torch.Generator()) > 0.4
    if mask is not None:
        mask[..., 0] = True
    wanted = attention(q, k, v, mask)
    with fastest_attention(torch.device("cpu")):
        assert torch.allclose(attention(q, k, v, mask), wanted, atol=1e-5)


def test_bfloat16_stays_bfloat16_and_a_row_that_sees_nothing_is_no_nan() -> None:
    q, k, v = (heads(1, 2, 5, seed).bfloat16() for seed in range(3))
    mask = torch.ones(1, 1, 5, 5, dtype=torch.bool).tril(-1)
    with MathAttention():
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    assert out.dtype == torch.bfloat16
    assert bool(out.isfinite().all())


def test_a_gpu_keeps_its_fused_kernels() -> None:
    assert not isinstance(fastest_attention(torch.device("cuda")), MathAttention)
