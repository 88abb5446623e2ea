"""Several answers at once: questions of different length about different images share each pass, and new ones join at any pass.

In float32 each answer equals the answer to the question alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Union

import torch
from torch import Tensor

from molmo_point.engine.draft_tree import PassInput
from molmo_point.engine.failures import with_memory
from molmo_point.engine.generate import DecodeState, Step
from molmo_point.errors import ModelFailed, QueryError
from molmo_point.model.batch_cache import BatchKVCache
from molmo_point.model.graphs import BatchInput, GraphedPass, padded_shape, run_pass
from molmo_point.model.kv_cache import KVCache
from molmo_point.model.molmo import Molmo


@dataclass(frozen=True, eq=False)
class BatchEntry:
    """One answer of a batch.

    Attributes:
        prefix: Keys and values of the tokens before the prompt.
        state: The answer's decoding state.
        key: The caller's name for it.
    """

    prefix: KVCache
    state: DecodeState
    key: Hashable


Outcome = Union[Step, ModelFailed, None]
"""Result of a pass for one entry: tokens, an error, or None at the end of the answer."""


class BatchDecoder:
    """Decodes entries side by side. Not thread-safe.

    Args:
        rows: Largest number of entries.
        capacity: Longest sequence of an entry in tokens: prefix, prompt, answer and draft.
        graphs: Pad every pass to one of a few shapes, and replay it as a CUDA graph on CUDA.
        free: Frees memory where a pass runs out of it, and returns whether there was any to free. None: a pass that runs out of
            memory fails for all entries (processes that share a model must make the same passes).
    """

    def __init__(
        self,
        model: Molmo,
        rows: int,
        capacity: int,
        *,
        graphs: bool = False,
        free: Callable[[], bool] | None = None,
    ) -> None:
        self._model = model
        self._cache = BatchKVCache(
            model.config.decoder, rows, capacity, dtype=model.dtype, device=model.device
        )
        self._rows = rows
        # Entry i is in row i: the last row moves into a row that becomes free, so that passes have no gaps.
        self._entries: list[BatchEntry] = []
        self._graphs = GraphedPass(model, self._cache) if graphs else None
        self._free = free
        # Most rows of a pass: fewer after memory ran out, until the batch is empty again.
        self._rows_per_pass = rows

    @property
    def free_rows(self) -> int:
        """Number of entries that can be added now."""
        return self._rows - len(self._entries)

    @property
    def has_work(self) -> bool:
        """Whether there is any entry."""
        return bool(self._entries)

    def add(self, entry: BatchEntry) -> None:
        """Add an entry; the next step makes its first pass. Needs a free row.

        Raises:
            QueryError: The sequence is longer than a row; with the numbers.
        """
        self.check_length(entry.prefix.length + entry.state.pending)
        with torch.inference_mode():
            self._cache.fill(len(self._entries), entry.prefix)
        self._entries.append(entry)

    def check_length(self, tokens: int) -> None:
        """Refuse a question that takes too many tokens with its image.

        Raises:
            QueryError: They are more than a row holds; with the numbers.
        """
        capacity = self._cache.capacity
        if tokens >= capacity:
            raise QueryError(
                f"this question takes {tokens} tokens with its image, a row of a batch holds {capacity}: ask it alone, or "
                "shorten it"
            )

    def cancel(self, entry: BatchEntry) -> None:
        """Remove an entry before its end and free its row. An entry that has left is no error."""
        if entry in self._entries:
            self._release(self._entries.index(entry))

    def run(self, entries: Iterable[BatchEntry]) -> Iterator[tuple[BatchEntry, Outcome]]:
        """Decode all entries; the next one takes the row of one that ends.

        `entries` is consumed only as rows become free, so that images are encoded when their turn comes.

        Yields:
            As `step` returns them, until all have ended.
        """
        waiting = iter(entries)
        while True:
            while self.free_rows and (entry := next(waiting, None)) is not None:
                self.add(entry)
            if not self.has_work:
                return
            yield from self.step()

    def step(self) -> list[tuple[BatchEntry, Outcome]]:
        """Make one pass for all entries; return (entry, outcome) for each.

        Entries whose outcome is None (ended) or ModelFailed have left the batch.
        """
        inputs = [
            entry.state.next_input(self._cache.capacity - length)
            for entry, length in zip(self._entries, self._cache.lengths, strict=False)
        ]
        ended = [row for row, pass_input in enumerate(inputs) if pass_input is None]
        results: list[tuple[BatchEntry, Outcome]] = [(self._entries[row], None) for row in ended]
        for row in reversed(ended):
            self._release(row)
            inputs[row] = inputs[-1]
            inputs.pop()
        going = [pass_input for pass_input in inputs if pass_input is not None]
        outcomes = self._advance(0, going)
        results += zip(self._entries, outcomes, strict=True)
        for row in reversed(range(len(outcomes))):
            if isinstance(outcomes[row], ModelFailed):
                self._release(row)
        if not self._entries:
            self._rows_per_pass = self._rows
        return results

    def _advance(self, first: int, inputs: list[PassInput]) -> list[Outcome]:
        """Run the rows from `first` on, as many in a pass as the memory allows."""
        outcomes: list[Outcome] = []
        while len(outcomes) < len(inputs):
            done = len(outcomes)
            outcomes += self._try_pass(first + done, inputs[done : done + self._rows_per_pass])
        return outcomes

    def _try_pass(self, first: int, inputs: list[PassInput]) -> list[Outcome]:
        """Make one pass. Where memory runs out, make several passes over fewer rows: only a single row can fail."""
        if self._free is None:
            return self._accept(first, inputs, *self._pass(first, inputs))
        free = self._free if len(inputs) == 1 else lambda: False
        try:
            result = with_memory(functools.partial(self._pass, first, inputs), free)
        except ModelFailed as failure:
            if len(inputs) == 1:
                return [failure]
        else:
            return self._accept(first, inputs, *result)
        self._free()
        self._rows_per_pass = len(inputs) // 2
        return self._advance(first, inputs)

    def _pass(self, first: int, inputs: list[PassInput]) -> tuple[list[Tensor], list[Tensor]]:
        """Return logits and hidden states of the rows from `first` on, as `DecodeState.accept` takes them.

        The output head is the largest matrix of the decoder: it is read once for all rows.
        """
        hidden = self._hidden(first, inputs)
        needed = [hidden[row, i.first_row : len(i.tokens)] for row, i in enumerate(inputs)]
        with torch.inference_mode():
            logits = self._model.decoder.logits(torch.cat(needed)).float()
        return list(torch.split(logits, [len(part) for part in needed])), needed

    def _accept(
        self, first: int, inputs: list[PassInput], logits: list[Tensor], hidden: list[Tensor]
    ) -> list[Outcome]:
        """Accept the tokens of the rows from `first` on; a row that fails does not affect the others."""
        outcomes: list[Outcome] = []
        for row in range(len(inputs)):
            try:
                step, kept = self._entries[first + row].state.accept(logits[row], hidden[row])
            except ModelFailed as failure:
                outcomes.append(failure)
                continue
            self._cache.keep(first + row, kept)
            outcomes.append(step)
        return outcomes

    def _release(self, row: int) -> None:
        last = len(self._entries) - 1
        if row != last:
            self._cache.move(last, row)
            self._entries[row] = self._entries[last]
        self._entries.pop()

    @torch.inference_mode()
    def _hidden(self, first: int, inputs: list[PassInput]) -> Tensor:
        """Run the tokens of the rows from `first` on through the decoder, padded on the right; return [B or more, T, D]."""
        cache, device = self._cache, self._model.device
        rows = len(inputs)
        width = max(len(pass_input.tokens) for pass_input in inputs)
        lengths = cache.lengths[first : first + rows]
        seen = max(start + len(i.tokens) for start, i in zip(lengths, inputs, strict=True))
        # CUDA graphs are recorded for passes that begin with the first row.
        graphs = self._graphs if first == 0 else None
        if graphs is not None:
            rows, width, seen = padded_shape(rows, width, seen, cache)
        ids = torch.zeros(rows, width, dtype=torch.long)
        positions = torch.zeros(rows, width, dtype=torch.long)
        # Padding is written to a slot that is never read, and attends to one token: a softmax over none is NaN.
        slot_mapping = torch.full((rows, width), cache.capacity)
        mask = torch.zeros(rows, width, seen, dtype=torch.bool)
        mask[:, :, 0] = True
        for row, pass_input in enumerate(inputs):
            start, count = lengths[row], len(pass_input.tokens)
            ids[row, :count] = torch.tensor(pass_input.rows)
            positions[row, :count] = start + torch.tensor(pass_input.offsets())
            slot_mapping[row, :count] = torch.arange(start, start + count)
            mask[row, :count, :start] = True
            mask[row, :count, start : start + count] = pass_input.attention_mask()
        batch = BatchInput(
            ids.to(device),
            positions.to(device),
            slot_mapping.to(device),
            mask[:, None].to(device),
            _added(inputs, rows, width),
        )
        if graphs is not None:
            return graphs(batch)
        return run_pass(self._model, cache, batch, first)


def _added(inputs: list[PassInput], rows: int, width: int) -> Tensor | None:
    """Return what is added to the embeddings of a pass [rows, width, D]; None where no row adds anything."""
    given = [(row, i.added) for row, i in enumerate(inputs) if i.added is not None]
    if not given:
        return None
    added = given[0][1].new_zeros(rows, width, given[0][1].shape[-1])
    for row, own in given:
        added[row, : len(own)] = own
    return added
