"""Weights and values of the parts of the training loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from molmo_point.record import Record
from molmo_point.train.vocabulary import NUMBERS


class LossWeights(Record):
    """Weight of each part of the loss; the names are keys of recipes.

    Attributes:
        answer: Cross entropy of the answer's tokens, the only part that inference uses.
        dense: Class, colour and centre of the thing that an image token shows, read from the connector's output.
        spot: Position of that thing within the crop, read from the connector's output.
        spell: First letters of the label that an image token shows, read from the connector's output.
        word: Words that an image token shows, read from the connector's output.
        letters: Letters in each patch, read from the vision tower.
        name: First letters of the label that is asked for, read from the input of the supervised attention heads with the weights
            of `spell`.
        place: Position in the image of the thing that a token shows, read from the same input.
        look: Attention of the supervised heads to the image tokens of what is asked for.
        read: Attention of as many heads of the block before to the words of the query.
        sure: Whether the network's points are right; see `confidence_loss`. 0 = not computed.
        softness: Standard deviation in percent of the soft labels of whole numbers.
    """

    answer: float = 1.0
    dense: float = 0.3
    spot: float = 0.3
    spell: float = 0.3
    word: float = 0.3
    letters: float = 0.3
    name: float = 0.3
    place: float = 0.3
    look: float = 0.5
    read: float = 0.3
    sure: float = 0.0
    softness: float = 1.0


@dataclass(frozen=True)
class Losses:
    """Parts of the loss of one step (scalars with gradients) by their name in `LossWeights`, and counts for the log."""

    parts: dict[str, Tensor]
    counts: dict[str, float]

    def __or__(self, other: Losses) -> Losses:
        return Losses({**self.parts, **other.parts}, {**self.counts, **other.counts})

    def total(self, weights: LossWeights) -> Tensor:
        """Return the weighted sum."""
        return torch.stack(
            [getattr(weights, name) * part for name, part in self.parts.items()]
        ).sum()


def soft_numbers(values: Tensor, softness: float) -> Tensor:
    """Return [N, NUMBERS] soft labels that sum to 1: a Gaussian around the whole part of each value [N] in percent.

    Token k stands for [k, k + 1), so its center is k + 0.5; the token of the right whole part always has the largest weight.
    """
    centers = torch.arange(NUMBERS, device=values.device) + 0.5
    value = values.floor().clamp(max=NUMBERS - 1) + 0.5
    return torch.softmax(-((centers - value[:, None]) ** 2) / (2 * softness**2), dim=-1)
