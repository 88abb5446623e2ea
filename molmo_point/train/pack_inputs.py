"""Images and the questions packed behind them as `ModelInputs`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molmo_point.preprocess.arrays import Floats, Ints
from molmo_point.train.batches import ModelInputs

Array = NDArray[Any]
Shape = tuple[int, int]


class PreparedImage(Protocol):
    """An image cut into crops; the attributes are those of `ImageSample`."""

    @property
    def crops(self) -> Floats:
        """[n, P, patch pixels]."""

    @property
    def crop_rows(self) -> Ints:
        """[m], index into `crops` for each crop that preprocessing makes."""

    @property
    def masks(self) -> Floats:
        """[m, P]."""

    @property
    def token_slots(self) -> Ints:
        """[m, K], position in `prefix` of each pooled patch, negative where no token shows it."""

    @property
    def prefix(self) -> Ints:
        """[F] token ids."""


@dataclass(frozen=True)
class Span:
    """Where a question with its answer stands: its row, its first column, and the width of a row."""

    row: int
    start: int
    width: int

    def index(self, position: int) -> int:
        """Return the row index of a position of the sequence."""
        return self.row * self.width + self.start + position

    def cells(self, length: int) -> tuple[int, slice]:
        """Return the index of the sequence's `length` tokens in a [B, T] array."""
        return self.row, slice(self.start, self.start + length)


class PackedInputs:
    """Collects the model inputs of a batch; shape: rows and tokens of the longest row."""

    def __init__(self, shape: Shape) -> None:
        self._ids = np.zeros(shape, np.int64)
        self._positions = np.zeros(shape, np.int64)
        self._segments = np.full(shape, -1, np.int32)
        self._samples: list[PreparedImage] = []
        self._slots: list[Array] = []
        self._crop_rows: list[Array] = []
        self._crops = 0

    def add_image(self, row: int, sample: PreparedImage) -> None:
        """Put an image at the start of a row."""
        length, width = len(sample.prefix), self._ids.shape[1]
        self._ids[row, :length] = sample.prefix
        self._positions[row, :length] = np.arange(length)
        self._segments[row, :length] = 0
        slots = sample.token_slots
        self._slots.append(np.where(slots >= 0, slots + row * width, -1))
        self._crop_rows.append(sample.crop_rows + self._crops)
        self._crops += len(sample.crops)
        self._samples.append(sample)

    def add_question(self, span: Span, number: int, ids: Array) -> None:
        """Put question `number`, from 1, with its answer behind the image of its row."""
        cells = span.cells(len(ids))
        self._ids[cells] = ids
        image_end = len(self._samples[span.row].prefix)
        self._positions[cells] = image_end + np.arange(len(ids))
        self._segments[cells] = number

    def tensors(self) -> ModelInputs:
        """Return the inputs."""
        return ModelInputs(
            crops=joined([sample.crops for sample in self._samples]),
            crop_rows=joined(self._crop_rows).long(),
            masks=joined([sample.masks for sample in self._samples]),
            features=None,
            token_slots=joined(self._slots).long(),
            ids=torch.from_numpy(self._ids),
            positions=torch.from_numpy(self._positions),
            segments=torch.from_numpy(self._segments),
        )


def joined(arrays: Sequence[Array]) -> Tensor:
    """Return the arrays one behind the other."""
    return torch.from_numpy(np.concatenate(arrays))
