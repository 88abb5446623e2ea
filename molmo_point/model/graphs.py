"""A batch's pass through the decoder as CUDA graphs: hundreds of kernel launches become one.

A graph is a recording: it replays on the very tensors it was recorded with. So every pass is padded to one of a few shapes,
inputs are copied into the recording's own tensors, and there is one recording a shape. The kernels are those of the plain pass:
answers stay as they are. (Compiled, fused kernels round differently: in bfloat16 they would change answers.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from molmo_point.model.batch_cache import BatchKVCache
from molmo_point.model.molmo import Molmo

SEEN_STEP = 256
"""Lengths of what attention looks at are padded to multiples of this: few recordings, little wasted reading."""


@dataclass(frozen=True, eq=False)
class BatchPass:
    """What one pass over the rows of a batch reads.

    Attributes:
        ids: [B, T] int64 tokens, 0 for padding.
        positions: [B, T] int64.
        places: [B, T] int64, where in its row each token's keys go; the cache's capacity for padding.
        mask: [B, 1, T, seen] bool, True where a token may look.
    """

    ids: Tensor
    positions: Tensor
    places: Tensor
    mask: Tensor

    @property
    def seen(self) -> int:
        """Length of what attention looks at."""
        return self.mask.shape[-1]

    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return them in order."""
        return self.ids, self.positions, self.places, self.mask


def run_pass(model: Molmo, cache: BatchKVCache, work: BatchPass, first: int = 0) -> Tensor:
    """Run a pass over rows of a cache, from `first` on; return hidden states [B, T, D]."""
    cache.aim(work.places, work.seen, first)
    return model.decoder(model.embed(work.ids), work.positions, mask=work.mask, cache=cache)


class GraphedPass:
    """`run_pass` that records each shape once and replays it.

    On devices without CUDA graphs, and for mixtures of experts (which expert runs is known only while it runs, and cannot be
    recorded), it runs plainly over the same padded shapes.
    """

    def __init__(self, model: Molmo, cache: BatchKVCache) -> None:
        self._model = model
        self._cache = cache
        self._recordings: dict[tuple[torch.Size, int], Callable[[BatchPass], Tensor]] = {}

    def __call__(self, work: BatchPass) -> Tensor:
        """Run a pass; its result is valid until the next call."""
        if not work.ids.is_cuda or self._model.config.decoder.experts:
            return run_pass(self._model, self._cache, work)
        key = (work.ids.shape, work.seen)
        if key not in self._recordings:
            self._recordings[key] = self._record(work)
        return self._recordings[key](work)

    def _record(self, work: BatchPass) -> Callable[[BatchPass], Tensor]:
        own = BatchPass(*(tensor.clone() for tensor in work.tensors()))
        stream = torch.cuda.Stream(own.ids.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            # Libraries set themselves up in their first calls, which must not be recorded. Written keys are the same each time.
            for _ in range(2):
                run_pass(self._model, self._cache, own)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            out = run_pass(self._model, self._cache, own)

        def replay(work: BatchPass) -> Tensor:
            for mine, theirs in zip(own.tensors(), work.tensors(), strict=True):
                mine.copy_(theirs)
            graph.replay()
            return out

        return replay


def padded_shape(rows: int, width: int, seen: int, cache: BatchKVCache) -> tuple[int, int, int]:
    """Return the shape that a pass is padded to: powers of two, and a multiple of SEEN_STEP.

    Args:
        rows: Rows from the first to the last one in use.
        width: Tokens of the longest row's reading.
        seen: Length of the longest row with them.
    """
    steps = -(-seen // SEEN_STEP) * SEEN_STEP
    return (
        min(_power(rows), len(cache.lengths)),
        _power(width),
        min(steps, cache.capacity),
    )


def _power(number: int) -> int:
    return 1 << (number - 1).bit_length()
