"""Several answers at once: requests of different length on different pictures share each pass, and new ones join while others
are being written. Each answer is the one it would be alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch

from molmo_point.engine.generate import Decoding, Step
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
    key: int


class BatchDecoder:
    """Decodes jobs side by side.

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

    def run(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Step | None]]:
        """Decode all jobs; a waiting one takes the place of one that ends.

        `jobs` is read only as far as there is room, so that pictures are encoded when their turn comes.

        Yields:
            (job, step) for each step of each job, and (job, None) when it has ended.
        """
        waiting = iter(jobs)
        while True:
            self._admit(waiting)
            if not self._jobs:
                return
            yield from self._step()

    def _admit(self, waiting: Iterator[Job]) -> None:
        while self._free:
            job = next(waiting, None)
            if job is None:
                return
            row = self._free.pop()
            with torch.inference_mode():
                self._cache.fill(row, job.prefix)
            self._jobs[row] = job

    def _step(self) -> Iterator[tuple[Job, Step | None]]:
        tokens: dict[int, list[int]] = {}
        for row, job in list(self._jobs.items()):
            room = self._cache.capacity - self._cache.lengths[row]
            tokens[row] = job.decoding.next_tokens(room)
            if not tokens[row]:
                del tokens[row], self._jobs[row]
                # The lowest rows are taken first: used rows without gaps need no copy.
                self._free = sorted([*self._free, row], reverse=True)
                yield job, None
        if not tokens:
            return
        first = {row: self._jobs[row].decoding.first_row for row in tokens}
        hidden = self._read(tokens)
        for place, (row, read) in enumerate(tokens.items()):
            with torch.inference_mode():
                wanted = hidden[place, first[row] : len(read)]
                logits = self._model.decoder.head(wanted).float()
            step, kept = self._jobs[row].decoding.settle(logits)
            self._cache.lengths[row] += kept
            yield self._jobs[row], step

    @torch.inference_mode()
    def _read(self, tokens: dict[int, list[int]]) -> torch.Tensor:
        """Run all rows' tokens through the decoder, padded on the right; return [B, T, D]."""
        model, cache = self._model, self._cache
        longest = max(len(row) for row in tokens.values())
        padded = [row + [0] * (longest - len(row)) for row in tokens.values()]
        ids = torch.tensor(padded, device=model.device)
        starts = torch.tensor([cache.lengths[row] for row in tokens], device=model.device)
        counts = torch.tensor([len(row) for row in tokens.values()], device=model.device)
        place = torch.arange(longest, device=model.device)
        positions = starts[:, None] + place
        seen = int((starts + counts).max())
        places = positions.where(place < counts[:, None], cache.capacity)
        cache.aim(list(tokens), places, seen)
        mask = torch.arange(seen, device=model.device) <= positions[:, :, None]
        return model.decoder(model.embed(ids), positions, mask=mask[:, None], cache=cache)
