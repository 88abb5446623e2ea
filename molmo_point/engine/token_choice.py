"""How an answer's tokens are chosen from a pass, and what is read for them.

Text has a table of ids: the largest logit is the next token, and its row is read next. MolmoPoint also chooses patches of the
image (`patch_choice`), whose ids and embeddings belong to one image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from molmo_point.engine.draft_tree import DraftTree
from molmo_point.engine.failures import check_finite

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PatchChoice:
    """The probabilities of one choice.

    Attributes:
        probabilities: Patches and "no more points" [P + 1], patches of a window [C], or locations [9]; they add up to 1.
        pointed: Probability that a point follows at all, where a patch is chosen; else 1.
    """

    probabilities: Floats
    pointed: float = 1.0


@dataclass(frozen=True, eq=False)
class Accepted:
    """Tokens that a pass gives.

    Attributes:
        tokens: One or more ids.
        path: Nodes of the draft that are among them, in order: all tokens but the last.
        patches: For tokens that chose a part of the image, with which probabilities; {index in `tokens`: choice}.
    """

    tokens: list[int]
    path: list[int]
    patches: dict[int, PatchChoice] = field(default_factory=dict)

    def ended(self, ends: frozenset[int], stop: int) -> Accepted:
        """Return the tokens up to the first of `ends`, which is there, with `stop` in its place."""
        last = next(n for n, token in enumerate(self.tokens) if token in ends)
        patches = {n: patch for n, patch in self.patches.items() if n < last}
        return Accepted([*self.tokens[:last], stop], self.path[:last], patches)


class TokenChoice(Protocol):
    """The rule of one answer. It may remember what was chosen before."""

    def inputs(self, tokens: Sequence[int]) -> tuple[list[int], Tensor | None]:
        """Return the rows of the embedding table that are read for tokens, and what is added to them [T, D] float32, or None."""

    def accept(self, draft: DraftTree, logits: Tensor, hidden: Tensor, stop: int) -> Accepted:
        """Return the tokens that follow, and the drafted ones among them.

        Args:
            logits: [1 + len(draft), V] float32; hidden: [1 + len(draft), D], input of the output head.
            stop: Token that ends the answer; nothing behind it is accepted.

        Raises:
            ModelFailed: The logits are not finite.
        """


class GreedyChoice:
    """The largest logit."""

    def inputs(self, tokens: Sequence[int]) -> tuple[list[int], Tensor | None]:
        return list(tokens), None

    def accept(self, draft: DraftTree, logits: Tensor, hidden: Tensor, stop: int) -> Accepted:
        best = logits.max(-1)
        chosen: list[int] = best.indices.tolist()
        path = draft.accepted(chosen, stop)
        rows = [0, *(1 + node for node in path)]
        check_finite(best.values[rows], hidden.dtype)
        return Accepted([chosen[row] for row in rows], path)
