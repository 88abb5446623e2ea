"""Matrices of 8-bit and 4-bit weights, and the layers that hold them in place of full weights.

    int8  w[n, k] = code * scale[n]                       code -127..127, one scale per output row
    int4  w[n, k] = (code - 8) * scale[g, n] + zero[g, n] code 0..15, groups of up to 128 columns

Letters: N rows (outputs), K columns (inputs), E experts, G groups along K, M rows of activations. Scales have the type of the
activations; codes are chosen for the rounded scales.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Union

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from molmo_point.model.checkpoint_names import ParameterSlice
from molmo_point.model.int4_layout import ROWS, join_codes, kernel_layout, pack
from molmo_point.model.low_bit_products import int4_product, int8_product

GROUPS = (128, 64, 32)
"""Columns that share a scale: the largest that divides K, else K is padded to a multiple of the smallest."""


Place = tuple[Union[int, slice], ...]
"""Rows of a matrix, behind an index or a slice of its stack."""


class LowBitMatrix(nn.Module, ABC):
    """A weight matrix [N, K], or a stack of them [E, N, K], in few bits.

    Attributes:
        codes: The integers; scales: what they are multiplied with.
    """

    codes: Tensor
    scales: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    @abstractmethod
    def _store(self, place: Place, values: Tensor) -> None:
        """Quantize `values` [..., n, K] into the rows that `place` (stack, then rows) selects."""

    @abstractmethod
    def product(self, x: Tensor, index: int | None = None) -> Tensor:
        """Return x [..., K] times the transposed matrix [..., N]; of a stack the matrix `index`."""

    def pack(self) -> None:
        """Reorder the codes for this device's kernel, once, after they were all written."""

    def store(self, part: ParameterSlice, rows: slice | None, tensor: Tensor) -> None:
        """Quantize a tensor of a checkpoint file into the part of this matrix that it fills.

        Args:
            part: Which part that is; rows: the run of its rows that `tensor` holds, None = all of them.
        """
        values = tensor
        with torch.device("meta"):
            whole = torch.empty(self.shape)
        if rows is None:
            values = values.reshape(part.view(whole).shape)
        if part.transposed:
            values = values.transpose(-1, -2)
        leading = len(self.shape) - 2
        select = part.select + (slice(None),) * (leading + 1 - len(part.select))
        inner = select[-1]
        assert isinstance(inner, slice)
        start, stop, _ = inner.indices(self.shape[-2])
        if rows is not None:
            start, stop = start + rows.start, start + rows.stop
        self._store((*select[:-1], slice(start, min(stop, self.shape[-2]))), values)


class Int8Matrix(LowBitMatrix):
    """Codes [..., N, K] int8, scales [..., N]."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(shape)
        self.register_buffer("codes", torch.zeros(shape, dtype=torch.int8))
        self.register_buffer("scales", torch.zeros(shape[:-1]))

    def _store(self, place: Place, values: Tensor) -> None:
        values = values.to(self.codes.device, torch.float32)
        scales = (values.abs().amax(-1) / 127).to(self.scales.dtype)
        self.scales[place] = scales
        steps = scales.float().clamp_min(torch.finfo(torch.float32).tiny)[..., None]
        self.codes[place] = (values / steps).round_().clamp_(-127, 127).to(torch.int8)

    def product(self, x: Tensor, index: int | None = None) -> Tensor:
        if index is None:
            return int8_product(x, self.codes, self.scales)
        return int8_product(x, self.codes[index], self.scales[index])

    def rows(self, index: Tensor) -> Tensor:
        """Return the rows `index` [...] as [..., K] in the scales' type."""
        return self.codes[index].to(self.scales.dtype) * self.scales[index][..., None]


class Int4Matrix(LowBitMatrix):
    """Codes [..., N', K' / 2] uint8, two of them in a byte; scales [..., G, N', 2], scale and zero.

    N' is N padded to a multiple of 64, K' is K padded to whole groups. `packed` says whether the codes lie in the order of
    torch's CPU kernel (`int4_layout`).
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(shape)
        *stack, rows, columns = shape
        self.group = next((size for size in GROUPS if columns % size == 0), GROUPS[-1])
        self.columns = -(-columns // self.group) * self.group
        height = -(-rows // ROWS) * ROWS
        self.register_buffer(
            "codes", torch.zeros(*stack, height, self.columns // 2, dtype=torch.uint8)
        )
        self.register_buffer("scales", torch.zeros(*stack, self.columns // self.group, height, 2))
        self.packed = False

    def _store(self, place: Place, values: Tensor) -> None:
        values = values.to(self.codes.device, torch.float32)
        values = F.pad(values, (0, self.columns - self.shape[-1]))
        groups = values.view(*values.shape[:-1], -1, self.group)
        least = groups.amin(-1)
        steps = ((groups.amax(-1) - least) / 15).to(self.scales.dtype)
        zeros = (least + 8 * steps.float()).to(self.scales.dtype)
        # [..., n, G] -> [..., G, n, 2]
        pairs = torch.stack((steps, zeros), -1).transpose(-3, -2)
        rows = place[-1]
        every_group = (*place[:-1], slice(None), rows)
        self.scales[every_group] = pairs
        steps = steps.float().clamp_min(torch.finfo(torch.float32).tiny)
        codes = (groups - zeros.float()[..., None]).div_(steps[..., None]).round_().add_(8)
        self.codes[place] = join_codes(codes.clamp_(0, 15).flatten(-2))
        height = self.shape[-2]
        assert isinstance(rows, slice)
        if rows.stop == height < self.codes.shape[-2]:
            padding = (*place[:-1], slice(height, None))
            self.codes[padding] = 0
            self.scales.transpose(-3, -2)[padding] = 0

    def pack(self) -> None:
        if self.packed or self.codes.device.type != "cpu" or kernel_layout() is None:
            return
        for matrix in self.codes.flatten(0, -3) if self.codes.ndim > 2 else [self.codes]:
            pack(matrix)
        self.packed = True

    def product(self, x: Tensor, index: int | None = None) -> Tensor:
        codes, scales = self.codes, self.scales
        if index is not None:
            codes, scales = codes[index], scales[index]
        if self.columns != self.shape[-1]:
            x = F.pad(x, (0, self.columns - self.shape[-1]))
        out = int4_product(x, codes, scales, packed=self.packed)
        return out[..., : self.shape[-2]]


class LowBitLinear(nn.Module):
    """A linear layer with low-bit weights and a bias of the activations' type."""

    def __init__(self, weight: LowBitMatrix, bias: nn.Parameter | None) -> None:
        super().__init__()
        self.weight = weight
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        # x: [..., K]
        out = self.weight.product(x)
        return out if self.bias is None else out + self.bias


class LowBitEmbedding(nn.Module):
    """An embedding table in int8: one scale for each token."""

    def __init__(self, weight: Int8Matrix) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, ids: Tensor) -> Tensor:
        # ids: [...]
        return self.weight.rows(ids)
