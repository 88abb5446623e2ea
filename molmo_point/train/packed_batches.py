"""Labelled items as packed sequences: an image, and behind it questions with their answers that do not see each other.

Which images and questions a step holds, and how they are worded, follows from its number alone. Letters: B rows, T tokens.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from molmo_point.checkpoints.config import PreprocessConfig
from molmo_point.datasets import LabelledItem
from molmo_point.images import load_image
from molmo_point.preprocess.arrays import Floats, Ints
from molmo_point.preprocess.crops import crop_image
from molmo_point.preprocess.inputs import image_prefix
from molmo_point.preprocess.tokenizer import Tokenizer
from molmo_point.train.answered_question import QuestionWriter, WrittenQuestion
from molmo_point.train.batches import ModelInputs, TensorGroup
from molmo_point.train.data_loader import LoadedBatch
from molmo_point.train.finetune_recipe import FinetuneRecipe
from molmo_point.train.pack_inputs import PackedInputs, Span
from molmo_point.train.target_sequence import NO_TARGET


@dataclass(frozen=True, eq=False)
class CroppedImage:
    """An image as the network takes it; see `ImageSample`."""

    crops: Floats
    crop_rows: Ints
    masks: Floats
    token_slots: Ints
    prefix: Ints


@dataclass(frozen=True, eq=False)
class PackedBatch(TensorGroup):
    """Rows of one forward pass.

    Attributes:
        inputs: What the model reads.
        targets: [B, T] int64, the id to predict after each token, or NO_TARGET.
        weights: [B, T] float32, weight of that prediction in the loss.
    """

    inputs: ModelInputs
    targets: Tensor
    weights: Tensor


@dataclass(frozen=True)
class StepBatch:
    """The rows of one optimizer step, in the parts of its forward passes; `weight` is the sum of all their weights."""

    parts: tuple[PackedBatch, ...]
    weight: float


Row = tuple[CroppedImage, Sequence[WrittenQuestion]]

Images = Sequence["tuple[Path | bytes, Sequence[LabelledItem]]"]
"""Images, each with its questions."""


def crop(image: Path | bytes, config: PreprocessConfig, tokenizer: Tokenizer) -> CroppedImage:
    """Cut an image into crops.

    Raises:
        ImageError: It cannot be read.
    """
    cut = crop_image(load_image(image), config)
    prefix = image_prefix(cut, config, tokenizer.special)
    same = cut.grid == (1, 1) and np.array_equal(cut.crops[0], cut.crops[1])
    rows = np.zeros(2, np.int32) if same else np.arange(len(cut.crops), dtype=np.int32)
    crops = cut.crops[:1] if same else cut.crops
    return CroppedImage(crops, rows, cut.masks, prefix.image_input_idx, prefix.input_ids)


def pack(rows: Sequence[Row]) -> PackedBatch:
    """Return rows as tensors. Each weight of a row with n questions is multiplied by n^-0.5, as in Molmo's training."""
    lengths = [len(image.prefix) + sum(len(q.ids) for q in questions) for image, questions in rows]
    shape = (len(rows), max(lengths))
    inputs = PackedInputs(shape)
    targets = np.full(shape, NO_TARGET, np.int64)
    weights = np.zeros(shape, np.float32)
    for row, (image, questions) in enumerate(rows):
        inputs.add_image(row, image)
        start = len(image.prefix)
        for number, question in enumerate(questions, start=1):
            span = Span(row, start, shape[1])
            inputs.add_question(span, number, question.ids)
            cells = span.cells(len(question.ids))
            targets[cells] = question.targets
            weights[cells] = (question.targets != NO_TARGET) * len(questions) ** -0.5
            start += len(question.ids)
    return PackedBatch(inputs.tensors(), torch.from_numpy(targets), torch.from_numpy(weights))


