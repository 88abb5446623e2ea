"""The tensors of one training step: what the model reads, and four groups of targets, one for each group of losses.

The questions about an image are packed behind it in one row. Each question attends to the image and to itself, never to another
question; its positions continue where the image ends.

Letters in shapes: B images (rows), T tokens of a padded row, N distinct crops of all images, M crops with repetitions, P
patches of a crop, K pooled patches (image tokens) of a crop, D model width. A "row index" points into the flattened [B * T]
tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TypeVar

import torch
from torch import Tensor

Group = TypeVar("Group", bound="TensorGroup")


@dataclass(frozen=True, eq=False)
class TensorGroup:
    """A dataclass of tensors; some may be None."""

    def to(self: Group, device: torch.device) -> Group:
        """Return the group on a device."""
        moved = {
            field.name: value.to(device)
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), Tensor | TensorGroup)
        }
        return replace(self, **moved)


@dataclass(frozen=True, eq=False)
class ModelInputs(TensorGroup):
    """What the model reads.

    Attributes:
        crops: [N, P, patch pixels] float32; ignored when `features` are given.
        crop_rows: [M] int64, index into `crops` for each crop that preprocessing makes.
        masks: [M, P] float32, share of a patch that is image, not padding.
        features: [M, K, D] image embeddings computed before, or None.
        token_slots: [M, K] int64, row index to which each image embedding is added; negative = none.
        ids: [B, T] int64.
        positions: [B, T] int64.
        segments: [B, T] int32: 0 = image, 1, 2, ... = questions, -1 = padding.
    """

    crops: Tensor
    crop_rows: Tensor
    masks: Tensor
    features: Tensor | None
    token_slots: Tensor
    ids: Tensor
    positions: Tensor
    segments: Tensor

    def row_lengths(self) -> list[tuple[int, int]]:
        """Return for each row its number of image tokens, and of all tokens without padding."""
        images, used = (self.segments == 0).sum(1), (self.segments >= 0).sum(1)
        return list(zip(images.tolist(), used.tolist(), strict=True))

    def attention_mask(self) -> Tensor:
        """Return [B, 1, T, T] bool: a token attends to the image and to earlier tokens of its own question."""
        segments = self.segments
        length = segments.shape[1]
        same = segments[:, :, None] == segments[:, None, :]
        image = (segments == 0)[:, None, :].expand_as(same)
        causal = torch.ones(length, length, dtype=torch.bool, device=segments.device).tril()
        return ((same | image) & causal)[:, None]


@dataclass(frozen=True, eq=False)
class ImageTargets(TensorGroup):
    """What each image token and each patch shows.

    Attributes:
        classes: [B, T] int64: 0 = background, kind + 1 = a thing of that kind, -1 = no image token.
        colours: [B, T] int64, colour class, -1 where there is none.
        offsets: [B, T, 2] float32, from the token's centre to that of the thing it shows, in token sides.
        points: [B, T, 2] float32, the point on that thing in percent of the image; NaN where there is no thing.
        label_letters: [B, T, SLOTS] int64, first letters of the label that a token shows; -1 where there is none.
        words: [B, T, WORDS] int64, classes of the words that a token shows; NO_WORD in unused places.
        word_areas: [B, T, WORDS] float32, share of each of these words in the token's text.
        patch_letters: [N, P, CLASSES] bool, letters whose middle lies in a patch.
        has_patch_letters: [N] bool, whether `patch_letters` of a crop are known.
    """

    classes: Tensor
    colours: Tensor
    offsets: Tensor
    points: Tensor
    label_letters: Tensor
    words: Tensor
    word_areas: Tensor
    patch_letters: Tensor
    has_patch_letters: Tensor


@dataclass(frozen=True, eq=False)
class AnswerTargets(TensorGroup):
    """What the decoder writes.

    Attributes:
        targets, weights, coordinates: [B, T], see `TargetSequence`.
        decision_rows: [questions] row indices of the tokens after which the answer begins: "none" or something.
        absent: [questions] bool, whether "none" is right.
        label_rows: [Q] row indices of the tokens that know the letters of the label that is asked for.
        label_letters: [Q, SLOTS] int64, these letters.
    """

    targets: Tensor
    weights: Tensor
    coordinates: Tensor
    decision_rows: Tensor
    absent: Tensor
    label_rows: Tensor
    label_letters: Tensor


@dataclass(frozen=True, eq=False)
class AttentionTargets(TensorGroup):
    """Where supervised attention heads look.

    Attributes:
        look_rows: [Q] row indices: before a coordinate, and at the end of a question.
        look_at: [Q, T] bool: the image tokens of what is asked for, or the first token where it is absent.
        read_rows: [R] row indices: the same tokens, and those that copy the query into the answer.
        read_at: [R, T] bool: the words of the query.
    """

    look_rows: Tensor
    look_at: Tensor
    read_rows: Tensor
    read_at: Tensor


@dataclass(frozen=True, eq=False)
class PointTargets(TensorGroup):
    """Points of answers and of hard negatives, for the confidence loss. K points.

    Attributes:
        rows: [K, 4] row indices: end of the question, the tokens before x and before y, last token of the point.
        boxes: [K, 4] float32, left, top, right, bottom in percent of the thing; NaN for a negative.
        other_columns: [K, NUMBERS] bool, whole percents of x covered by other things that were asked for, too.
        negative: [K] bool.
        judgeable: [K] bool, whether the box tells if the network's own point would be right: false for a negative to a question
            that has an answer.
    """

    rows: Tensor
    boxes: Tensor
    other_columns: Tensor
    negative: Tensor
    judgeable: Tensor


@dataclass(frozen=True, eq=False)
class Batch(TensorGroup):
    """Inputs and targets of one step."""

    inputs: ModelInputs
    image: ImageTargets
    answers: AnswerTargets
    attention: AttentionTargets
    points: PointTargets

    def with_features(self, features: Tensor) -> Batch:
        """Return the batch with image embeddings [M, K, D] that were computed before."""
        return replace(self, inputs=replace(self.inputs, features=features))
