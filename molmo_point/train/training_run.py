"""The training loop: step by step, saved often, resumed exactly. What a kind of run trains on, and how, is its subclass."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from molmo_point.train.data_loader import LoadedBatch, TrainingStopped
from molmo_point.train.event_file import EventFile
from molmo_point.train.losses import Losses
from molmo_point.train.progress import Progress, append_log
from molmo_point.train.schedule import CpuClock
from molmo_point.train.state import TrainPosition, save_state
from molmo_point.wording import counted

B = TypeVar("B")

MAX_SKIPPED = 0.2
"""A run stops when more than this share of its images fails."""

MIN_SKIPPED = 20
"""Failures that never stop a run."""

CLIPPED_NORM = 1.0
"""Largest norm of a gradient."""


class TrainingRun(ABC, Generic[B]):
    """A training run: owns the network, the optimizer and the position.

    Args:
        precision: "bfloat16" computes matrix products in bfloat16; weights, optimizer and losses stay float32.
        save_every_s: Seconds between two saved states.
        tensorboard: Also write losses, rates and evaluations for TensorBoard.
    """

    def __init__(
        self,
        folder: Path,
        position: TrainPosition,
        device: torch.device,
        progress: Progress,
        *,
        precision: str,
        save_every_s: float,
        tensorboard: bool = False,
    ) -> None:
        self.folder = folder
        self.position = position
        self.optimizer: torch.optim.Optimizer | None = None
        self._device = device
        self._progress = progress
        self._precise = precision != "bfloat16"
        self._save_every_s = save_every_s
        self._last_save = time.monotonic()
        self._events = EventFile(folder, self.images_seen) if tensorboard else None

    @property
    def images_seen(self) -> int:
        """Images trained on, in all stages."""
        return self.position.samples + sum(self.position.finished_samples)

    @abstractmethod
    def modules(self) -> dict[str, nn.Module]:
        """Return the modules whose parameters are part of the state."""

    @abstractmethod
    def used_share(self) -> float:
        """Return the used share of the budget; 1 or more ends the stage."""

    @abstractmethod
    def rate_scale(self, group: dict[str, Any]) -> float:
        """Return the learning rate of a group of parameters as a share of its peak."""

    @abstractmethod
    def losses_of(self, batch: B) -> Iterator[tuple[Losses, Tensor]]:
        """Yield the losses of each part of a batch, and the scalar whose gradient is taken."""

    @abstractmethod
    def report(self, losses: Sequence[Losses], images: int) -> None:
        """Report a step."""

    @abstractmethod
    def evaluate_when_due(self) -> None:
        """Evaluate and write a checkpoint, if it is time."""

    def clipped_groups(self, optimizer: torch.optim.Optimizer) -> list[list[nn.Parameter]]:
        """Return the groups of parameters whose gradients are clipped together."""
        return [[p for group in optimizer.param_groups for p in group["params"]]]

    def where(self) -> str:
        """Return the position in words, for messages."""
        return f"step {self.position.batch}"

    def autocast(self) -> torch.autocast:
        """Return the context of the run's precision."""
        return torch.autocast(self._device.type, torch.bfloat16, enabled=not self._precise)

    def save(self) -> None:
        """Write the state."""
        save_state(
            self.folder, self.position, self.modules(), self.optimizer, writes=self.writes_files
        )
        if self._events is not None:
            self._events.flush()

    @property
    def writes_files(self) -> bool:
        """Whether this process writes the files of the run; of several the first one does."""
        return True

    def log(self, row: Mapping[str, object]) -> None:
        """Append the numbers of an evaluation to log.jsonl, and to what TensorBoard reads."""
        if self.writes_files:
            append_log(self.folder, row)
        if self._events is not None:
            self._events.evaluation(self.images_seen, row)

    def close(self) -> None:
        """Close the file that TensorBoard reads."""
        if self._events is not None:
            self._events.close()

    def run_steps(
        self, batches: Iterator[LoadedBatch[B]], steps: int | None, stop: Callable[[], bool]
    ) -> tuple[bool, int | None]:
        """Train until the budget or `steps` are used up; return whether the budget is, and the steps left."""
        started = CpuClock(self.position)
        try:
            while self.used_share() < 1:
                if stop() or (steps is not None and steps <= 0):
                    return False, 0
                loaded = next(batches)
                self._step(loaded)
                self.position.batch += 1
                self.position.cpu_s = started() + loaded.cpu_s
                started = CpuClock(self.position)
                steps = None if steps is None else steps - 1
                self.evaluate_when_due()
                if time.monotonic() - self._last_save >= self._save_every_s:
                    self.save()
                    self._last_save = time.monotonic()
        finally:
            batches.close()  # type: ignore[attr-defined]
        return True, steps

    def _step(self, loaded: LoadedBatch[B]) -> None:
        """Learn from one batch."""
        self.position.samples += loaded.images
        self._count_skipped(loaded)
        if loaded.batch is None or self.optimizer is None:
            return
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * self.rate_scale(group)
        self.optimizer.zero_grad(set_to_none=True)
        parts = []
        for losses, total in self.losses_of(loaded.batch):
            self._check_finite("loss", total)
            total.backward()  # type: ignore[no-untyped-call]
            parts.append(losses)
        for parameters in self.clipped_groups(self.optimizer):
            self._check_finite("gradient", nn.utils.clip_grad_norm_(parameters, CLIPPED_NORM))
        self.optimizer.step()
        self.report(parts, loaded.images)
        if self._events is not None:
            self._events.step(self.images_seen, parts, self.optimizer.param_groups)

    def _check_finite(self, what: str, value: Tensor) -> None:
        if not bool(torch.isfinite(value)):
            raise TrainingStopped(
                f"the {what} is {value.item()} at {self.where()}: lower its rates and run the command again to resume from the "
                "saved state"
            )

    def _count_skipped(self, loaded: LoadedBatch[B]) -> None:
        """Count images that failed; stop the run where too many did."""
        if not loaded.skipped:
            return
        self.position.skipped += loaded.skipped
        self._progress.note(f"{counted(loaded.skipped, 'image')} skipped: {loaded.reason}")
        skipped = self.position.skipped
        total = self.images_seen + skipped
        if skipped > MIN_SKIPPED and skipped > MAX_SKIPPED * total:
            raise TrainingStopped(f"{skipped} of {total} images failed; the last: {loaded.reason}")
