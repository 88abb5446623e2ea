"""Dense supervision of image tokens and patches, with heads that exist during training only and are never in a checkpoint.

Letters in shapes: M crops, K image tokens of a crop, N image tokens that are used, D model width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from molmo_point.model.molmo import Molmo
from molmo_point.synthetic.letter_classes import CLASSES, SLOTS
from molmo_point.train.batches import Batch, ImageTargets, ModelInputs
from molmo_point.train.losses import Losses, soft_numbers
from molmo_point.train.vocabulary import NUMBERS

TARGET_RMS = 0.6
"""Root mean square that image embeddings are held near; those of words begin with 0.3."""

BACKGROUND_WEIGHT = 0.25
"""Weight of a background token relative to one that shows a thing: most tokens are background and would dominate the loss."""

UNKNOWN_WEIGHT = 0.2
"""Weight of a word without a class of its own relative to one that has a class: half of all words share that one class."""

LETTER_WEIGHT = 5.0
"""Weight of a letter that a patch shows relative to one that it does not: fewer than one in twenty are shown."""

MIN_WORD_SHARE = 0.25
"""Share of a token's text that a word needs to count as right in the log."""

SPOT_SOFTNESS = 2.0
"""Standard deviation, in percent of a crop, of the soft labels of positions within a crop."""


class AuxiliaryHeads(nn.Module):
    """Linear read-outs. The names of the parts are keys of the training state."""

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
    """The images of a batch as the network encodes them.

    Attributes:
        features: [M, K, D], image embeddings.
        patches: [crops, P, V], output of the vision tower; None where the embeddings were computed before.
    """

    features: Tensor
    patches: Tensor | None


def encode_images(model: Molmo, inputs: ModelInputs) -> VisionFeatures:
    """Run vision tower and connector, or take the features that the inputs hold."""
    if inputs.features is not None:
        return VisionFeatures(inputs.features, None)
    patches = model.vision(inputs.crops)
    return VisionFeatures(model.connector(patches[inputs.crop_rows], inputs.masks), patches)


def embed_inputs(model: Molmo, features: Tensor, inputs: ModelInputs) -> Tensor:
    """Return the decoder's input [B, T, D]: token embeddings, with image embeddings [M, K, D] added where image tokens stand."""
    x = model.decoder.embedding(inputs.ids.reshape(-1))
    slots = inputs.token_slots.reshape(-1)
    used = slots >= 0
    added = features.reshape(-1, features.shape[-1])[used].to(x.dtype)
    return x.index_add(0, slots[used], added).view(*inputs.ids.shape, -1)


def dense_losses(heads: AuxiliaryHeads, vision: VisionFeatures, batch: Batch) -> Losses:
    """Return the losses of what image tokens and patches show."""
    features = vision.features
    rows = batch.inputs.token_slots.reshape(-1)
    used = rows >= 0
    tokens = _TokenTargets.of(batch.image, rows[used])
    x = heads.norm(features.reshape(-1, features.shape[-1])[used])
    thing, counts = _thing_loss(heads, x, tokens)
    spots = _spots(batch, features.shape[1])[used]
    spell, letter_counts = spell_loss(heads, x, tokens.label_letters)
    word, word_counts = _word_loss(heads, x, tokens)
    parts = {
        "dense": thing + 0.05 * _size_loss(features),
        "spot": _spot_loss(heads, x, spots),
        "spell": spell,
        "word": word,
        "letters": _letter_loss(heads, vision, batch.image),
    }
    return Losses(parts, {**counts, **letter_counts, **word_counts})


@dataclass(frozen=True, eq=False)
class _TokenTargets:
    """`ImageTargets` of the N image tokens that are used; see there."""

    classes: Tensor
    colours: Tensor
    offsets: Tensor
    label_letters: Tensor
    words: Tensor
    word_areas: Tensor

    @staticmethod
    def of(image: ImageTargets, rows: Tensor) -> _TokenTargets:
        return _TokenTargets(
            image.classes.view(-1)[rows],
            image.colours.view(-1)[rows],
            image.offsets.view(-1, 2)[rows],
            image.label_letters.view(-1, SLOTS)[rows],
            image.words.flatten(0, 1)[rows],
            image.word_areas.flatten(0, 1)[rows],
        )


