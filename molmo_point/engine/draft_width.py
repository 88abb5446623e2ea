"""Whether a pass reads a draft, and how many alternatives of it: what pays on this device, for this network.

What the grammar forces is free to write between two choices: a pass reads up to the next choice of the model, and the passes of
an answer are its choices. A continuation that is drafted beside others covers the choice between them. If it is the one (with
probability p), a pass is saved, which would have read its n tokens behind the choice: cost(1 + n). In any case this pass
reads n tokens more: cost(k + n) - cost(k) behind k others. So the m likeliest are drafted for which

    sum of p_i cost(1 + n_i)  -  (cost(k + tokens of the m) - cost(k))

is largest; none if that is negative. A single continuation always pays, for cost(1) is left of it. `pass_cost` measures the
costs: for a dense decoder on a GPU ten digits cost next to nothing, for a mixture on a CPU a second alternative may cost a pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from molmo_point.engine.draft_tree import DraftTree
from molmo_point.engine.pass_cost import PassCost, measure_pass_cost
from molmo_point.model.molmo import Molmo

RANKED = {1: (1.0,), 2: (0.8, 0.2), 3: (0.6, 0.25, 0.15)}
"""Probabilities of a few alternatives in their order, the likeliest first; more are equally likely: digits, parts of a window."""

REPEATED = 0.7
"""Probability that a token of a repeated run (prompt lookup) comes again."""


@dataclass(frozen=True)
class DraftWidth:
    """The rule, with the costs of one network on one device."""

    cost: PassCost

    @classmethod
    def of(cls, model: Molmo) -> DraftWidth | None:
        """Return the rule with costs measured now; None for small decoders, which draft all continuations and no digits."""
        cost = measure_pass_cost(model)
        return None if cost is None else cls(cost)

    def chosen(
        self, continuations: Sequence[list[int]], *, before: int, max_tokens: int
    ) -> list[list[int]]:
        """Return the continuations that are worth drafting.

        Args:
            continuations: The likeliest first.
            before: Tokens that the pass reads anyway.
            max_tokens: Of the draft.
        """
        alternatives = len(continuations)
        shares = RANKED.get(alternatives, (1 / max(1, alternatives),) * alternatives)
        best, most, covered = 0, 0.0, 0.0
        for count, (share, one) in enumerate(zip(shares, continuations, strict=True), 1):
            covered += share * self.cost.of(1 + len(one))
            tree = DraftTree.from_continuations(
                continuations[:count], max_tokens=max_tokens, max_depth=max_tokens
            )
            added = self.cost.of(before + len(tree.tokens)) - self.cost.of(before)
            if covered - added > most:
                best, most = count, covered - added
        return list(continuations[:best])

    def repeated_tokens(self, longest: int) -> int:
        """Return how many tokens of a repeated run are drafted: those with the most accepted tokens for their time."""
        rates, expected = [], 0.0
        for tokens in range(longest + 1):
            expected += REPEATED**tokens
            rates.append(expected / self.cost.of(1 + tokens))
        return rates.index(max(rates))
