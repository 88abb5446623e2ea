"""Several pictures with their questions as one batch of tensors.

The questions of a picture are packed behind it, blind to each other: each sees the picture and itself, and its positions go on
where the picture's end. Letters: B pictures, N crops of all of them, T tokens, Q coordinate or decision tokens that look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from molmo_point.synthetic.letter_classes import SLOTS
from molmo_point.train.sample import NO_PATCH, ImageSample
from molmo_point.train.target_sequence import BEHIND, NO_TARGET, TargetSequence
from molmo_point.train.vocabulary import NUMBERS
from molmo_point.train.words import NO_WORD, WORDS


@dataclass(frozen=True, eq=False)
class Batch:
    """Tensors of one step.

    Attributes:
        crops: [N, P, patch pixels] float32; empty when `features` are there.
        where: [M] int64, rows of `crops`, one for each crop with its mask.
        masks: [M, P] float32.
        features: [M, K, D], image embeddings computed before, or None.
        slots: [M, K] int64, where in the flattened [B * T] tokens a pooled patch is added; negative = nowhere.
        ids: [B, T] int64.
        positions: [B, T] int64.
        segments: [B, T] int32: 0 the picture, 1... its questions, -1 padding.
        shows: [B, T] int64: class of what an image token shows, 0 = background, kind + 1; -1 for other tokens.
        colours: [B, T] int64: colour class, -1 where there is none.
        offsets: [B, T, 2] float32, token to centre, in token sides.
        places: [B, T, 2] float32, centre of what a token shows, in percent; NaN where nothing.
        things: [B, T] int64, the thing shown (its index in its own picture), negative where none.
        spells: [B, T, SLOTS] int64, the first letters of what is written where an image token looks; -1 where nothing is.
        words: [B, T, WORDS] int64, classes of the words written where an image token looks; NO_WORD where there are no more.
        shares: [B, T, WORDS] float32, how much of the token's text each of them is.
        letters: [N, P, CLASSES] bool, which letters have their middle in a patch.
        lettered: [N] bool, whether that is known of a crop.
        targets, weights, values: [B, T], see `TargetSequence`.
        look_rows: [Q] int64, index into [B * T]: tokens whose attention is taught.
        look_at: [Q, T] bool: where they should look, in their own picture.
        read_rows: [R] int64, index into [B * T]: tokens that need the words of their question.
        read_at: [R, T] bool: which words.
        decisions: [Q'] int64, index into [B * T]: the tokens after which "none" or something is said.
        absent: [Q'] bool, whether "none" is right.
        spots: [K, 4] int64, index into [B * T]: of every point the question's end, the tokens that its x and its y are written
            after, and its last one.
        boxes: [K, 4] float32, left, top, right, bottom in percent of what each of them shows; NaN for a negative.
        elsewhere: [K, NUMBERS] bool, the whole numbers of x where something else lies that was asked for.
        negatives: [K] bool, whether the point is a negative.
        foreseen: [K] bool, whether it can be told what comes of the network's own point there: not of a negative, where there is
            something to point at.
        name_rows: [R'] int64, index into [B * T]: tokens that know how what is asked for is letter_targets.
        names: [R', SLOTS] int64, how.
    """

    crops: Tensor
    where: Tensor
    masks: Tensor
    features: Tensor | None
    slots: Tensor
    ids: Tensor
    positions: Tensor
    segments: Tensor
    shows: Tensor
    colours: Tensor
    offsets: Tensor
    places: Tensor
    things: Tensor
    spells: Tensor
    words: Tensor
    shares: Tensor
    letters: Tensor
    lettered: Tensor
    targets: Tensor
    weights: Tensor
    values: Tensor
    look_rows: Tensor
    look_at: Tensor
    read_rows: Tensor
    read_at: Tensor
    decisions: Tensor
    absent: Tensor
    spots: Tensor
    boxes: Tensor
    elsewhere: Tensor
    negatives: Tensor
    foreseen: Tensor
    name_rows: Tensor
    names: Tensor

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        moved = {
            field.name: value.to(device)
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return replace(self, **moved)

    def rows(self) -> list[tuple[int, int]]:
        """For each picture its tokens, and those with its questions; padding follows them."""
        pictures, used = (self.segments == 0).sum(1), (self.segments >= 0).sum(1)
        return list(zip(pictures.tolist(), used.tolist(), strict=True))

    def attention_mask(self) -> Tensor:
        """[B, 1, T, T] bool: a token sees the picture and what comes before it in its own question."""
        seg = self.segments
        length = seg.shape[1]
        same = seg[:, :, None] == seg[:, None, :]
        picture = (seg == 0)[:, None, :].expand_as(same)
        causal = torch.ones(length, length, dtype=torch.bool, device=seg.device).tril()
        return ((same | picture) & causal)[:, None]


def collate(samples: Sequence[tuple[ImageSample, Sequence[TargetSequence]]]) -> Batch:
    """Pack pictures and their answers.

    Args:
        samples: Pictures, each with its questions; questions may be missing altogether (dense pretraining).
    """
    lengths = [len(p.prefix) + sum(len(a.ids) for a in answers) for p, answers in samples]
    shape = (len(samples), max(lengths))
    rows = _Rows(shape)
    slots, where, crop_count = [], [], 0
    for row, (picture, answers) in enumerate(samples):
        rows.picture(row, picture)
        at = len(picture.prefix)
        for number, answer in enumerate(answers, start=1):
            at = rows.answer(row, number, at, picture, answer)
        slots.append(np.where(picture.token_at >= 0, picture.token_at + row * shape[1], -1))
        where.append(picture.where + crop_count)
        crop_count += len(picture.crops)
    return Batch(
        crops=torch.from_numpy(np.concatenate([p.crops for p, _ in samples])),
        where=torch.from_numpy(np.concatenate(where)).long(),
        masks=torch.from_numpy(np.concatenate([p.masks for p, _ in samples])),
        features=None,
        slots=torch.from_numpy(np.concatenate(slots)).long(),
        letters=torch.from_numpy(np.concatenate([p.letters for p, _ in samples])),
        lettered=torch.from_numpy(np.concatenate([p.lettered for p, _ in samples])),
        **rows.tensors(),
    )


class _Rows:
    """Arrays of a batch while they are filled."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.ids = np.zeros(shape, np.int64)
        self.positions = np.zeros(shape, np.int64)
        self.segments = np.full(shape, -1, np.int32)
        self.shows = np.full(shape, -1, np.int64)
        self.colours = np.full(shape, -1, np.int64)
        self.things = np.full(shape, NO_PATCH, np.int64)
        self.spells = np.full((*shape, SLOTS), -1, np.int64)
        self.words = np.full((*shape, WORDS), NO_WORD, np.int64)
        self.shares = np.zeros((*shape, WORDS), np.float32)
        self.offsets = np.zeros((*shape, 2), np.float32)
        self.places = np.full((*shape, 2), np.nan, np.float32)
        self.targets = np.full(shape, NO_TARGET, np.int64)
        self.weights = np.zeros(shape, np.float32)
        self.values = np.full(shape, np.nan, np.float32)
        self.look_rows: list[int] = []
        self.look_at: list[np.ndarray[Any, Any]] = []
        self.read_rows: list[int] = []
        self.read_at: list[np.ndarray[Any, Any]] = []
        self.decisions: list[int] = []
        self.absent: list[bool] = []
        self.spots: list[tuple[int, int, int, int]] = []
        self.negatives: list[bool] = []
        self.foreseen: list[bool] = []
        self.boxes: list[np.ndarray[Any, Any]] = []
        self.elsewhere: list[np.ndarray[Any, Any]] = []
        self.name_rows: list[int] = []
        self.names: list[tuple[int, ...]] = []

    def picture(self, row: int, picture: ImageSample) -> None:
        length = len(picture.prefix)
        self.ids[row, :length] = picture.prefix
        self.positions[row, :length] = np.arange(length)
        self.segments[row, :length] = 0
        self.things[row, :length] = picture.shows
        self.shows[row, :length] = np.where(picture.shows == NO_PATCH, -1, 0)
        seen = np.nonzero(picture.shows >= 0)[0]
        shown = picture.shows[seen]
        self.shows[row, seen] = picture.kinds[shown] + 1
        self.colours[row, seen] = picture.colours[shown]
        self.places[row, seen] = picture.points[shown]
        self.spells[row, seen] = picture.spells[shown]
        self.offsets[row, :length] = picture.offsets
        self.words[row, :length] = picture.words
        self.shares[row, :length] = picture.shares

    def answer(
        self, row: int, number: int, at: int, picture: ImageSample, answer: TargetSequence
    ) -> int:
        """Append an answer at column `at`; return the column behind it."""
        end = at + len(answer.ids)
        start = len(picture.prefix)
        self.ids[row, at:end] = answer.ids
        self.positions[row, at:end] = start + np.arange(len(answer.ids))
        self.segments[row, at:end] = number
        self.targets[row, at:end] = answer.targets
        self.weights[row, at:end] = answer.weights
        self.values[row, at:end] = answer.values
        width = self.ids.shape[1]
        column = np.arange(width)
        asked = (column >= at + answer.asked[0]) & (column < at + answer.asked[1])
        for position, things in answer.looks:
            seen = np.isin(self.things[row], np.array(things, np.int64)) if things else None
            if seen is None:
                # None is there: look at the very first token, which shows nothing.
                seen = column == 0
            if seen.any():
                self.look_rows.append(row * width + at + position)
                self.look_at.append(seen)
            self._reads(row * width + at + position, asked)
            if answer.name:
                self.name_rows.append(row * width + at + position)
                self.names.append(answer.name)
        for position, word in answer.copies:
            self._reads(row * width + at + position, column == at + word)
        if answer.negative is None:
            self.decisions.append(row * width + at + answer.looks[0][0])
            self.absent.append(answer.absent)
        self._points(row * width + at, picture, answer)
        return end

    def _points(self, at: int, picture: ImageSample, answer: TargetSequence) -> None:
        if answer.negative is not None:
            nothing = np.full(4, np.nan, np.float32), np.zeros(NUMBERS, bool)
            self._point(at, answer.negative, *nothing, negative=True, foreseen=answer.absent)
            return
        (end, asked), *places = answer.looks
        for (x, (thing,)), (y, _) in zip(places[::2], places[1::2], strict=True):
            others = picture.boxes[[other for other in asked if other != thing]]
            elsewhere = _covered(others[:, 0], others[:, 2])
            self._point(
                at, (end, x, y), picture.boxes[thing], elsewhere, negative=False, foreseen=True
            )

    def _point(
        self,
        at: int,
        places: tuple[int, int, int],
        box: np.ndarray[Any, Any],
        elsewhere: np.ndarray[Any, Any],
        *,
        negative: bool,
        foreseen: bool,
    ) -> None:
        end, x, y = places
        self.spots.append((at + end, at + x, at + y, at + y + BEHIND))
        self.boxes.append(box)
        self.elsewhere.append(elsewhere)
        self.negatives.append(negative)
        self.foreseen.append(foreseen)

    def _reads(self, place: int, words: np.ndarray[Any, Any]) -> None:
        self.read_rows.append(place)
        self.read_at.append(words)

    def tensors(self) -> dict[str, Tensor]:
        names = "ids positions segments shows colours offsets places things spells words shares targets weights values"
        out = {name: torch.from_numpy(getattr(self, name)) for name in names.split()}
        width = self.ids.shape[1]
        none = np.zeros((0, width), bool)
        return {
            **out,
            "look_rows": torch.tensor(self.look_rows, dtype=torch.long),
            "look_at": torch.from_numpy(np.stack(self.look_at) if self.look_at else none),
            "read_rows": torch.tensor(self.read_rows, dtype=torch.long),
            "read_at": torch.from_numpy(np.stack(self.read_at) if self.read_at else none),
            "decisions": torch.tensor(self.decisions, dtype=torch.long),
            "absent": torch.tensor(self.absent, dtype=torch.bool),
            "spots": torch.tensor(self.spots, dtype=torch.long).view(-1, 4),
            "negatives": torch.tensor(self.negatives, dtype=torch.bool),
            "foreseen": torch.tensor(self.foreseen, dtype=torch.bool),
            "boxes": torch.from_numpy(np.array(self.boxes, np.float32).reshape(-1, 4)),
            "elsewhere": torch.from_numpy(np.array(self.elsewhere, bool).reshape(-1, NUMBERS)),
            "name_rows": torch.tensor(self.name_rows, dtype=torch.long),
            "names": torch.tensor(self.names, dtype=torch.long).view(-1, SLOTS),
        }


def _covered(starts: np.ndarray[Any, Any], ends: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """[NUMBERS] bool: the whole percents that lie in one of the intervals [n], [n]; a token k stands for [k, k + 1)."""
    number = np.arange(NUMBERS)[:, None]
    return np.asarray(((number + 1 > starts) & (number < ends)).any(1))
