"""What a fine-tuning run learns from, and how its checkpoints are compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from molmo_point.datasets import LabelledItem
from molmo_point.model.molmo import Molmo

Score = Callable[[Molmo, Path], float]
"""Returns how good a network is on held-out questions, 0-1; the folder holds its tokenizer."""

Mixtures = Sequence[tuple[Sequence[LabelledItem], float]]


@dataclass(frozen=True)
class FinetuneData:
    """What a run learns from.

    Attributes:
        training: Sets of items, with their weights in the mixture.
        held_out: Items that are not trained on; empty = no evaluation.
        score: Scores the network on held-out items; None compares checkpoints by their loss.
    """

    training: Mixtures
    held_out: Sequence[LabelledItem] = ()
    score: Score | None = field(default=None, compare=False)
