"""Several answers at once: requests of different length on different pictures share each pass, and new ones join while others
are being written. Each answer is the one it would be alone."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass

import torch

from molmo_point.engine.generate import Decoding, Step
from molmo_point.engine.tree import Reading
from molmo_point.errors import QueryError
from molmo_point.model.batch_cache import BatchKVCache
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


class BatchDecoder:
    """Decodes jobs side by side. For one thread at a time.

    Args:
        rows: Most jobs at a time.
        capacity: Longest sequence of a job: prefix, prompt, answer and draft.
    """

    def __init__(self, model: Molmo, rows: int, capacity: int) -> None:
        self._model = model
        self._cache = BatchKVCache(
            model.config.decoder, rows, capacity, dtype=model.dtype, device=model.device
        )
        self._free = list(reversed(range(rows)))
        self._jobs: dict[int, Job] = {}

    @property
    def room(self) -> int:
        """How many more jobs may join now."""
        return len(self._free)

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
        row = self._free.pop()
        with torch.inference_mode():
            self._cache.fill(row, job.prefix)
        self._jobs[row] = job

    def drop(self, job: Job) -> None:
        """Take a job out before its end; its place is free at once. One that is not there any more is no error."""
        for row, other in self._jobs.items():
            if other is job:
                self._release(row)
                return

    def run(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Step | None]]:
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

    def step(self) -> list[tuple[Job, Step | None]]:
        """Make one pass for all jobs; return (job, step) for each, and (job, None) for those that have ended."""
        results: list[tuple[Job, Step | None]] = []
        readings: dict[int, Reading] = {}
        for row, job in list(self._jobs.items()):
            reading = job.decoding.next_reading(self._cache.capacity - self._cache.lengths[row])
            if reading is None:
                self._release(row)
                results.append((job, None))
            else:
                readings[row] = reading
        if not readings:
            return results
        hidden = self._read(readings)
        for place, (row, reading) in enumerate(readings.items()):
            with torch.inference_mode():
                wanted = hidden[place, reading.first_row : len(reading.tokens)]
                logits = self._model.decoder.head(wanted).float()
            step, kept = self._jobs[row].decoding.settle(logits)
            self._cache.keep(row, kept)
            results.append((self._jobs[row], step))
        return results

    def _release(self, row: int) -> None:
        del self._jobs[row]
        # The lowest rows are taken first: used rows without gaps need no copy.
        self._free = sorted([*self._free, row], reverse=True)

    @torch.inference_mode()
    def _read(self, readings: dict[int, Reading]) -> torch.Tensor:
        """Run all rows' tokens through the decoder, padded on the right; return [B, T, D]."""
        model, cache = self._model, self._cache
        starts = [cache.lengths[row] for row in readings]
        width = max(len(reading.tokens) for reading in readings.values())
        seen = max(
            start + len(r.tokens) for start, r in zip(starts, readings.values(), strict=True)
        )
        ids = torch.zeros(len(readings), width, dtype=torch.long)
        positions = torch.tensor(starts)[:, None] + torch.arange(width)
        # Padding is written where nobody looks.
        places = torch.full((len(readings), width), cache.capacity)
        mask = torch.arange(seen) < torch.tensor(starts)[:, None, None]
        mask = mask.repeat(1, width, 1)
        for place, (start, reading) in enumerate(zip(starts, readings.values(), strict=True)):
            count = len(reading.tokens)
            ids[place, :count] = torch.tensor(reading.tokens)
            positions[place, :count] = start + torch.tensor(reading.offsets())
            places[place, :count] = torch.arange(start, start + count)
            mask[place, :count, start : start + count] = reading.sees()
        cache.aim(list(readings), places.to(model.device), seen)
        x = model.embed(ids.to(model.device))
        return model.decoder(
            x, positions.to(model.device), mask=mask[:, None].to(model.device), cache=cache
        )
