"""Drafts as a tree: several ways an answer may go on, read in one pass, of which the model's own is kept.

Ways that begin alike share their first tokens. Every token sees the settled text and its own ancestors only, and has the position
that it would have if its way came true, so that the model says after each what it would have said alone (SpecInfer, arXiv
2305.09781).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

ROOT = -1


@dataclass
class DraftTree:
    """Drafted tokens; parents come before their children.

    Attributes:
        tokens: Token ids.
        parents: For each its parent's index in `tokens`; ROOT: it follows what is settled.
        depths: For each how many tokens lie between it and what is settled, itself included: 1 for the first.
    """

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    _children: dict[tuple[int, int], int] = field(default_factory=dict)

    @classmethod
    def of(cls, ways: Iterable[Sequence[int]], *, most: int, deepest: int) -> DraftTree:
        """Join ways to go on, the likeliest first.

        Args:
            most: Tokens in all; what does not fit is left out, the last ways first.
            deepest: Longest way.
        """
        tree = cls()
        for way in ways:
            node = ROOT
            for token in way[:deepest]:
                known = tree.child(node, token)
                if known is None and len(tree.tokens) >= most:
                    break
                node = tree._add(node, token) if known is None else known
        return tree

    @property
    def is_chain(self) -> bool:
        """Whether there is one way only."""
        return all(parent == index - 1 for index, parent in enumerate(self.parents))

    def child(self, node: int, token: int) -> int | None:
        """Return the index of the token that follows a node, None if that was not drafted."""
        return self._children.get((node, token))

    def accepted(self, chosen: Sequence[int], stop: int) -> list[int]:
        """Return the nodes that the model itself would have written, in order.

        Args:
            chosen: The model's choice after the settled text and after each node: chosen[0], chosen[1 + node].
            stop: Token that ends the answer; it is never followed.
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
        """Return [n, n] bool: row i sees column j, which is i itself or one of its ancestors."""
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
class Reading:
    """What one pass reads of one answer: settled tokens that were not read yet, and a draft behind them.

    Attributes:
        pending: One or more token ids.
        draft: May be empty.
    """

    pending: list[int]
    draft: DraftTree

    @property
    def tokens(self) -> list[int]:
        """All of them, [T]."""
        return self.pending + self.draft.tokens

    @property
    def first_row(self) -> int:
        """Index of the last settled token: from there on logits are needed."""
        return len(self.pending) - 1

    def offsets(self) -> list[int]:
        """Return for each token how far behind the cache it stands, [T]; alternatives stand at the same place."""
        last = len(self.pending) - 1
        return [*range(len(self.pending)), *(last + depth for depth in self.draft.depths)]

    def sees(self) -> Tensor:
        """Return [T, T] bool: which of these tokens each of them sees, itself included."""
        settled, drafted = len(self.pending), len(self.draft.tokens)
        seen = torch.ones(settled + drafted, settled + drafted, dtype=torch.bool).tril()
        if drafted:
            seen[settled:, settled:] = self.draft.ancestors()
        return seen
