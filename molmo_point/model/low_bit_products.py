"""Products of activations with low-bit matrices; which kernel is the fastest depends on the number of rows.

Measured with 8192 x 3584 weights on one core of a Xeon with AMX (`python -m benchmarks.low_bits`):

    int8  one row: torch's weight-only kernel, which reads a byte a weight. Its time grows with the rows, so that a few rows
          (drafts, short questions) take two integer products instead: activations as 127 coarse and 254 fine steps, exact to
          15 bits. Many rows (an image): the weights are expanded block by block, and multiplied in the activations' type.
    int4  up to some tens of rows torch's kernel, which expands codes in registers; many rows as above.

Letters: M rows of activations, N rows and K columns of the matrix, G groups of columns.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from molmo_point.model.int4_layout import kernel_layout, split_codes, unpack

INTEGER_ROWS = 96
"""int8: with more rows than these expanding the weights is faster than integer products."""

KERNEL_ROWS = {torch.int8: 4, torch.uint8: 32}
"""By type of the codes: with more rows than these torch's weight-only kernel is slower than expanding the weights."""

_BLOCK = 2 * 1024 * 1024
"""Weights that are expanded at once: a block stays in the processor's cache."""

_LANES = 32
"""torch's int8 kernel reads whole vectors: rows that are no multiple of them would be read beyond their end."""

_FINE = 254
"""Steps of the fine part of an activation to one of the coarse part."""


def int8_product(x: Tensor, codes: Tensor, scales: Tensor) -> Tensor:
    """Return x [..., K] times the transposed matrix of codes [N, K] int8 and scales [N]: [..., N]."""
    flat = x.reshape(-1, x.shape[-1])
    rows = len(flat)
    if x.device.type == "cpu" and x.shape[-1] % _LANES == 0:
        integers = _integer_products(x.dtype)
        if rows <= (1 if integers else KERNEL_ROWS[torch.int8]):
            return torch._weight_int8pack_mm(flat, codes, scales).view(*x.shape[:-1], -1)
        if integers and rows <= INTEGER_ROWS:
            return _integer_product(flat, codes, scales).view(*x.shape[:-1], -1)
    out = flat.new_empty(rows, len(codes))
    step = max(1, _BLOCK // codes.shape[1])
    for start in range(0, len(codes), step):
        block = codes[start : start + step].to(x.dtype)
        torch.mul(
            F.linear(flat, block), scales[start : start + step], out=out[:, start : start + step]
        )
    return out.view(*x.shape[:-1], -1)


def int4_product(x: Tensor, codes: Tensor, scales: Tensor, *, packed: bool) -> Tensor:
    """Return x [..., K] times the transposed matrix of codes [N, K / 2] and scales [G, N, 2]: [..., N].

    Args:
        packed: The codes lie in the order of torch's CPU kernel.
    """
    flat = x.reshape(-1, x.shape[-1])
    group = x.shape[-1] // len(scales)
    if packed and len(flat) <= KERNEL_ROWS[torch.uint8]:
        out = torch.ops.aten._weight_int4pack_mm_for_cpu(flat, codes, group, scales)
        return out.view(*x.shape[:-1], -1)
    # The zeros are constant over a group: they meet the sum of its activations.
    sums = flat.view(len(flat), -1, group).sum(-1, dtype=torch.float32).to(x.dtype)
    out = sums @ scales[..., 1]
    step = max(1, _BLOCK // (64 * x.shape[-1])) * 64
    expand = _expand_packed if packed else _expand_plain
    for start in range(0, len(codes), step):
        part = slice(start, start + step)
        out[:, part] += flat @ expand(codes[part], scales[:, part, 0])
    return out.view(*x.shape[:-1], -1)


def _expand_packed(codes: Tensor, steps: Tensor) -> Tensor:
    """Return the weights without their zeros, transposed [K, N], of packed codes [N, K / 2] and steps [G, N]."""
    layout = kernel_layout()
    assert layout is not None
    values = unpack(codes, layout).flatten(2).view(torch.int8).sub_(8).to(steps.dtype)
    # values: [N / block, K, block]
    groups, rows = steps.shape
    out = steps.new_empty(values.shape[1], rows)
    torch.mul(
        values.view(len(values), groups, -1, layout.block),
        steps.view(groups, -1, layout.block).transpose(0, 1)[:, :, None],
        out=out.view(groups, -1, len(values), layout.block).permute(2, 0, 1, 3),
    )
    return out


def _expand_plain(codes: Tensor, steps: Tensor) -> Tensor:
    """As `_expand_packed`, of plain codes."""
    values = split_codes(codes).to(torch.int8).sub_(8).to(steps.dtype)
    groups = values.view(len(values), len(steps), -1) * steps.t()[..., None]
    return groups.flatten(1).t()


@functools.cache
def _integer_products(dtype: torch.dtype) -> bool:
    """Whether this processor multiplies 8-bit integers faster than numbers of the type: it has VNNI or AMX, and oneDNN uses it.

    Two parts of 8 bits hold bfloat16 and float16, not float32.
    """
    fast = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return (
        dtype in (torch.bfloat16, torch.float16)
        and bool(fast.get("avx512_vnni") or fast.get("avx_vnni"))
        and bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
    )


def _integer_product(x: Tensor, codes: Tensor, scales: Tensor) -> Tensor:
    """Split each row of x [M, K] into coarse and fine integers, and multiply both with the codes."""
    wide = x.float()
    unit = wide.abs().amax(-1, keepdim=True).clamp_min_(torch.finfo(torch.float32).tiny) / 127
    coarse = (wide := wide / unit).round()
    fine = (wide - coarse).mul_(_FINE).round_()
    both = torch.cat((coarse, fine)).to(torch.int8)
    high, low = torch._int_mm(both, codes.t()).float().chunk(2)
    return high.add_(low, alpha=1 / _FINE).mul_(unit).mul_(scales).to(x.dtype)
