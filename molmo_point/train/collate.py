"""Pack image samples and their target sequences into a `Batch`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from molmo_point.synthetic.letter_classes import SLOTS
from molmo_point.train.batches import (
    AnswerTargets,
    AttentionTargets,
    Batch,
    ImageTargets,
    PointTargets,
)
from molmo_point.train.pack_inputs import PackedInputs, Span, joined
from molmo_point.train.sample import NO_PATCH, ImageSample
from molmo_point.train.target_sequence import NO_TARGET, POINT_END, TargetSequence
from molmo_point.train.vocabulary import NUMBERS
from molmo_point.train.words import NO_WORD, WORDS

Array = NDArray[Any]
Shape = tuple[int, int]


def collate(samples: Sequence[tuple[ImageSample, Sequence[TargetSequence]]]) -> Batch:
    """Return the batch of some images, each with its questions; none for dense pretraining."""
    lengths = [len(s.prefix) + sum(len(a.ids) for a in answers) for s, answers in samples]
    shape = (len(samples), max(lengths))
    inputs, image = PackedInputs(shape), _Image(shape)
    answers, attention, points = _Answers(shape), _Attention(shape[1]), _Points()
    for row, (sample, sequences) in enumerate(samples):
        inputs.add_image(row, sample)
        image.add(row, sample)
        start = len(sample.prefix)
        for number, sequence in enumerate(sequences, start=1):
            span = Span(row, start, shape[1])
            inputs.add_question(span, number, sequence.ids)
            answers.add(span, sequence)
            attention.add(span, sample, sequence)
            points.add(span, sample, sequence)
            start += len(sequence.ids)
    return Batch(
        inputs.tensors(), image.tensors(), answers.tensors(), attention.tensors(), points.tensors()
    )


class _Image:
    def __init__(self, shape: Shape) -> None:
        self._classes = np.full(shape, -1, np.int64)
        self._colours = np.full(shape, -1, np.int64)
        self._offsets = np.zeros((*shape, 2), np.float32)
        self._points = np.full((*shape, 2), np.nan, np.float32)
        self._label_letters = np.full((*shape, SLOTS), -1, np.int64)
        self._words = np.full((*shape, WORDS), NO_WORD, np.int64)
        self._word_areas = np.zeros((*shape, WORDS), np.float32)
        self._samples: list[ImageSample] = []

    def add(self, row: int, sample: ImageSample) -> None:
        length = len(sample.prefix)
        self._classes[row, :length] = np.where(sample.token_things == NO_PATCH, -1, 0)
        tokens = np.nonzero(sample.token_things >= 0)[0]
        things = sample.token_things[tokens]
        self._classes[row, tokens] = sample.kinds[things] + 1
        self._colours[row, tokens] = sample.colours[things]
        self._points[row, tokens] = sample.points[things]
        self._label_letters[row, tokens] = sample.label_letters[things]
        self._offsets[row, :length] = sample.offsets
        self._words[row, :length] = sample.words
        self._word_areas[row, :length] = sample.word_areas
        self._samples.append(sample)

    def tensors(self) -> ImageTargets:
        return ImageTargets(
            classes=torch.from_numpy(self._classes),
            colours=torch.from_numpy(self._colours),
            offsets=torch.from_numpy(self._offsets),
            points=torch.from_numpy(self._points),
            label_letters=torch.from_numpy(self._label_letters),
            words=torch.from_numpy(self._words),
            word_areas=torch.from_numpy(self._word_areas),
            patch_letters=joined([sample.patch_letters for sample in self._samples]),
            has_patch_letters=joined([sample.has_patch_letters for sample in self._samples]),
        )


class _Answers:
    def __init__(self, shape: Shape) -> None:
        self._targets = np.full(shape, NO_TARGET, np.int64)
        self._weights = np.zeros(shape, np.float32)
        self._coordinates = np.full(shape, np.nan, np.float32)
        self._decision_rows: list[int] = []
        self._absent: list[bool] = []
        self._label_rows: list[int] = []
        self._label_letters: list[tuple[int, ...]] = []

    def add(self, span: Span, sequence: TargetSequence) -> None:
        cells = span.cells(len(sequence.ids))
        self._targets[cells] = sequence.targets
        self._weights[cells] = sequence.weights
        self._coordinates[cells] = sequence.coordinates
        if sequence.label_letters:
            self._label_rows += [span.index(position) for position, _ in sequence.looks]
            self._label_letters += [sequence.label_letters] * len(sequence.looks)
        if sequence.negative is None:
            self._decision_rows.append(span.index(sequence.looks[0][0]))
            self._absent.append(sequence.absent)

    def tensors(self) -> AnswerTargets:
        return AnswerTargets(
            targets=torch.from_numpy(self._targets),
            weights=torch.from_numpy(self._weights),
            coordinates=torch.from_numpy(self._coordinates),
            decision_rows=torch.tensor(self._decision_rows, dtype=torch.long),
            absent=torch.tensor(self._absent, dtype=torch.bool),
            label_rows=torch.tensor(self._label_rows, dtype=torch.long),
            label_letters=torch.tensor(self._label_letters, dtype=torch.long).view(-1, SLOTS),
        )


class _Attention:
    def __init__(self, width: int) -> None:
        self._width = width
        self._look_rows: list[int] = []
        self._look_at: list[Array] = []
        self._read_rows: list[int] = []
        self._read_at: list[Array] = []

    def add(self, span: Span, sample: ImageSample, sequence: TargetSequence) -> None:
        column = np.arange(self._width)
        first, end = (span.start + position for position in sequence.query_span)
        query = (column >= first) & (column < end)
        for position, things in sequence.looks:
            look_at = self._tokens(sample, things)
            if look_at.any():
                self._look_rows.append(span.index(position))
                self._look_at.append(look_at)
            self._read(span.index(position), query)
        for position, word in sequence.copies:
            self._read(span.index(position), column == span.start + word)

    def _tokens(self, sample: ImageSample, things: tuple[int, ...]) -> Array:
        """[T] bool: the image tokens that show one of the things; the first token, which shows nothing, where there are none."""
        tokens = np.zeros(self._width, bool)
        if things:
            tokens[: len(sample.prefix)] = np.isin(sample.token_things, things)
        else:
            tokens[0] = True
        return tokens

    def _read(self, row: int, words: Array) -> None:
        self._read_rows.append(row)
        self._read_at.append(words)

    def tensors(self) -> AttentionTargets:
        empty = np.zeros((0, self._width), bool)
        return AttentionTargets(
            look_rows=torch.tensor(self._look_rows, dtype=torch.long),
            look_at=torch.from_numpy(np.stack(self._look_at) if self._look_at else empty),
            read_rows=torch.tensor(self._read_rows, dtype=torch.long),
            read_at=torch.from_numpy(np.stack(self._read_at) if self._read_at else empty),
        )


class _Points:
    def __init__(self) -> None:
        self._rows: list[tuple[int, int, int, int]] = []
        self._boxes: list[Array] = []
        self._other_columns: list[Array] = []
        self._negative: list[bool] = []
        self._judgeable: list[bool] = []

    def add(self, span: Span, sample: ImageSample, sequence: TargetSequence) -> None:
        if sequence.negative is not None:
            self._append(span, sequence.negative)
            self._boxes.append(np.full(4, np.nan, np.float32))
            self._other_columns.append(np.zeros(NUMBERS, bool))
            self._negative.append(True)
            self._judgeable.append(sequence.absent)
            return
        (end, asked), *coordinates = sequence.looks
        for (x, (thing,)), (y, _) in zip(coordinates[::2], coordinates[1::2], strict=True):
            others = sample.boxes[[other for other in asked if other != thing]]
            self._append(span, (end, x, y))
            self._boxes.append(sample.boxes[thing])
            self._other_columns.append(_covered_percents(others[:, 0], others[:, 2]))
            self._negative.append(False)
            self._judgeable.append(True)

    def _append(self, span: Span, positions: tuple[int, int, int]) -> None:
        end, x, y = (span.index(position) for position in positions)
        self._rows.append((end, x, y, y + POINT_END))

    def tensors(self) -> PointTargets:
        columns = np.array(self._other_columns, bool).reshape(-1, NUMBERS)
        return PointTargets(
            rows=torch.tensor(self._rows, dtype=torch.long).view(-1, 4),
            boxes=torch.from_numpy(np.array(self._boxes, np.float32).reshape(-1, 4)),
            other_columns=torch.from_numpy(columns),
            negative=torch.tensor(self._negative, dtype=torch.bool),
            judgeable=torch.tensor(self._judgeable, dtype=torch.bool),
        )


def _covered_percents(starts: Array, ends: Array) -> Array:
    """[NUMBERS] bool: whole percents k, each standing for [k, k + 1), that overlap one of the intervals [starts, ends]."""
    number = np.arange(NUMBERS)[:, None]
    return np.asarray(((number + 1 > starts) & (number < ends)).any(1))
