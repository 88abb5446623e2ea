"""Several answers at once: requests of different length on different pictures share each pass, and new ones join while others
are being written. Each answer is the one it would be alone."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Union

import torch
from torch import Tensor

from molmo_point.engine.draft_tree import Reading
from molmo_point.engine.failures import with_memory
from molmo_point.engine.generate import Decoding, Step
from molmo_point.errors import ModelFailed, QueryError
from molmo_point.model.batch_cache import BatchKVCache
from molmo_point.model.graphs import BatchPass, GraphedPass, padded_shape, run_pass
from molmo_point.model.kv_cache import KVCache
from molmo_point.model.molmo import Molmo


@dataclass(frozen=True, eq=False)
class Job:
    """One request of a batch.

    Attributes:
        prefix: Keys and values of what comes before the prompt.
        decoding: Its answer's state.
        key: The caller's name for it.
    """

    prefix: KVCache
    decoding: Decoding
    key: Hashable


Outcome = Union[Step, ModelFailed, None]
"""What a pass brought for a job: tokens; an end with an error; None for its end."""


class BatchDecoder:
    """Decodes jobs side by side. For one thread at a time.

    Args:
        rows: Most jobs at a time.
        capacity: Longest sequence of a job: prefix, prompt, answer and draft.
        graphs: Pad every pass to one of a few shapes, and on CUDA replay it as a graph.
        free: Frees memory where a pass needs more than there is, and says whether there was any. None: a pass that runs out of
            memory fails for all (processes that hold a model together must make the same passes).
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
        # Job i is in row i: a row that becomes free is filled from the last one, so that passes run over no gaps.
        self._jobs: list[Job] = []
        self._graphs = GraphedPass(model, self._cache) if graphs else None
        self._free = free
        # Most rows of a pass: fewer after memory ran out, until the batch has emptied.
        self._together = rows

    @property
    def room(self) -> int:
        """How many more jobs may join now."""
        return self._rows - len(self._jobs)

    @property
    def busy(self) -> bool:
        """Whether there is a job at work."""
        return bool(self._jobs)

    def add(self, job: Job) -> None:
        """Let a job join; its first pass is the next step. There must be room.

        Raises:
            QueryError: It is longer than a row can ever be; with the numbers.
        """
        needed, capacity = job.prefix.length + job.decoding.pending, self._cache.capacity
        if needed >= capacity:
            raise QueryError(
                f"this question takes {needed} tokens with its picture, a batch has room for {capacity} each: ask it "
                "alone, or more briefly"
            )
        with torch.inference_mode():
            self._cache.fill(len(self._jobs), job.prefix)
        self._jobs.append(job)

    def drop(self, job: Job) -> None:
        """Take a job out before its end; its place is free at once. One that is not there any more is no error."""
        if job in self._jobs:
            self._release(self._jobs.index(job))

    def run(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Outcome]]:
        """Decode all jobs; a waiting one takes the place of one that ends.

        `jobs` is read only as far as there is room, so that pictures are encoded when their turn comes.

        Yields:
            As `step`, until all have ended.
        """
        waiting = iter(jobs)
        while True:
            while self.room and (job := next(waiting, None)) is not None:
                self.add(job)
            if not self.busy:
                return
            yield from self.step()

    def step(self) -> list[tuple[Job, Outcome]]:
        """Make one pass for all jobs; return (job, step) for each.

        (job, None) for those that have ended, and (job, ModelFailed) for those that the model failed at: both have left.
        """
        readings = [
            job.decoding.next_reading(self._cache.capacity - length)
            for job, length in zip(self._jobs, self._cache.lengths, strict=False)
        ]
        ended = [row for row, reading in enumerate(readings) if reading is None]
        results: list[tuple[Job, Outcome]] = [(self._jobs[row], None) for row in ended]
        for row in reversed(ended):
            self._release(row)
            readings[row] = readings[-1]
            readings.pop()
        going = [reading for reading in readings if reading is not None]
        outcomes: list[Outcome] = []
        while len(outcomes) < len(going):
            first = len(outcomes)
            outcomes += self._advance(first, going[first : first + self._together])
        results += zip(self._jobs, outcomes, strict=True)
        for row in reversed(range(len(outcomes))):
            if isinstance(outcomes[row], ModelFailed):
                self._release(row)
        if not self._jobs:
            self._together = self._rows
        return results

    def _advance(self, first: int, readings: list[Reading]) -> list[Outcome]:
        """Make one pass for some rows. Where memory runs out, make several of fewer rows: only a row alone fails."""
        if self._free is None:
            return self._settle(first, readings, *self._pass(first, readings))
        free = self._free if len(readings) == 1 else lambda: False
        try:
            work = functools.partial(self._pass, first, readings)
            read = with_memory(work, free)
        except ModelFailed as failure:
            if len(readings) == 1:
                return [failure]
        else:
            return self._settle(first, readings, *read)
        self._free()
        self._together = len(readings) // 2
        outcomes: list[Outcome] = []
        while len(outcomes) < len(readings):
            done = len(outcomes)
            outcomes += self._advance(first + done, readings[done : done + self._together])
        return outcomes

    def _pass(self, first: int, readings: list[Reading]) -> tuple[list[Tensor], list[Tensor]]:
        """Return logits and hidden states of the rows from `first` on, as `Decoding.settle` takes them.

        The output head is the largest matrix of all: it is read once for all rows.
        """
        hidden = self._read(first, readings)
        wanted = [hidden[row, r.first_row : len(r.tokens)] for row, r in enumerate(readings)]
        with torch.inference_mode():
            logits = self._model.decoder.logits(torch.cat(wanted)).float()
        return list(torch.split(logits, [len(part) for part in wanted])), wanted

    def _settle(
        self, first: int, readings: list[Reading], logits: list[Tensor], hidden: list[Tensor]
    ) -> list[Outcome]:
        """Choose the tokens of the rows from `first` on; one that the model failed at does not touch the others."""
        outcomes: list[Outcome] = []
        for row in range(len(readings)):
            try:
                step, kept = self._jobs[first + row].decoding.settle(logits[row], hidden[row])
            except ModelFailed as failure:
                outcomes.append(failure)
                continue
            self._cache.keep(first + row, kept)
            outcomes.append(step)
        return outcomes

    def _release(self, row: int) -> None:
        last = len(self._jobs) - 1
        if row != last:
            self._cache.move(last, row)
            self._jobs[row] = self._jobs[last]
        self._jobs.pop()

    @torch.inference_mode()
    def _read(self, first: int, readings: list[Reading]) -> Tensor:
        """Run the tokens of the rows from `first` on through the decoder, padded on the right; return [B or more, T, D]."""
        cache, device = self._cache, self._model.device
        rows = len(readings)
        width = max(len(reading.tokens) for reading in readings)
        lengths = cache.lengths[first : first + rows]
        seen = max(start + len(r.tokens) for start, r in zip(lengths, readings, strict=True))
        # Recordings begin with the first row.
        graphs = self._graphs if first == 0 else None
        if graphs is not None:
            rows, width, seen = padded_shape(rows, width, seen, cache)
        ids = torch.zeros(rows, width, dtype=torch.long)
        positions = torch.zeros(rows, width, dtype=torch.long)
        # Padding is written where nobody looks, and looks at one place: a softmax over nothing is not a number.
        places = torch.full((rows, width), cache.capacity)
        mask = torch.zeros(rows, width, seen, dtype=torch.bool)
        mask[:, :, 0] = True
        for row, reading in enumerate(readings):
            start, count = lengths[row], len(reading.tokens)
            ids[row, :count] = torch.tensor(reading.tokens)
            positions[row, :count] = start + torch.tensor(reading.offsets())
            places[row, :count] = torch.arange(start, start + count)
            mask[row, :count, :start] = True
            mask[row, :count, start : start + count] = reading.sees()
        work = BatchPass(*(t.to(device) for t in (ids, positions, places, mask[:, None])))
        if graphs is not None:
            return graphs(work)
        return run_pass(self._model, cache, work, first)
