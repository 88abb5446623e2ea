"""Drafts as a tree: several continuations of an answer, read in one pass; the one the model itself would write is accepted.

Continuations with the same start share its tokens. Every drafted token attends to the accepted text and to its own ancestors
only, at the position it would have if its continuation came true, so that the model's output behind it is the same as without
the other drafts (SpecInfer, arXiv 2305.09781).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

MAX_DRAFT = 48
"""Largest draft of a pass, in tokens: a label with its closing tag and the start of another point fit."""

ROOT = -1
"""Parent of a token that follows the accepted text directly."""


@dataclass
class DraftTree:
    """Drafted tokens; parents come before their children.

    Attributes:
        tokens: Token ids.
        parents: Index in `tokens` of each token's parent, or ROOT.
        depths: Distance of each token from the accepted text: 1 for the first.
    """

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    _children: dict[tuple[int, int], int] = field(default_factory=dict)

    @classmethod
    def from_continuations(
        cls, continuations: Iterable[Sequence[int]], *, max_tokens: int, max_depth: int
    ) -> DraftTree:
        """Join continuations, the likeliest first.

        Args:
            max_tokens: Tokens in all; the last continuations are left out first.
            max_depth: Longest continuation.
        """
        tree = cls()
        for continuation in continuations:
            node = ROOT
            for token in continuation[:max_depth]:
                known = tree.child(node, token)
                if known is None and len(tree.tokens) >= max_tokens:
                    break
                node = tree._add(node, token) if known is None else known
        return tree

    @property
    def is_chain(self) -> bool:
        """Whether there are no alternatives: every token is the child of the one before."""
        return all(parent == index - 1 for index, parent in enumerate(self.parents))

    def child(self, node: int, token: int) -> int | None:
        """Return the index of `token` as a child of `node`, None if it was not drafted."""
        return self._children.get((node, token))

    def accepted(self, chosen: Sequence[int], stop: int) -> list[int]:
        """Return the nodes that the model itself would have written, in order.

        Args:
            chosen: The model's choice behind the accepted text (chosen[0]) and behind each node (chosen[1 + node]).
            stop: Token that ends the answer; nothing behind it is accepted.
        """
        path: list[int] = []
        node = ROOT
        while chosen[1 + node] != stop:
            following = self.child(node, chosen[1 + node])
            if following is None:
                break
            path.append(following)
            node = following
        return path

    def ancestors(self) -> Tensor:
        """Return [n, n] bool: column j is True in row i where j is i itself or one of its ancestors."""
        seen = torch.eye(len(self.tokens), dtype=torch.bool)
        for node, parent in enumerate(self.parents):
            if parent != ROOT:
                seen[node] |= seen[parent]
        return seen

    def _add(self, parent: int, token: int) -> int:
        node = len(self.tokens)
        self.tokens.append(token)
        self.parents.append(parent)
        self.depths.append(1 if parent == ROOT else self.depths[parent] + 1)
        self._children[parent, token] = node
        return node


@dataclass(frozen=True, eq=False)
class PassInput:
    """Tokens that one pass reads for one answer: accepted tokens that were not read yet, then a draft.

    Attributes:
        pending: One or more token ids.
        draft: May be empty.
        rows: Rows of the embedding table that are read for the tokens [T].
        added: What is added to them [T, D] float32; None = nothing.
    """

    pending: list[int]
    draft: DraftTree
    rows: list[int]
    added: Tensor | None = None

    @property
    def tokens(self) -> list[int]:
        """All token ids, [T]."""
        return self.pending + self.draft.tokens

    @property
    def first_row(self) -> int:
        """Index of the last accepted token: logits are needed from there on."""
        return len(self.pending) - 1

    def offsets(self) -> list[int]:
        """Return each token's position relative to the end of the cache, [T]; alternatives share a position."""
        last = len(self.pending) - 1
        return [*range(len(self.pending)), *(last + depth for depth in self.draft.depths)]

    def attention_mask(self) -> Tensor:
        """Return [T, T] bool: column j is True in row i where token i attends to token j."""
        pending, drafted = len(self.pending), len(self.draft.tokens)
        mask = torch.ones(pending + drafted, pending + drafted, dtype=torch.bool).tril()
        if drafted:
            mask[pending:, pending:] = self.draft.ancestors()
        return mask
