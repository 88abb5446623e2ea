"""Orders in which 4-bit codes lie in memory: row by row, as files hold them, and as torch's CPU kernel wants them.

Plain: [N, K / 2] uint8; byte j of a row holds column 2j in its low and column 2j + 1 in its high half. The kernel's order
depends on the processor: blocks of rows, in each the columns one after another, in each column two rows to a byte. The block's
size and which rows share a byte are found by packing a known matrix.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

ROWS = 64
"""Every order has blocks of at most 64 rows: matrices are padded to a multiple of them, and can be packed in parts."""

_PIECE = 4 * 1024 * 1024
"""Codes that are packed at once; on the way they take 4 bytes each."""


@dataclass(frozen=True)
class KernelLayout:
    """The order of torch's CPU kernel on this processor.

    Attributes:
        block: Rows of a block.
        halves: Whether row i shares its byte with row i + block / 2; otherwise even rows share it with the next.
    """

    block: int
    halves: bool


@functools.cache
def kernel_layout() -> KernelLayout | None:
    """Return the kernel's order on this processor; None where torch lacks the kernel, or has one with an unknown order."""
    rows = torch.arange(ROWS, dtype=torch.int32)[:, None].expand(ROWS, 32).contiguous()
    try:
        # Six bits of the row's number, in two matrices of four bits.
        first, second = (_convert(part).flatten().int() for part in (rows & 15, rows >> 4))
    except (RuntimeError, NotImplementedError, AttributeError):
        return None
    low = (first & 15) + 16 * (second & 15)
    high = (first >> 4) + 16 * (second >> 4)
    for block in (64, 32, 16):
        half = block // 2
        pair = low[:half].tolist(), high[:half].tolist()
        if pair == (list(range(half)), list(range(half, block))):
            return KernelLayout(block, halves=True)
        if pair == (list(range(0, block, 2)), list(range(1, block, 2))):
            return KernelLayout(block, halves=False)
    return None


def join_codes(codes: Tensor) -> Tensor:
    """Return codes 0-15 [..., K] as plain bytes [..., K / 2] uint8."""
    low, high = codes.to(torch.uint8).view(*codes.shape[:-1], -1, 2).unbind(-1)
    return low | high << 4


def split_codes(plain: Tensor) -> Tensor:
    """Return the codes 0-15 [..., K] uint8 of plain bytes [..., K / 2]."""
    return torch.stack((plain & 15, plain >> 4), -1).flatten(-2)


def pack(plain: Tensor) -> None:
    """Reorder plain bytes [N, K / 2] for the kernel, in place; N is a multiple of 64."""
    step = max(1, _PIECE // (2 * plain.shape[1] * ROWS)) * ROWS
    for start in range(0, len(plain), step):
        rows = plain[start : start + step]
        rows.copy_(_convert(split_codes(rows).int()).view_as(rows))


def unpack(packed: Tensor, layout: KernelLayout) -> Tensor:
    """Return the codes of packed bytes [N, K / 2], less 8, as [N / block, K, block] bfloat16, in the order of the bytes.

    The two rows of a byte stand side by side (`in_row_order`). Every step runs over the whole matrix at once: a code becomes the
    last bits of a bfloat16 between 128 and 143, of which 136 are taken away, which is exact.
    """
    columns = 2 * packed.shape[1]
    pairs = packed.view(-1, columns, layout.block // 2).to(torch.int32)
    # The high half of a byte moves by 12 bits, into the second 16 bits of a pair.
    pairs.mul_(1 + (1 << 12)).bitwise_and_(0x000F000F).bitwise_or_(0x43004300)
    return pairs.view(torch.bfloat16).sub_(136)


def in_row_order(values: Tensor, layout: KernelLayout) -> Tensor:
    """Return values [..., N] in the order of the rows, from the order of the bytes."""
    if not layout.halves:
        return values
    blocks = values.view(*values.shape[:-1], -1, layout.block // 2, 2)
    return blocks.transpose(-1, -2).flatten(-3)


def in_byte_order(values: Tensor, layout: KernelLayout) -> Tensor:
    """Return values [..., N] in the order of the bytes, from the order of the rows."""
    if not layout.halves:
        return values
    blocks = values.reshape(*values.shape[:-1], -1, 2, layout.block // 2)
    return blocks.transpose(-1, -2).flatten(-3)


def _convert(codes: Tensor) -> Tensor:
    packed: Tensor = torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes, 1)
    return packed
