"""The decoding loop: prompt in, tokens out, greedily. Drafting changes how many tokens a pass settles, not which.

Knows nothing of pictures, text or points: it reads behind a cache that already holds the picture. `Decoding` is one answer's
state and its rule for what counts; `generate` here and `batch` drive one or many of them.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import torch
from torch import Tensor

from molmo_point.engine.draft_tree import DraftTree, Reading
from molmo_point.engine.failures import finite, with_memory
from molmo_point.model.kv_cache import KVCache
from molmo_point.model.molmo import Molmo

MAX_DRAFT = 48
"""Most drafted tokens of a pass: a label with its closing tag, beside the start of another point."""


class Ending(Enum):
    """Why no more tokens come."""

    STOP = "stop"
    """The model wrote its end token."""
    LENGTH = "length"
    """The token limit was reached."""
    DEADLINE = "deadline"
    """The time was up."""


@dataclass(frozen=True)
class Limits:
    """When to stop at the latest.

    Attributes:
        max_new_tokens: Most tokens of an answer, the end token included.
        deadline: Value of `time.perf_counter` after which no pass begins; None = no limit.
    """

    max_new_tokens: int
    deadline: float | None = None


@dataclass(frozen=True, eq=False)
class Step:
    """What one pass settled.

    Attributes:
        tokens: One or more token ids.
        logits: [len(tokens), V] float32, row i chose tokens[i].
        hidden: [len(tokens), D], what the logits were made from.
    """

    tokens: list[int]
    logits: Tensor
    hidden: Tensor


class Drafter(Protocol):
    """Guesses how an answer goes on. Wrong guesses cost a little time and change nothing."""

    def propose(self, tokens: Sequence[int]) -> list[list[int]]:
        """Return ways in which `tokens` (the answer so far) may go on, the likeliest first; [] where nothing is known."""


class NoDraft:
    """Never guesses: plain decoding, one token a pass."""

    def propose(self, tokens: Sequence[int]) -> list[list[int]]:
        return []


class Decoding:
    """One answer being written.

    Each pass reads the tokens that are settled but not yet read (`pending`: first the prompt, then the last token) and a draft
    behind them; of the draft what the model itself would have written counts. The first draft rides on the pass that reads
    the prompt.

    Args:
        prompt: Token ids, at least one.
        stop: Token id that ends the answer.

    Attributes:
        ending: Why it is over, or None while it is not.
    """

    def __init__(
        self, prompt: Sequence[int], *, stop: int, limits: Limits, drafter: Drafter
    ) -> None:
        self._answer: list[int] = []
        self._pending = list(prompt)
        self._reading = Reading(self._pending, DraftTree())
        self._stop = stop
        self._limits = limits
        self._drafter = drafter
        self.ending: Ending | None = None

    def next_reading(self, room: int) -> Reading | None:
        """Return what the next pass reads, None when there is no next pass (`ending` says why).

        Args:
            room: Free places in the cache.
        """
        limits = self._limits
        if self.ending is not None:
            return None
        if limits.deadline is not None and time.perf_counter() >= limits.deadline:
            self.ending = Ending.DEADLINE
            return None
        left, room = limits.max_new_tokens - len(self._answer), room - len(self._pending)
        if min(left, room) <= 0:
            self.ending = Ending.LENGTH
            return None
        ways = self._drafter.propose(self._answer)
        draft = DraftTree.of(ways, most=min(room - 1, MAX_DRAFT), deepest=left - 1)
        self._reading = Reading(self._pending, draft)
        return self._reading

    @property
    def pending(self) -> int:
        """How many settled tokens have not been read yet: at first the prompt's."""
        return len(self._pending)

    @property
    def longest(self) -> int:
        """Most tokens that the prompt, the answer and a draft can take together."""
        return len(self._answer) + len(self._pending) + self._limits.max_new_tokens

    def settle(self, logits: Tensor, hidden: Tensor) -> tuple[Step, list[int]]:
        """Take a pass's result.

        Args:
            logits: [1 + len(draft), V] float32, from the reading's `first_row` on.
            hidden: [1 + len(draft), D], what they were made from.

        Returns:
            What is settled now, and which of the tokens that were read stay in the cache, in order.

        Raises:
            ModelFailed: The logits are not finite.
        """
        reading = self._reading
        best = logits.max(-1)
        chosen: list[int] = best.indices.tolist()
        path = reading.draft.accepted(chosen, self._stop)
        rows = [0, *(1 + node for node in path)]
        finite(best.values[rows], hidden.dtype)
        settled = [chosen[row] for row in rows]
        self._answer += settled
        self._pending = settled[-1:]
        if settled[-1] == self._stop:
            self.ending = Ending.STOP
        count = len(reading.pending)
        return Step(settled, logits[rows], hidden[rows]), [
            *range(count),
            *(count + node for node in path),
        ]


def generate(
    model: Molmo, cache: KVCache, decoding: Decoding, free: Callable[[], bool] = lambda: False
) -> Iterator[Step]:
    """Decode one answer greedily, one `Step` a pass; `decoding.ending` says why it ended.

    Args:
        cache: Holds the tokens before the prompt, with room for the prompt and the answer. Written to.
        free: Frees memory where a pass needs more than there is; see `failures.with_memory`.

    Raises:
        ModelFailed: The logits are not finite, or memory ran out.
    """
    while reading := decoding.next_reading(cache.capacity - cache.length):
        work = functools.partial(_pass, model, cache, reading)
        step, kept = decoding.settle(*with_memory(work, free))
        cache.keep(kept)
        yield step


@torch.inference_mode()
def _pass(model: Molmo, cache: KVCache, reading: Reading) -> tuple[Tensor, Tensor]:
    """Read tokens behind the cache; return logits and hidden states as `Decoding.settle` takes them."""
    ids = torch.tensor([reading.tokens], device=model.device)
    positions = cache.length + torch.tensor([reading.offsets()], device=model.device)
    mask = None
    if not reading.draft.is_chain:
        before = torch.ones(ids.shape[1], cache.length, dtype=torch.bool)
        mask = torch.cat([before, reading.sees()], dim=1)[None, None].to(model.device)
    hidden = model.decoder(model.embed(ids), positions, mask=mask, cache=cache)
    hidden = hidden[0, reading.first_row :]
    return model.decoder.logits(hidden).float(), hidden