def _thing_loss(
    heads: AuxiliaryHeads, x: Tensor, tokens: _TokenTargets
) -> tuple[Tensor, dict[str, float]]:
    """Class, colour and centre of what tokens show. x: [N, D], normalised."""
    logits = heads.kind(x).float()
    balance = torch.where(tokens.classes == 0, BACKGROUND_WEIGHT, 1.0)
    kind = F.cross_entropy(logits, tokens.classes, reduction="none") * balance
    shown = tokens.classes > 0
    coloured = tokens.colours >= 0
    colour = offset = logits.sum() * 0
    if coloured.any():
        colour = F.cross_entropy(heads.colour(x[coloured]).float(), tokens.colours[coloured])
    if shown.any():
        offset = F.smooth_l1_loss(heads.offset(x[shown]).float(), tokens.offsets[shown], beta=0.2)
    right = logits.argmax(-1) == tokens.classes
    counts = {
        "cells": float(shown.sum()),
        "cells_right": float((right & shown).sum()),
        "ground": float((~shown).sum()),
        "ground_right": float((right & ~shown).sum()),
    }
    return kind.sum() / balance.sum() + 0.3 * colour + 0.5 * offset, counts


def _size_loss(features: Tensor) -> Tensor:
    """Hold the embeddings near TARGET_RMS: the heads normalise their input, so nothing else keeps them from growing."""
    level = features.float().square().mean(-1).clamp_min(1e-6).log() - 2 * math.log(TARGET_RMS)
    return level.square().mean()


def _spot_loss(heads: AuxiliaryHeads, x: Tensor, spots: Tensor) -> Tensor:
    """Position of a thing within its crop, x: [N, D], spots: [N, 2] in percent of the crop; things outside it are left out."""
    inside = ((spots >= 0) & (spots <= 100)).all(-1)
    logs = heads.spot(x[inside]).float().unflatten(-1, (2, NUMBERS)).log_softmax(-1)
    soft = soft_numbers(spots[inside].reshape(-1), SPOT_SOFTNESS).view(-1, 2, NUMBERS)
    return -(soft * logs).sum(-1).mean()


def _word_loss(
    heads: AuxiliaryHeads, x: Tensor, tokens: _TokenTargets
) -> tuple[Tensor, dict[str, float]]:
    """Words that tokens show. x: [N, D], normalised."""
    written = tokens.word_areas.sum(-1) > 0
    if not written.any():
        return x.sum() * 0, {}
    words, areas = tokens.words[written], tokens.word_areas[written]
    logs = heads.word(x[written]).float().log_softmax(-1)
    weights = areas * torch.where(words > 0, 1.0, UNKNOWN_WEIGHT)
    loss = -(weights * logs.gather(1, words.clamp_min(0))).sum() / weights.sum()
    guess = logs.argmax(-1)
    known = words[:, 0] > 0
    right = ((words == guess[:, None]) & (areas >= MIN_WORD_SHARE) & (words > 0)).any(-1)
    counts = {"words": float(known.sum()), "words_right": float((right & known).sum())}
    return loss, counts


def spell_loss(
    heads: AuxiliaryHeads, x: Tensor, letters: Tensor
) -> tuple[Tensor, dict[str, float]]:
    """Cross entropy of the first letters of labels.

    Args:
        x: [N, D], normalised.
        letters: [N, SLOTS] classes, -1 in rows without a label.
    """
    written = letters[:, 0] >= 0
    if not written.any():
        return x.sum() * 0, {}
    targets = letters[written].reshape(-1)
    logits = heads.spell(x[written]).float().reshape(-1, CLASSES)
    loss = F.cross_entropy(logits, targets)
    right = (logits.argmax(-1) == targets) & (targets > 0)
    return loss, {"letters": float((targets > 0).sum()), "letters_right": float(right.sum())}


def _letter_loss(heads: AuxiliaryHeads, vision: VisionFeatures, image: ImageTargets) -> Tensor:
    """Letters whose middle lies in a patch, read from the vision tower."""
    known = image.has_patch_letters
    if vision.patches is None or not known.any():
        return vision.features.sum() * 0
    logits = heads.letters(heads.letter_norm(vision.patches[known])).float()
    targets = image.patch_letters[known].to(logits.dtype)
    weight = 1 + (LETTER_WEIGHT - 1) * targets
    loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (weight * loss).sum(-1).mean() / 4


def _spots(batch: Batch, tokens: int) -> Tensor:
    """[M * K, 2]: position within its crop, in percent, of the thing that a token shows; of the token itself for background.

    The decoder knows positions by the order of tokens only, so the embeddings carry them.
    """
    side = round(tokens**0.5)
    slots = batch.inputs.token_slots
    cell = torch.arange(tokens, device=slots.device)
    own = torch.stack([cell % side, cell // side], dim=-1) + 0.5
    offsets = batch.image.offsets.view(-1, 2)[slots.clamp_min(0)]
    return ((own + offsets) * (100 / side)).reshape(-1, 2)
