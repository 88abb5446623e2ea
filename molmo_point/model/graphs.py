"""A batch's pass through the decoder as a CUDA graph: one launch instead of hundreds.

A recorded graph replays on the tensors it was recorded with. Every pass is padded to one of a few shapes, its inputs are copied
into the tensors of that shape's recording, and the recording is replayed. It runs the kernels of the plain pass, so that answers
do not change. (Compiled, fused kernels round differently: in bfloat16 they would change answers.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from molmo_point.model.batch_cache import BatchKVCache, BatchSlots
from molmo_point.model.molmo import Molmo

SEEN_STEP = 256
"""Attention lengths are padded to multiples of this many tokens: few recordings, little wasted reading."""


@dataclass(frozen=True, eq=False)
class BatchInput:
    """Input of one pass over B rows.

    Attributes:
        ids: [B, T] int64 token ids, 0 for padding.
        positions: [B, T] int64.
        slot_mapping: [B, T] int64, position of each token's keys in its row; the cache's capacity for padding.
        mask: [B, 1, T, seen] bool, True where a token may attend.
        added: As in `Molmo.embed_rows`.
    """

    ids: Tensor
    positions: Tensor
    slot_mapping: Tensor
    mask: Tensor
    added: Tensor | None = None

    @property
    def seen(self) -> int:
        """Length of the keys that attention reads."""
        return self.mask.shape[-1]

    def tensors(self) -> list[Tensor]:
        """Return them in order."""
        given = (self.ids, self.positions, self.slot_mapping, self.mask, self.added)
        return [tensor for tensor in given if tensor is not None]


def run_pass(model: Molmo, cache: BatchKVCache, batch: BatchInput, first: int = 0) -> Tensor:
    """Run a pass over the rows of a cache from `first` on; return hidden states [B, T, D]."""
    slots = BatchSlots(cache, batch.slot_mapping, batch.seen, first)
    x = model.embed_rows(batch.ids, batch.added)
    return model.decoder(x, batch.positions, mask=batch.mask, cache=slots)


class GraphedPass:
    """`run_pass` that records each shape once and replays it.

    Without CUDA, and for mixtures of experts (the choice of experts cannot be recorded), it runs the plain pass over the same
    padded shapes.
    """

    def __init__(self, model: Molmo, cache: BatchKVCache) -> None:
        self._model = model
        self._cache = cache
        self._recordings: dict[tuple[torch.Size, int], Callable[[BatchInput], Tensor]] = {}

    def __call__(self, batch: BatchInput) -> Tensor:
        """Run a pass; return hidden states [B, T, D], valid until the next call."""
        if not batch.ids.is_cuda or self._model.config.decoder.experts:
            return run_pass(self._model, self._cache, batch)
        key = (batch.ids.shape, batch.seen)
        if key not in self._recordings:
            self._recordings[key] = self._record(batch)
        return self._recordings[key](batch)

    def _record(self, batch: BatchInput) -> Callable[[BatchInput], Tensor]:
        own = BatchInput(*(tensor.clone() for tensor in batch.tensors()))
        stream = torch.cuda.Stream(own.ids.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            # Libraries initialize in their first calls, which must not be recorded. The keys written are the same each time.
            for _ in range(2):
                run_pass(self._model, self._cache, own)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            out = run_pass(self._model, self._cache, own)

        def replay(batch: BatchInput) -> Tensor:
            for mine, theirs in zip(own.tensors(), batch.tensors(), strict=True):
                mine.copy_(theirs)
            graph.replay()
            return out

        return replay


def padded_shape(rows: int, width: int, seen: int, cache: BatchKVCache) -> tuple[int, int, int]:
    """Return the padded (rows, width, seen) of a pass: powers of two, and a multiple of SEEN_STEP.

    Args:
        rows: Number of rows in use.
        width: Number of new tokens of the longest row.
        seen: Length of the longest row with its new tokens.
    """
    steps = -(-seen // SEEN_STEP) * SEEN_STEP
    return (
        min(_power(rows), len(cache.lengths)),
        _power(width),
        min(steps, cache.capacity),
    )


def _power(number: int) -> int:
    return 1 << (number - 1).bit_length()
