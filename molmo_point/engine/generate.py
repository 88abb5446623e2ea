"""The decoding loop: prompt in, tokens out, greedily. Drafting changes how many tokens a pass settles, not which.

Knows nothing of pictures, text or points: it reads behind a cache that already holds the picture. `Decoding` is one answer's
state and its rule for what counts; `generate` here and `batch` drive one or many of them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import torch
from torch import Tensor

from molmo_point.model.kv_cache import KVCache
from molmo_point.model.molmo import Molmo

MAX_DRAFT = 32
"""Longest draft: a label and its closing tag; more rarely fits."""


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
    """

    tokens: list[int]
    logits: Tensor


class Drafter(Protocol):
    """Guesses how an answer goes on. Wrong guesses cost a little time and change nothing."""

    def propose(self, tokens: Sequence[int]) -> list[int]:
        """Return the tokens that likely follow `tokens` (the answer so far), or []."""


class NoDraft:
    """Never guesses: plain decoding, one token a pass."""

    def propose(self, tokens: Sequence[int]) -> list[int]:
        return []


class Decoding:
    """One answer being written.

    Each pass reads the tokens that are settled but not yet read (`pending`: first the prompt, then the last token) and a draft
    behind them; of the draft the longest beginning that the model itself would have written counts. The first draft rides
    on the pass that reads the prompt.

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
        self._draft: list[int] = []
        self._stop = stop
        self._limits = limits
        self._drafter = drafter
        self.ending: Ending | None = None

    def next_tokens(self, room: int) -> list[int]:
        """Return what the next pass reads, [] when there is no next pass (`ending` says why).

        Args:
            room: Free places in the cache.
        """
        limits = self._limits
        if self.ending is not None:
            return []
        if limits.deadline is not None and time.perf_counter() >= limits.deadline:
            self.ending = Ending.DEADLINE
            return []
        room = min(limits.max_new_tokens - len(self._answer), room - len(self._pending))
        if room <= 0:
            self.ending = Ending.LENGTH
            return []
        self._draft = self._drafter.propose(self._answer)[: min(room - 1, MAX_DRAFT)]
        return self._pending + self._draft

    @property
    def longest(self) -> int:
        """Most tokens that the prompt and the answer can take together."""
        return len(self._answer) + len(self._pending) + self._limits.max_new_tokens

    @property
    def first_row(self) -> int:
        """Position among `next_tokens` from which on logits are needed."""
        return len(self._pending) - 1

    def settle(self, logits: Tensor) -> tuple[Step, int]:
        """Take a pass's result.

        Args:
            logits: [1 + len(draft), V] float32, from `first_row` on.

        Returns:
            What is settled now, and how many of the tokens that were read stay in the cache.
        """
        draft = self._draft
        chosen: list[int] = logits.argmax(-1).tolist()
        agreed = 0
        while agreed < len(draft) and chosen[agreed] == draft[agreed] != self._stop:
            agreed += 1
        kept = len(self._pending) + agreed
        settled = chosen[: agreed + 1]
        self._answer += settled
        self._pending = settled[-1:]
        if settled[-1] == self._stop:
            self.ending = Ending.STOP
        return Step(settled, logits[: agreed + 1]), kept


def generate(model: Molmo, cache: KVCache, decoding: Decoding) -> Iterator[Step]:
    """Decode one answer greedily, one `Step` a pass; `decoding.ending` says why it ended.

    Args:
        cache: Holds the tokens before the prompt, with room for the prompt and the answer. Written to.
    """
    while tokens := decoding.next_tokens(cache.capacity - cache.length):
        step, kept = decoding.settle(_pass(model, cache, tokens, decoding.first_row))
        cache.keep(kept)
        yield step


@torch.inference_mode()
def _pass(model: Molmo, cache: KVCache, tokens: list[int], first: int) -> Tensor:
    """Read tokens behind the cache; return float32 logits [len(tokens) - first, V] from position `first` on."""
    ids = torch.tensor([tokens], device=model.device)
    positions = torch.arange(cache.length, cache.length + len(tokens), device=model.device)[None]
    hidden = model.decoder(model.embed(ids), positions, cache=cache)
    return model.decoder.head(hidden[0, first:]).float()
