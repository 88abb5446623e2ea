"""Mixture of experts (OLMoE, arXiv 2409.02060): only the chosen experts run, their tokens grouped.

Letters: N tokens, D model width, E experts, k experts per token, f hidden width of an expert.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from molmo_point.checkpoints.config import DecoderConfig
from molmo_point.model.low_bits import LowBitMatrix


class ExpertProduct(Protocol):
    """Weights of all experts that are not one tensor: of few bits, or with low-rank adapters."""

    def product(self, rows: Tensor, expert: int) -> Tensor:
        """Return rows [M, K] times the transposed matrix of an expert."""


class MixtureOfExperts(nn.Module):
    """Router and experts. The top-k probabilities weight the experts without renormalisation."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.chosen = config.experts_per_token
        self.experts = config.experts
        self.router = nn.Linear(config.d_model, config.experts, bias=False)
        # Rows of `up_gate` are UP, then GATE, as in the dense feed-forward network.
        self.up_gate: Tensor | ExpertProduct = nn.Parameter(
            torch.zeros(config.experts, 2 * config.ffn_width, config.d_model)
        )
        self.down: Tensor | ExpertProduct = nn.Parameter(
            torch.zeros(config.experts, config.d_model, config.ffn_width)
        )

    def use_low_bits(self, kind: type[LowBitMatrix]) -> None:
        """Replace the experts by empty ones of few bits."""
        for name in ("up_gate", "down"):
            shape = tuple(getattr(self, name).shape)
            delattr(self, name)
            setattr(self, name, kind(shape))

    def forward(self, x: Tensor) -> Tensor:
        # x: [B, T, D]
        flat = x.reshape(-1, x.shape[-1])
        probabilities = self.router(flat).softmax(-1, dtype=torch.float32)
        weights, experts = probabilities.topk(self.chosen, dim=-1)
        order = experts.flatten().argsort(stable=True)
        token = order // self.chosen
        out = self._run(flat[token], experts.flatten()[order])
        weighted = out * weights.to(x.dtype).flatten()[order, None]
        return torch.zeros_like(flat).index_add_(0, token, weighted).view_as(x)

    def _run(self, rows: Tensor, expert: Tensor) -> Tensor:
        """Run each row through its expert; return [N*k, D].

        Args:
            rows: [N*k, D], sorted by expert; expert: [N*k].
        """
        counts = torch.bincount(expert, minlength=self.experts)
        up_gate, down = self.up_gate, self.down
        if (
            isinstance(up_gate, Tensor)
            and isinstance(down, Tensor)
            and rows.is_cuda
            and rows.dtype is torch.bfloat16
            and hasattr(F, "grouped_mm")
        ):
            # One kernel for all experts, without waiting for the counts from the device.
            ends = counts.cumsum(0).to(torch.int32)
            hidden = _swiglu(F.grouped_mm(rows, up_gate.transpose(1, 2), offs=ends))
            return F.grouped_mm(hidden, down.transpose(1, 2), offs=ends)
        pieces = []
        start = 0
        for index, count in enumerate(counts.tolist()):
            if count:
                own = rows[start : start + count]
                pieces.append(_product(_swiglu(_product(own, up_gate, index)), down, index))
                start += count
        return torch.cat(pieces)


def _product(rows: Tensor, weight: Tensor | ExpertProduct, expert: int) -> Tensor:
    """Return rows [M, K] times the transposed matrix of an expert."""
    if isinstance(weight, Tensor):
        return F.linear(rows, weight[expert])
    return weight.product(rows, expert)


def _swiglu(up_gate: Tensor) -> Tensor:
    up, gate = up_gate.chunk(2, dim=-1)
    return F.silu(gate) * up
