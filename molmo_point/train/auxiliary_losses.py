"""What every image token is taught to show, and the heads that read it off: training only, never in a checkpoint.

Letters: B pictures, T tokens, M crops, K pooled patches of a crop, D model width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from molmo_point.model.molmo import Molmo
from molmo_point.synthetic.letter_classes import CLASSES, SLOTS
from molmo_point.train.batches import Batch
from molmo_point.train.vocabulary import NUMBERS

TARGET_RMS = 0.6
"""Size that image embeddings are held near; those of words begin with 0.3."""


UNKNOWN_WEIGHT = 0.2
"""Weight of a word without a class of its own beside one that has it."""


MIN_WORD_SHARE = 0.25
"""Share of a token's text that a word must have to count as right in the report."""


SPOT_SOFTNESS = 2.0
"""Standard deviation in percent of a crop of the labels that say where in its crop a thing is."""


class LossWeights(BaseModel):
    """How much each part counts.

    Attributes:
        answer: The answer's tokens, the only part that inference knows.
        dense: What each image token shows, read off the connector's output.
        spot: Where in its crop the thing is that an image token shows, read off the same.
        spell: The first letters of what is written where an image token looks, read off the same.
        word: Which words are written where an image token looks, read off the same.
        letters: Which letters every patch shows, read off the vision tower.
        name: The first letters of what is asked for, read off the decoder below the taught heads by the head of `spell`.
        place: Where in the picture the thing is that a token shows, read off the decoder below the taught heads.
        look: Where the taught heads look.
        read: Whether the heads of the block before read the words that are asked for.
        sure: Whether the network knows which of its points are right; see `confidence_loss`.
        softness: Standard deviation in percent of the labels of whole numbers: a near miss is nearly right.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

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
    """Parts of the loss of one step (tensors with gradients), and counts to report."""

    parts: dict[str, Tensor]
    counts: dict[str, float]

    def total(self, weights: LossWeights) -> Tensor:
        """Return the weighted sum."""
        return torch.stack(
            [getattr(weights, name) * part for name, part in self.parts.items()]
        ).sum()


class AuxiliaryHeads(nn.Module):
    """Read-outs that exist during training only."""

    def __init__(
        self, width: int, kinds: int, colours: int, words: int, patch_features: int
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.kind = nn.Linear(width, kinds + 1)
        self.colour = nn.Linear(width, colours)
        self.offset = nn.Linear(width, 2)
        self.place_norm = nn.LayerNorm(width)
        self.place = nn.Linear(width, 2 * NUMBERS)
        self.spot = nn.Linear(width, 2 * NUMBERS)
        self.spell = nn.Linear(width, SLOTS * CLASSES)
        self.word = nn.Linear(width, words + 1)
        self.name_norm = nn.LayerNorm(width)
        self.letter_norm = nn.LayerNorm(patch_features)
        self.letters = nn.Linear(patch_features, CLASSES)
        self.sure = nn.Linear(width, 3)


@dataclass(frozen=True)
class VisionFeatures:
    """What a batch's pictures look like to the network.

    Attributes:
        features: [M, K, D], image embeddings.
        patches: [N, P, V], of the vision tower; None where the embeddings were computed before.
    """

    features: Tensor
    patches: Tensor | None


def look(model: Molmo, batch: Batch) -> VisionFeatures:
    """Run vision tower and connector, or take what was computed before."""
    if batch.features is not None:
        return VisionFeatures(batch.features, None)
    patches = model.vision(batch.crops)
    return VisionFeatures(model.connector(patches[batch.where], batch.masks), patches)


def image_features(model: Molmo, batch: Batch) -> Tensor:
    """Image embeddings [M, K, D] of a batch, computed now or before."""
    return look(model, batch).features


def dense_losses(heads: AuxiliaryHeads, seen: VisionFeatures, batch: Batch) -> Losses:
    """Compare what each image token shows with what the heads read off it."""
    features = seen.features
    at = batch.slots.reshape(-1)
    used = at >= 0
    at = at[used]
    x = heads.norm(features.reshape(-1, features.shape[-1])[used])
    kinds = batch.shows.view(-1)[at]
    logits = heads.kind(x).float()
    # Most tokens show background: at full weight it would drown the things.
    balance = torch.where(kinds == 0, 0.25, 1.0)
    kind = (F.cross_entropy(logits, kinds, reduction="none") * balance).sum() / balance.sum()
    shown = kinds > 0
    colours = batch.colours.view(-1)[at]
    coloured = colours >= 0
    zero = logits.sum() * 0
    colour = (
        F.cross_entropy(heads.colour(x[coloured]).float(), colours[coloured])
        if coloured.any()
        else zero
    )
    offset = (
        F.smooth_l1_loss(
            heads.offset(x[shown]).float(), batch.offsets.view(-1, 2)[at][shown], beta=0.2
        )
        if shown.any()
        else zero
    )
    spots = _spots(batch, features.shape[1])[used]
    inside = ((spots >= 0) & (spots <= 100)).all(-1)
    logs = heads.spot(x[inside]).float().unflatten(-1, (2, NUMBERS)).log_softmax(-1)
    soft = soft_numbers(spots[inside].reshape(-1), SPOT_SOFTNESS).view(-1, 2, NUMBERS)
    spot = -(soft * logs).sum(-1).mean()
    # The heads normalise what they read; nothing else would keep the embeddings from growing a thousandfold.
    level = features.float().square().mean(-1).clamp_min(1e-6).log() - 2 * math.log(TARGET_RMS)
    size = level.square().mean()
    right = logits.argmax(-1) == kinds
    counts = {
        "cells": float(shown.sum()),
        "cells_right": float((right & shown).sum()),
        "ground": float((~shown).sum()),
        "ground_right": float((right & ~shown).sum()),
    }
    spell, letter_counts = spell_loss(heads, x, batch.spells.view(-1, SLOTS)[at])
    word, word_counts = _word_loss(
        heads, x, batch.words.flatten(0, 1)[at], batch.shares.flatten(0, 1)[at]
    )
    parts = {
        "dense": kind + 0.3 * colour + 0.5 * offset + 0.05 * size,
        "spot": spot,
        "spell": spell,
        "word": word,
        "letters": _letter_loss(heads, seen, batch),
    }
    return Losses(parts, {**counts, **letter_counts, **word_counts})


def _word_loss(
    heads: AuxiliaryHeads, x: Tensor, words: Tensor, shares: Tensor
) -> tuple[Tensor, dict[str, float]]:
    """Compare the words that image tokens show with what the head reads off them.

    Args:
        x: [N, D], normalised.
        words: [N, WORDS] classes, negative where there are no more; 0 = a word that is not known.
        shares: [N, WORDS] float.
    """
    written = shares.sum(-1) > 0
    if not written.any():
        return x.sum() * 0, {}
    words, shares = words[written], shares[written]
    logs = heads.word(x[written]).float().log_softmax(-1)
    # Half of all words are unknown: at full weight their one class would drown the known ones.
    weights = shares * torch.where(words > 0, 1.0, UNKNOWN_WEIGHT)
    loss = -(weights * logs.gather(1, words.clamp_min(0))).sum() / weights.sum()
    guess = logs.argmax(-1)
    known = words[:, 0] > 0
    right = ((words == guess[:, None]) & (shares >= MIN_WORD_SHARE) & (words > 0)).any(-1)
    counts = {"words": float(known.sum()), "words_right": float((right & known).sum())}
    return loss, counts


def spell_loss(
    heads: AuxiliaryHeads, x: Tensor, spells: Tensor
) -> tuple[Tensor, dict[str, float]]:
    """Compare what is letter_targets with what should be.

    Args:
        x: [N, D], normalised.
        spells: [N, SLOTS] classes, negative in rows where nothing is written.
    """
    written = spells[:, 0] >= 0
    if not written.any():
        return x.sum() * 0, {}
    wanted = spells[written].reshape(-1)
    logits = heads.spell(x[written]).float().reshape(-1, CLASSES)
    loss = F.cross_entropy(logits, wanted)
    right = (logits.argmax(-1) == wanted) & (wanted > 0)
    return loss, {"letters": float((wanted > 0).sum()), "letters_right": float(right.sum())}


def _letter_loss(heads: AuxiliaryHeads, seen: VisionFeatures, batch: Batch) -> Tensor:
    """Every patch of a page says which letters have their middle in it."""
    if seen.patches is None or not batch.lettered.any():
        return seen.features.sum() * 0
    x = heads.letters(heads.letter_norm(seen.patches[batch.lettered])).float()
    wanted = batch.letters[batch.lettered].to(x.dtype)
    # A patch shows one or two of the letters: rarer than one in twenty, they count more.
    weight = 1 + 4 * wanted
    loss = F.binary_cross_entropy_with_logits(x, wanted, reduction="none")
    return (weight * loss).sum(-1).mean() / 4


def _spots(batch: Batch, tokens: int) -> Tensor:
    """[M * K, 2]: where in its crop the thing is that a token shows (the token itself for background), in percent.

    The decoder has only the order of the tokens to tell their places by; so the embeddings carry them.
    """
    side = round(tokens**0.5)
    cell = torch.arange(tokens, device=batch.slots.device)
    own = torch.stack([cell % side, cell // side], dim=-1) + 0.5
    offsets = batch.offsets.view(-1, 2)[batch.slots.clamp_min(0)]
    return ((own + offsets) * (100 / side)).reshape(-1, 2)


def soft_numbers(values: Tensor, softness: float) -> Tensor:
    """Return [N, NUMBERS] weights that sum to 1: a Gaussian around the whole part of each value.

    Token k stands for [k, k + 1), so its middle is k + 0.5; the token of the right whole part always has the highest weight.
    """
    middle = torch.arange(NUMBERS, device=values.device) + 0.5
    centre = values.floor().clamp(max=NUMBERS - 1) + 0.5
    return torch.softmax(-((middle - centre[:, None]) ** 2) / (2 * softness**2), dim=-1)