class LabelledBatches:
    """Makes the batches of labelled items; see `BatchSource`.

    Args:
        mixtures: Sets of items with their weights in the mixture.
        folder: Holds tokenizer.json; a path, because each worker opens it.
        shuffled: Draw order and wording of training; else everything in order, in the plain wording.
        rank, world: This process's number, and that of all processes: each takes its share of a batch.
    """

    def __init__(
        self,
        mixtures: Sequence[tuple[Sequence[LabelledItem], float]],
        recipe: FinetuneRecipe,
        folder: Path,
        config: PreprocessConfig,
        *,
        shuffled: bool = True,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self._sets = [_by_image(items) for items, _ in mixtures]
        self._bounds = np.cumsum([weight for _, weight in mixtures])
        self._recipe = recipe
        self._config = config
        self._tokenizer = Tokenizer(folder)
        self._writer = QuestionWriter(self._tokenizer, recipe)
        self._shuffled = shuffled
        self._rank, self._world = rank, world

    @property
    def images(self) -> int:
        """Number of images of all sets."""
        return sum(len(images) for images in self._sets)

    def close(self) -> None:
        """There is nothing to release."""

    def batch(self, number: int) -> LoadedBatch[StepBatch]:
        """Return batch `number`. An image that cannot be read is left out and counted."""
        started = time.process_time()
        size = self._recipe.batch
        rows: list[Row] = []
        failed, reason = 0, ""
        for position in range(number * size + self._rank, (number + 1) * size, self._world):
            try:
                rows.append(self._row(position))
            except Exception as error:  # no failure of one image may end hours of training
                failed, reason = failed + 1, f"{type(error).__name__}: {error}"
        step = self._step(rows) if rows else None
        in_worker = torch.utils.data.get_worker_info() is not None
        cpu_s = time.process_time() - started if in_worker else 0.0
        return LoadedBatch(step, len(rows), failed, reason, cpu_s)

    def all_batches(self) -> Iterator[StepBatch]:
        """Yield every image once, in batches of this process."""
        for number in range(-(-self.images // self._recipe.batch)):
            step = self.batch(number).batch
            if step is not None:
                yield step

    def _step(self, rows: Sequence[Row]) -> StepBatch:
        micro = self._recipe.micro_batch
        parts = tuple(pack(rows[at : at + micro]) for at in range(0, len(rows), micro))
        return StepBatch(parts, float(sum(part.weights.sum() for part in parts)))

    def _row(self, position: int) -> Row:
        """Return image `position` of the endless sequence of training images, with its questions."""
        rng = np.random.default_rng([self._recipe.seed, position])
        images, index = self._choose(position, rng)
        image, items = images[index]
        cropped = crop(image, self._config, self._tokenizer)
        asked = list(items)
        if self._recipe.absent:
            asked += self._writer.absent(image, items, images, rng, self._recipe.absent)
        if self._shuffled:
            asked = [asked[at] for at in rng.permutation(len(asked))]
        questions: list[WrittenQuestion] = []
        room = self._recipe.max_tokens - len(cropped.prefix)
        for item in asked[: self._recipe.questions]:
            question = self._writer.write(item, rng, plain=not self._shuffled)
            if len(question.ids) <= room:
                questions.append(question)
                room -= len(question.ids)
        if not questions:
            raise ValueError(
                f"{items[0].source}: image and question have more than {self._recipe.max_tokens} tokens"
            )
        return cropped, questions

    def _choose(self, position: int, rng: np.random.Generator) -> tuple[Images, int]:
        """Return a set and the number of an image in it: epoch after epoch of a single set, at random from a mixture."""
        if len(self._sets) == 1:
            images = self._sets[0]
            epoch, index = divmod(position, len(images))
            if not self._shuffled:
                return images, index
            order = np.random.default_rng([self._recipe.seed, epoch, 1]).permutation(len(images))
            return images, int(order[index])
        if not self._shuffled:
            index = position % self.images
            for images in self._sets:
                if index < len(images):
                    return images, index
                index -= len(images)
        draw = rng.random() * self._bounds[-1]
        images = self._sets[int(np.searchsorted(self._bounds, draw, side="right"))]
        return images, int(rng.integers(len(images)))


def _by_image(items: Sequence[LabelledItem]) -> Images:
    grouped: dict[Path | bytes, list[LabelledItem]] = {}
    for item in items:
        grouped.setdefault(item.image, []).append(item)
    return list(grouped.items())
