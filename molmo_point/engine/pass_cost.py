"""What a pass over several tokens takes on this device, against one over a single token: measured with the network's own blocks.

A dense decoder reads all its weights for one token as for eight, so that a pass over several costs little more, until arithmetic
takes longer than memory. A mixture reads the chosen experts alone: k tokens touch E (1 - (1 - c/E)^k) of E experts when each
chooses c of them (64 and 8: 8 for one token, 42 for eight), and a pass over eight may cost four times one over a single token.
Kernels of few bits have steps of their own. The measurement contains all of it.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from dataclasses import dataclass

import torch

from molmo_point.model.cpu_kernel import fastest_kernel
from molmo_point.model.layers import rotary_table
from molmo_point.model.molmo import Molmo

WIDTHS = (1, 2, 4, 8, 16, 32, 49)
"""Measured numbers of tokens; the last is the widest pass (`generate.MAX_DRAFT` and the token before it)."""

SMALLEST_BYTES = 32 * 2**20
"""Decoders with fewer bytes of weights (`nano` has 14 MB) take the measurement of docs/benchmarks.md: all their operations are
short, and what is measured within milliseconds would be noise."""

_ROUNDS = 3
_BLOCKS = 4
"""Blocks in turn, so that none is in the cache when its turn comes."""


@dataclass(frozen=True)
class PassCost:
    """Time of passes.

    Attributes:
        widths: Numbers of tokens, ascending from 1.
        times: Of a pass over that many tokens, in passes over one; not descending.
    """

    widths: tuple[int, ...]
    times: tuple[float, ...]

    def of(self, tokens: int) -> float:
        """Return the time of a pass over a number of tokens: linear between the measured ones, and beyond the last."""
        at = min(max(1, bisect_right(self.widths, tokens)), len(self.widths) - 1)
        (left, right), (low, high) = self.widths[at - 1 : at + 1], self.times[at - 1 : at + 1]
        return low + (high - low) * (tokens - left) / (right - left)


def measure_pass_cost(model: Molmo) -> PassCost | None:
    """Return the measurement, None for a small decoder (see SMALLEST_BYTES).

    Takes about 30 times as long as a pass over one token spends in four blocks and the output head.
    """
    decoder = model.decoder
    tensors = [*decoder.parameters(), *decoder.buffers()]
    if sum(tensor.nbytes for tensor in tensors) < SMALLEST_BYTES:
        return None
    blocks = list(decoder.blocks)[:_BLOCKS]
    share = len(decoder.blocks) / len(blocks)
    times = [
        min(_seconds(model, blocks, width, share) for _ in range(_ROUNDS)) for width in WIDTHS
    ]
    for at in range(1, len(times)):
        times[at] = max(times[at - 1 : at + 1])
    return PassCost(WIDTHS, tuple(seconds / times[0] for seconds in times))


@torch.inference_mode()
def _seconds(model: Molmo, blocks: list[torch.nn.Module], width: int, share: float) -> float:
    """Return the seconds of a pass over random rows: some blocks, multiplied to all, and the output head.

    Random rows choose experts as if drawn at random.
    """
    decoder, sizes = model.decoder, model.config.decoder
    generator = torch.Generator().manual_seed(width)
    x = torch.randn(1, width, sizes.d_model, generator=generator).to(model.device)
    positions = torch.arange(width, device=model.device)[None]
    started = _now(model)
    rotary = rotary_table(positions, sizes.head_dim, sizes.rope_theta)
    with fastest_kernel(x, decoder.norm.weight):
        for block in blocks:
            x = block(x, rotary, None, None, 0)
    middle = _now(model)
    decoder.logits(x if sizes.norm_in_head else decoder.norm(x))
    return (middle - started) * share + _now(model) - middle


def _now(model: Molmo) -> float:
    """Return the time when the device has done what it was told."""
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
    return time.perf_counter()
