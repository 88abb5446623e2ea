"""Tensors in safetensors files: where they lie, and reading them in runs of rows without holding a whole file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from molmo_point.checkpoints.folder import refuse_pointer, weight_files
from molmo_point.errors import CheckpointError
from molmo_point.model.checkpoint_names import ParameterSlice

CHUNK_BYTES = 64 * 1024 * 1024
"""A file is reopened after this many bytes: its mapped pages count as memory of this process until it is closed."""


@dataclass(frozen=True)
class FoundTensor:
    """A tensor's file, its shape, and its type as safetensors names it ("F32")."""

    path: Path
    shape: tuple[int, ...]
    dtype: str


def find_tensors(folder: Path) -> dict[str, FoundTensor]:
    """Return every tensor of a checkpoint by name, without reading its values.

    Raises:
        CheckpointError: No safetensors, a shard missing or damaged.
    """
    found: dict[str, FoundTensor] = {}
    for path in _weight_files(folder):
        try:
            refuse_pointer(path)
            with safe_open(path, "pt") as file:
                for key in file.keys():  # noqa: SIM118 - not a dict
                    part = file.get_slice(key)
                    found[key] = FoundTensor(path, tuple(part.get_shape()), part.get_dtype())
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{path} is damaged or cut short ({error}): download it again"
            ) from error
    return found


def _weight_files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    paths = [folder / name for name in weight_files(folder)]
    if index.exists():
        missing = [path.name for path in paths if not path.exists()]
        if missing:
            raise CheckpointError(
                f"{folder} lacks {len(missing)} of {len(paths)} weight files named in {index.name}: "
                f"{', '.join(missing[:5])}; download it again"
            )
        return paths
    if paths[0].exists():
        return paths
    pickled = [
        path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern)
    ]
    if pickled:
        raise CheckpointError(
            f"{folder} holds pickled weights only ({', '.join(pickled[:3])}), which can run code when read and are refused: "
            "convert them to safetensors"
        )
    raise CheckpointError(
        f"{folder} has no model.safetensors and no model.safetensors.index.json: expected a checkpoint folder"
    )


def read_tensors(
    files: Mapping[str, FoundTensor], wanted: Mapping[str, ParameterSlice]
) -> Iterator[tuple[str, slice | None, Tensor]]:
    """Yield the tensors file by file, large ones in runs of rows: (name, rows or None for all, tensor).

    Each file is reopened after CHUNK_BYTES: its mapped pages count as memory of this process until it is closed.
    """
    for path in sorted({files[key].path for key in wanted}):
        pieces: list[tuple[str, slice | None]] = []
        for key, part in wanted.items():
            if files[key].path == path:
                rows = (
                    [None] if part.rows or part.columns or part.merged else _rows(files[key].shape)
                )
                pieces += [(key, piece) for piece in rows]
        while pieces:
            taken = 0
            with safe_open(path, "pt") as file:
                while pieces and taken < CHUNK_BYTES:
                    key, piece = pieces.pop(0)
                    tensor = _piece(file, key, wanted[key], piece)
                    taken += tensor.numel() * tensor.element_size()
                    yield key, piece, tensor
                    del tensor


def _piece(file: Any, key: str, part: ParameterSlice, rows: slice | None) -> Tensor:
    """Read a run of rows, or the ranges of `part`, or the whole tensor."""
    if rows is not None:
        tensor: Tensor = file.get_slice(key)[rows.start : rows.stop]
    elif part.rows:
        tensor = torch.cat([file.get_slice(key)[run.start : run.stop] for run in part.rows])
    elif part.columns:
        runs = [file.get_slice(key)[:, run.start : run.stop] for run in part.columns]
        tensor = torch.cat(runs, dim=1)
    else:
        tensor = file.get_tensor(key)
    return tensor


def _rows(shape: tuple[int, ...]) -> list[slice | None]:
    """Cut a tensor's first axis into runs of about CHUNK_BYTES."""
    height = shape[0]
    step = max(1, CHUNK_BYTES // 4 // max(1, math.prod(shape[1:])))
    if height <= step:
        return [None]
    return [slice(start, min(start + step, height)) for start in range(0, height, step)]
