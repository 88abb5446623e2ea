"""The state of a run, from which it resumes exactly: one safetensors file, written atomically."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from molmo_point.errors import UsageError
from molmo_point.synthetic.pages.labels import label_words
from molmo_point.synthetic.scenes.kinds import COLOURS, all_kinds
from molmo_point.train.data_loader import TrainingStopped
from molmo_point.train.sharded_tensor import like, whole

STATE_FILE = "state.safetensors"

POSITION = "place"
"""Key in the file's metadata: the position as JSON."""

CLASSES = "classes"
"""Key in the file's metadata: the class of each row of the auxiliary heads."""


def class_names() -> dict[str, list[str]]:
    """Return the names of the classes of the auxiliary heads, row by row; row 0 is background, or any other word."""
    return {
        "kinds": ["", *(kind.name for kind in all_kinds())],
        "colours": list(COLOURS),
        "words": ["", *label_words()],
    }


@dataclass
class TrainPosition:
    """How far a run is; its fields are keys of the state file.

    Attributes:
        stage: Index of the stage.
        batch: Number of the next batch of the stage.
        samples: Images trained on in the stage.
        cpu_s: CPU-seconds used in the stage, rendering included.
        skipped: Images that failed to render, in all stages.
        finished_cpu_s: CPU-seconds of each finished stage.
        finished_samples: Images of each finished stage.
        best_score: Of the best evaluation, where a run keeps the best checkpoint; best_batch: when that was.
    """

    stage: int = 0
    batch: int = 0
    samples: int = 0
    cpu_s: float = 0.0
    skipped: int = 0
    finished_cpu_s: list[float] = field(default_factory=list)
    finished_samples: list[int] = field(default_factory=list)
    best_score: float | None = None
    best_batch: int = 0

    def next_stage(self) -> None:
        """Advance to the next stage."""
        self.finished_cpu_s.append(self.cpu_s)
        self.finished_samples.append(self.samples)
        self.stage, self.batch, self.samples, self.cpu_s = self.stage + 1, 0, 0, 0.0


def save_state(
    folder: Path,
    position: TrainPosition,
    modules: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer | None,
    *,
    writes: bool = True,
) -> None:
    """Write weights, optimizer and position.

    Args:
        writes: Whether this process writes the file; of several that share a network, each gathers its tensors.

    Raises:
        TrainingStopped: The disk is full or the folder cannot be written; an earlier state stays as it was.
    """
    tensors = {
        f"{prefix}.{name}": whole(tensor).contiguous()
        for prefix, module in modules.items()
        for name, tensor in module.state_dict().items()
    }
    if optimizer is not None:
        for index, values in optimizer.state_dict()["state"].items():
            for name, value in values.items():
                tensors[f"optimizer.{index}.{name}"] = whole(torch.as_tensor(value)).contiguous()
    if not writes:
        return
    metadata = {POSITION: json.dumps(asdict(position)), CLASSES: json.dumps(class_names())}
    target = folder / STATE_FILE
    partial = target.with_suffix(".part")
    try:
        save_file(tensors, partial, metadata=metadata)
        os.replace(partial, target)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        raise TrainingStopped(
            f"the state cannot be written to {target}: {error}; the state saved before is untouched"
        ) from error


def read_position(folder: Path) -> TrainPosition | None:
    """Return the position of a run, or None where there is no saved state."""
    path = folder / STATE_FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            return TrainPosition(**json.loads(file.metadata()[POSITION]))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"{path} is no state of a training run ({error}): give another folder, or remove the file to start from the beginning"
        ) from error


def load_state(
    folder: Path, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer | None
) -> None:
    """Load a saved state into modules and optimizer.

    Raises:
        UsageError: The file belongs to other modules.
    """
    path = folder / STATE_FILE
    try:
        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
        for prefix, module in modules.items():
            _load(module, _under(tensors, prefix))
        if optimizer is not None:
            _fill_optimizer(optimizer, _under(tensors, "optimizer"))
    except (SafetensorError, OSError, RuntimeError, ValueError) as error:
        raise UsageError(f"{path} does not fit the recipe beside it: {error}") from error


def _load(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    own = module.state_dict()
    module.load_state_dict(
        {name: like(t, own[name]) if name in own else t for name, t in tensors.items()}
    )


def _fill_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = like(tensor, parameters[int(index)])
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = prefix + "."
    return {key[len(start) :]: value for key, value in tensors.items() if key.startswith(start)}
