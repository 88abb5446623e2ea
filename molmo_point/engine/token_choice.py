"""How an answer's tokens are chosen from a pass, and what is read for them.

Text has a table of ids: the largest logit is the next token, and its row is read next. MolmoPoint also chooses patches of the
image (`patch_choice`), whose ids and embeddings belong to one image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from molmo_point.engine.draft_tree import DraftTree
from molmo_point.engine.failures import check_finite

if TYPE_CHECKING:
    from molmo_point.engine.patch_choice import PatchChoice


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
