"""Read, write and merge LoRA adapters in peft's folder layout (`checkpoints.adapter_format`).

An adapter is merged into the weights while they are read, so that an adapted model costs what its base model costs, and may be
quantized. Letters: r rank.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from molmo_point.checkpoints.adapter_format import (
    CONFIG_FILE,
    DOWN,
    PREFIX,
    UP,
    WEIGHTS_FILE,
    AdapterConfig,
    read_adapter_config,
    write_adapter_config,
)
from molmo_point.checkpoints.folder import refuse_pointer
from molmo_point.errors import CheckpointError
from molmo_point.model.checkpoint_names import ParameterSlice

OWN_PARTS = ("vision.", "connector.", "decoder.")
"""Beginnings of our own names of layers, under which peft adapts the model behind transformers' interface."""


@dataclass(frozen=True)
class Addition:
    """What is added to a weight [outputs, inputs]: scale * up @ down."""

    down: Tensor
    up: Tensor
    scale: float

    def __call__(self, tensor: Tensor, rows: slice | None = None) -> Tensor:
        """Return a weight, or a run of its rows, with what is added; computed in float32, returned in its type."""
        up = self.up if rows is None else self.up[rows]
        added = up.float() @ self.down.float() * self.scale
        return (tensor.float() + added.to(tensor.device)).to(tensor.dtype)


@dataclass(frozen=True)
class Adapter:
    """An adapter as it was read: additions by the name of their layer."""

    folder: Path
    config: AdapterConfig
    layers: Mapping[str, Addition]

    def additions(
        self, table: Mapping[str, ParameterSlice], shapes: Mapping[str, tuple[int, ...]]
    ) -> dict[str, Addition]:
        """Return what is added to each tensor of a checkpoint, by the tensor's name.

        Args:
            table: The network's parameters by their names in the checkpoint.
            shapes: Shapes of the checkpoint's tensors.

        Raises:
            CheckpointError: The network has no such layers, or of another size: the adapter belongs to another model.
        """
        found: dict[str, Addition] = {}
        unknown = []
        for layer, addition in self.layers.items():
            own = _own_name(layer)
            keys: dict[str, object] = {f"{layer}.weight": None}
            if own is not None:
                keys = {
                    key: part.select[0] if part.select else None
                    for key, part in table.items()
                    if part.parameter == f"{own}.weight"
                }
            known = {
                key: _part(addition, rows)
                for key, rows in keys.items()
                if key in table and key in shapes and not table[key].merged
            }
            fits = all(
                shapes[key] == (each.up.shape[0], each.down.shape[1])
                for key, each in known.items()
            )
            if not known or not fits:
                unknown.append(layer)
            found |= known
        if unknown:
            named = f" (it names {self.config.base})" if self.config.base else ""
            raise CheckpointError(
                f"{self.folder} adapts {len(unknown)} of {len(self.layers)} layers that this checkpoint does not have, or has in "
                f"another size: {', '.join(sorted(unknown)[:4])}; give the checkpoint that it was trained on{named}"
            )
        return found


def _part(addition: Addition, rows: object) -> Addition:
    if not isinstance(rows, slice):
        return addition
    return Addition(addition.down, addition.up[rows], addition.scale)


def _own_name(layer: str) -> str | None:
    """Return our own name of a layer that peft adapted behind transformers' interface; None for a published name."""
    for start in OWN_PARTS:
        at = layer.find(start)
        if at == 0 or (at > 0 and layer[at - 1] == "."):
            return layer[at:]
    return None


def read_adapter(folder: str | Path) -> Adapter:
    """Read an adapter that `molmo-point finetune` or peft wrote.

    Raises:
        CheckpointError: No adapter, damaged, pickled, or of a kind that is not read.
    """
    folder = Path(folder).expanduser()
    config = read_adapter_config(folder)
    path = folder / WEIGHTS_FILE
    if not path.exists():
        pickled = " (its adapter_model.bin is pickled, which can run code when read)"
        raise CheckpointError(
            f"{folder} has no {WEIGHTS_FILE}{pickled if (folder / 'adapter_model.bin').exists() else ''}: save the adapter "
            "with safe_serialization"
        )
    try:
        refuse_pointer(path)
        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged or cut short ({error})") from error
    layers: dict[str, Addition] = {}
    for key, down in tensors.items():
        if not key.endswith(DOWN):
            if not key.endswith(UP):
                raise CheckpointError(
                    f"{path} holds {key!r}, expected {PREFIX}LAYER{DOWN} and {PREFIX}LAYER{UP} only: merge the adapter in peft"
                )
            continue
        layer = key.removesuffix(DOWN).removeprefix(PREFIX)
        up = tensors.get(key.removesuffix(DOWN) + UP)
        if up is None or up.ndim != 2 or down.ndim != 2 or up.shape[1] != down.shape[0]:
            raise CheckpointError(
                f"{path}: {layer} lacks its second matrix, or the two do not fit"
            )
        layers[layer] = Addition(down, up, config.scale(layer))
    if not layers:
        raise CheckpointError(f"{path} adapts no layer: expected {PREFIX}LAYER{DOWN}")
    return Adapter(folder, config, layers)


def write_adapter(
    folder: Path, tensors: Mapping[str, tuple[Tensor, Tensor]], config: AdapterConfig
) -> None:
    """Write an adapter's folder; each file atomically.

    Args:
        tensors: {layer of the published checkpoint: (down [r, inputs], up [outputs, r])}.
    """
    folder.mkdir(parents=True, exist_ok=True)
    named = {}
    for layer, (down, up) in tensors.items():
        named[PREFIX + layer + DOWN] = down.detach().to("cpu", torch.float32).contiguous().clone()
        named[PREFIX + layer + UP] = up.detach().to("cpu", torch.float32).contiguous().clone()
    target = folder / WEIGHTS_FILE
    partial = target.with_suffix(".part")
    partial.touch()
    mode = partial.stat().st_mode
    save_file(named, partial, metadata={"format": "pt"})
    partial.chmod(mode)
    os.replace(partial, target)
    write_adapter_config(folder, config, tensors)


__all__ = ["CONFIG_FILE", "Adapter", "Addition", "read_adapter", "write_adapter"]
