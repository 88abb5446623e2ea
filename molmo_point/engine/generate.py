"""The decoding loop: prompt in, tokens out, greedily. Drafts change how many tokens a pass accepts, not which.

It reads behind a cache that already holds the image, and knows nothing of points. `DecodeState` is one answer's state and its
rule for accepting tokens; `generate` here decodes one answer, `batch` many.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from molmo_point.engine.draft_tree import MAX_DRAFT, DraftTree, PassInput
from molmo_point.engine.failures import with_memory
from molmo_point.engine.token_choice import GreedyChoice, PatchChoice, TokenChoice
from molmo_point.model.kv_cache import KVCache
from molmo_point.model.molmo import Molmo
from molmo_point.points import FinishReason


@dataclass(frozen=True)
class Limits:
    """When decoding ends at the latest.

    Attributes:
        max_new_tokens: Longest answer in tokens, the end token included.
        deadline: Value of `time.perf_counter()` after which no pass begins; None = no deadline.
    """

    max_new_tokens: int
    deadline: float | None = None


@dataclass(frozen=True, eq=False)
class Step:
    """Result of one pass.

    Attributes:
        tokens: One or more accepted token ids.
        logits: [len(tokens), V] float32; row i chose tokens[i].
        hidden: [len(tokens), D], input of the output head for each row.
        patches: The tokens that chose a part of the image: {index in `tokens`: its probabilities}.
    """

    tokens: list[int]
    logits: Tensor
    hidden: Tensor
    patches: Mapping[int, PatchChoice] = field(default_factory=dict)


class Drafter(Protocol):
    """Guesses the next tokens. A wrong guess costs a little time and changes no answer."""

    def propose(self, tokens: Sequence[int]) -> list[list[int]]:
        """Return continuations of `tokens` (the answer so far), the likeliest first; [] where nothing can be guessed."""


class NoDraft:
    """Never guesses: plain decoding, one token a pass."""

    def propose(self, tokens: Sequence[int]) -> list[list[int]]:
        return []


class DecodeState:
    """State of one answer while it is decoded.

    Each pass reads the accepted tokens that were not read yet (`pending`: first the prompt, then the last token) and a draft
    behind them. The part of the draft that the model itself would have written is accepted. The pass that reads the prompt
    carries a draft, too.

    Args:
        prompt: Token ids, at least one.
        stop: Token id that ends the answer.
        ends: Further ids that end it; `stop` stands for them in the steps.
        choice: How tokens are chosen and read; None = by the largest logit.

    Attributes:
        finish_reason: Why the answer ended, None before its end.
    """

    def __init__(
        self,
        prompt: Sequence[int],
        *,
        stop: int,
        limits: Limits,
        drafter: Drafter,
        choice: TokenChoice | None = None,
        ends: frozenset[int] = frozenset(),
    ) -> None:
        self._answer: list[int] = []
        self._pending = list(prompt)
        self._choice = choice or GreedyChoice()
        self._input = PassInput(self._pending, DraftTree(), self._pending)
        self._stop, self._ends = stop, ends
        self._limits = limits
        self._drafter = drafter
        self.finish_reason: FinishReason | None = None

    def next_input(self, free: int) -> PassInput | None:
        """Return the input of the next pass, None at the end of the answer (`finish_reason` says why).

        Args:
            free: Free positions in the cache.
        """
        limits = self._limits
        if self.finish_reason is not None:
            return None
        if limits.deadline is not None and time.perf_counter() >= limits.deadline:
            self.finish_reason = FinishReason.TIMEOUT
            return None
        left, free = limits.max_new_tokens - len(self._answer), free - len(self._pending)
        if min(left, free) <= 0:
            self.finish_reason = FinishReason.LENGTH
            return None
        draft = DraftTree.from_continuations(
            self._drafter.propose(self._answer),
            max_tokens=min(free - 1, MAX_DRAFT),
            max_depth=left - 1,
        )
        self._input = PassInput(
            self._pending, draft, *self._choice.inputs(self._pending + draft.tokens)
        )
        return self._input

    @property
    def pending(self) -> int:
        """Number of accepted tokens that were not read yet: at first those of the prompt."""
        return len(self._pending)

    @property
    def pending_tokens(self) -> tuple[int, ...]:
        """The accepted tokens that were not read yet."""
        return tuple(self._pending)

    @property
    def max_total_tokens(self) -> int:
        """Most tokens that the prompt and the answer can take together."""
        return len(self._answer) + len(self._pending) + self._limits.max_new_tokens

    def accept(self, logits: Tensor, hidden: Tensor) -> tuple[Step, list[int]]:
        """Accept tokens from a pass's result.

        Args:
            logits: [1 + len(draft), V] float32, from the input's `first_row` on.
            hidden: [1 + len(draft), D], input of the output head.

        Returns:
            The accepted tokens, and the indices (ascending) of the tokens that were read and stay in the cache.

        Raises:
            ModelFailed: The logits are not finite.
        """
        draft, count = self._input.draft, len(self._input.pending)
        accepted = self._choice.accept(draft, logits, hidden, self._stop)
        if not self._ends.isdisjoint(accepted.tokens):
            accepted = accepted.ended(self._ends, self._stop)
        tokens, path = accepted.tokens, accepted.path
        rows = [0, *(1 + node for node in path)]
        self._answer += tokens
        self._pending = tokens[-1:]
        if tokens[-1] == self._stop:
            self.finish_reason = FinishReason.STOP
        kept = [*range(count), *(count + node for node in path)]
        return Step(tokens, logits[rows], hidden[rows], accepted.patches), kept


def generate(
    model: Molmo, cache: KVCache, state: DecodeState, free: Callable[[], bool] = lambda: False
) -> Iterator[Step]:
    """Decode one answer greedily, one `Step` a pass; `state.finish_reason` says why it ended.

    Args:
        cache: Holds the tokens before the prompt, with room for the prompt and the answer. Written to.
        free: Frees memory where a pass runs out of it; see `failures.with_memory`.

    Raises:
        ModelFailed: The logits are not finite, or memory ran out.
    """
    while pass_input := state.next_input(cache.capacity - cache.length):
        work = functools.partial(_run_pass, model, cache, pass_input)
        step, kept = state.accept(*with_memory(work, free))
        cache.keep(kept)
        yield step


@torch.inference_mode()
def _run_pass(model: Molmo, cache: KVCache, pass_input: PassInput) -> tuple[Tensor, Tensor]:
    """Read tokens behind the cache; return logits and hidden states as `DecodeState.accept` takes them."""
    ids = torch.tensor([pass_input.rows], device=model.device)
    added = None if pass_input.added is None else pass_input.added[None]
    positions = cache.length + torch.tensor([pass_input.offsets()], device=model.device)
    mask = None
    if not pass_input.draft.is_chain:
        before = torch.ones(ids.shape[1], cache.length, dtype=torch.bool)
        mask = torch.cat([before, pass_input.attention_mask()], dim=1)[None, None].to(model.device)
    hidden = model.decoder(model.embed_rows(ids, added), positions, mask=mask, cache=cache)
    hidden = hidden[0, pass_input.first_row :]
    return model.decoder.logits(hidden).float(), hidden
