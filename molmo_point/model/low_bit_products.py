"""Products of activations with low-bit matrices; which kernel is the fastest depends on the number of rows.

Measured with 8192 x 3584 weights on one core of a Xeon with AMX, int4 also of an EPYC (Zen 5) without (`python -m
benchmarks.low_bits`):

    int8  one row: torch's weight-only kernel, which reads a byte a weight. Its time grows with the rows, so that a few rows
          (drafts, short questions) take two integer products instead: activations as 127 coarse and 254 fine steps, exact to
          15 bits. Many rows (an image): the weights are expanded block by block, and multiplied in the activations' type.
    int4  up to some tens of rows torch's kernel, which expands codes in registers; many rows as above (64 rows 22 ms, 256
          rows 54 ms; bfloat16 weights 11 and 34 ms).

Letters: M rows of activations, N rows and K columns of the matrix, G groups of columns.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from molmo_point.model.cpu_features import cpu_capabilities
from molmo_point.model.int4_layout import (
    in_byte_order,
    in_row_order,
    kernel_layout,
    split_codes,
    unpack,
)

INTEGER_ROWS = 96
"""int8: with more rows than these expanding the weights is faster than integer products."""

INT8_KERNEL_ROWS = 4
"""With more rows than these torch's weight-only kernel is slower than expanding the weights."""

INT4_KERNEL_ROWS, INT4_KERNEL_ROWS_AMX = 80, 32
"""The same of int4: the kernel's time grows by 0.35 ms a row (EPYC); expanding takes 15 ms and the product 0.13 ms a row, and
less with AMX."""

_BLOCK, _PACKED_BLOCK = 2 * 1024 * 1024, 512 * 1024
"""Weights that are expanded at once, packed ones by way of 32 bits each: a block stays in the processor's cache."""

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
        if rows <= (1 if integers else INT8_KERNEL_ROWS):
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
    if packed and len(flat) <= _int4_kernel_rows():
        out = torch.ops.aten._weight_int4pack_mm_for_cpu(flat, codes, group, scales)
        return out.view(*x.shape[:-1], -1)
    # The zeros are constant over a group: they meet the sum of its activations.
    sums = flat.view(len(flat), -1, group).sum(-1, dtype=torch.float32).to(x.dtype)
    out = sums @ scales[..., 1]
    step = max(1, (_PACKED_BLOCK if packed else _BLOCK) // (64 * x.shape[-1])) * 64
    multiply = _multiply_packed if packed else _multiply_plain
    for start in range(0, len(codes), step):
        part = slice(start, start + step)
        out[:, part] += multiply(flat, codes[part], scales[:, part, 0])
    return out.view(*x.shape[:-1], -1)


def _multiply_packed(x: Tensor, codes: Tensor, steps: Tensor) -> Tensor:
    """Return x [M, K] times the weights without their zeros, of packed codes [N, K / 2] and steps [G, N]: [M, N]."""
    layout = kernel_layout()
    assert layout is not None
    values = unpack(codes, layout).to(steps.dtype)
    # values: [N / block, K, block]
    groups, rows = steps.shape
    weights = steps.new_empty(values.shape[1], rows)
    torch.mul(
        values.view(len(values), groups, -1, layout.block),
        in_byte_order(steps, layout).view(groups, -1, layout.block).transpose(0, 1)[:, :, None],
        out=weights.view(groups, -1, len(values), layout.block).permute(2, 0, 1, 3),
    )
    return in_row_order(x @ weights, layout)


def _multiply_plain(x: Tensor, codes: Tensor, steps: Tensor) -> Tensor:
    """As `_multiply_packed`, of plain codes."""
    values = split_codes(codes).to(torch.int8).sub_(8).to(steps.dtype)
    groups = values.view(len(values), len(steps), -1) * steps.t()[..., None]
    return F.linear(x, groups.flatten(1))


@functools.cache
def _int4_kernel_rows() -> int:
    """Most rows for torch's int4 kernel on this processor."""
    return INT4_KERNEL_ROWS_AMX if cpu_capabilities().get("amx_bf16") else INT4_KERNEL_ROWS


@functools.cache
def _integer_products(dtype: torch.dtype) -> bool:
    """Whether this processor multiplies 8-bit integers faster than numbers of the type: it has VNNI or AMX, and oneDNN uses it.

    Two parts of 8 bits hold bfloat16 and float16, not float32.
    """
    fast = cpu_capabilities()
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
