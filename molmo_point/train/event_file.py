"""The numbers of a run for TensorBoard: `tensorboard --logdir RUN`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from molmo_point.install import import_failure
from molmo_point.train.losses import Losses

EVENTS_FOLDER = "tensorboard"


class EventFile:
    """Writes into RUN/tensorboard. Horizontal axis: images trained on.

    Args:
        folder: Of the run.
        images: Images of the state that the run goes on from; what an earlier process wrote of later ones is not shown.

    Raises:
        MissingExtra: tensorboard is not installed.
    """

    def __init__(self, folder: Path, images: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise import_failure(error, "tensorboard", "train", "--tensorboard") from error
        self._writer: Any = SummaryWriter(str(folder / EVENTS_FOLDER), purge_step=images + 1)

    def step(
        self, images: int, losses: Sequence[Losses], groups: Sequence[dict[str, Any]]
    ) -> None:
        """Write the losses of a step, whose parts add up, and the learning rates of the optimizer's groups."""
        totals: dict[str, float] = {}
        for each in losses:
            for name, part in each.parts.items():
                totals[name] = totals.get(name, 0.0) + float(part.detach())
        for name, value in totals.items():
            self._writer.add_scalar(f"loss/{name}", value, images)
        for group in groups:
            self._writer.add_scalar(f"rate/{group['name']}", group["lr"], images)

    def evaluation(self, images: int, row: Mapping[str, object]) -> None:
        """Write the numbers of a line of log.jsonl."""
        for name, value in row.items():
            if isinstance(value, (int, float)):
                self._writer.add_scalar(f"evaluation/{name}", value, images)

    def flush(self) -> None:
        """Bring everything to the disk, so that a killed run has what its state has."""
        self._writer.flush()

    def close(self) -> None:
        """Write the rest and close the file."""
        self._writer.close()
