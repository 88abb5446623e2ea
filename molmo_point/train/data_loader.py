"""Batches in order, made in worker processes; the number of a batch alone decides what it holds."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Generic, Protocol, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from molmo_point.errors import PointError

WORKER_TIMEOUT_S = 300.0
"""A batch takes a second or two to make; a worker that is silent for this long is dead or stuck."""

Made = TypeVar("Made", covariant=True)


class TrainingStopped(PointError):
    """Training cannot continue; the message holds the cause, and the state saved before stays whole."""

    kind = "training_stopped"


@dataclass(frozen=True)
class LoadedBatch(Generic[Made]):
    """A batch from a worker.

    Attributes:
        batch: None if every image of it failed.
        images: How many it holds.
        skipped: How many failed.
        reason: The last failure, or "".
        cpu_s: CPU-seconds that making it took in another process; 0 when made in this one.
    """

    batch: Made | None
    images: int
    skipped: int
    reason: str
    cpu_s: float


class BatchSource(Protocol[Made]):
    """Makes batches by their number."""

    def batch(self, number: int) -> LoadedBatch[Made]:
        """Return batch `number`, always the same one."""

    def close(self) -> None:
        """Release what making batches took."""


class _BatchDataset(Dataset[LoadedBatch[Made]]):
    def __init__(self, source: BatchSource[Made]) -> None:
        self._source = source

    def __getitem__(self, number: int) -> LoadedBatch[Made]:
        return self._source.batch(number)


def load_batches(
    source: BatchSource[Made], first: int, workers: int
) -> Iterator[LoadedBatch[Made]]:
    """Yield batches without end from number `first`.

    Args:
        workers: Processes that make batches; 0 makes them in this one.

    Raises:
        TrainingStopped: A worker died or hangs.
    """
    loader = DataLoader(
        _BatchDataset(source),
        batch_size=None,
        sampler=_Counting(first),
        num_workers=workers,
        prefetch_factor=2 if workers else None,
        timeout=WORKER_TIMEOUT_S if workers else 0,
        worker_init_fn=_ignore_first_sigterm,
    )
    try:
        yield from loader
    except RuntimeError as error:
        if "DataLoader" in str(error):
            raise TrainingStopped(
                f"a process that makes batches died: {error}; run the command again to resume from the saved state"
            ) from error
        raise
    finally:
        source.close()


def _ignore_first_sigterm(_worker: int) -> None:
    """A service manager sends SIGTERM to every process; the training process saves its state first, and then ends its workers."""

    def ignore_once(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, ignore_once)


class _Counting(torch.utils.data.Sampler[int]):
    """first, first + 1, ... without end."""

    def __init__(self, first: int) -> None:
        self._first = first

    def __iter__(self) -> Iterator[int]:
        number = self._first
        while True:
            yield number
            number += 1
