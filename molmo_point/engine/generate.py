"""The decoding loop: prompt in, tokens out, greedily. It exists once; drafting changes how many tokens a pass settles, not which.

Knows nothing of pictures, text or points: it reads behind a cache that already holds the picture.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import torch
from torch import Tensor

from molmo_point.model.kv_cache import KVCache
from molmo_point.model.molmo import Molmo


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


def generate(
    model: Molmo,
    cache: KVCache,
    prompt: Sequence[int],
    *,
    stop: int,
    limits: Limits,
    drafter: Drafter,
) -> Generator[Step, None, Ending]:
    """Decode an answer greedily.

    Each pass reads the last settled token and a draft behind it; of the draft the longest beginning that the model itself
    would have written counts. The first draft rides on the pass that reads the prompt.

    Args:
        cache: Holds the tokens before the prompt, with room for the prompt and the answer. Written to.
        prompt: Token ids, at least one.
        stop: Token id that ends the answer.

    Yields:
        One `Step` a pass.

    Returns:
        Why it ended.
    """
    answer: list[int] = []
    pending = list(prompt)
    while True:
        if limits.deadline is not None and time.perf_counter() >= limits.deadline:
            return Ending.DEADLINE
        room = min(
            limits.max_new_tokens - len(answer), cache.capacity - cache.length - len(pending)
        )
        if room <= 0:
            return Ending.LENGTH
        draft = drafter.propose(answer)[: room - 1]
        logits = _pass(model, cache, pending + draft, len(pending) - 1)
        chosen: list[int] = logits.argmax(-1).tolist()
        agreed = 0
        while agreed < len(draft) and chosen[agreed] == draft[agreed] != stop:
            agreed += 1
        cache.keep(len(pending) + agreed)
        settled = chosen[: agreed + 1]
        answer += settled
        yield Step(settled, logits[: agreed + 1])
        if settled[-1] == stop:
            return Ending.STOP
        pending = settled[-1:]


@torch.inference_mode()
def _pass(model: Molmo, cache: KVCache, tokens: list[int], first: int) -> Tensor:
    """Read tokens behind the cache; return float32 logits [len(tokens) - first, V] from position `first` on."""
    ids = torch.tensor([tokens], device=model.device)
    positions = torch.arange(cache.length, cache.length + len(tokens), device=model.device)[None]
    hidden = model.decoder(model.embed(ids), positions, cache=cache)
    return model.decoder.head(hidden[0, first:]).float()
