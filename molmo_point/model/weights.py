"""Read a network's weights from safetensors files, and write them. Nothing is unpickled, no remote code runs.

The network is built on the `meta` device (no memory). All names and shapes in the files are compared with it, then memory is
allocated once in the chosen type, and the files are copied into it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from molmo_point.checkpoints.config import MolmoConfig
from molmo_point.checkpoints.folder import check_folder, refuse_pointer, weight_files
from molmo_point.errors import CheckpointError, UsageError
from molmo_point.model.checkpoint_names import (
    NamingScheme,
    ParameterSlice,
    detect_naming_scheme,
    parameter_slices,
    spare_prefixes,
)
from molmo_point.model.molmo import Molmo
from molmo_point.model.tensor_parallel import Shard

Progress = Callable[[int, int], None]
"""Called with (bytes read, bytes in total)."""

PLAIN_DTYPES = frozenset({"F64", "F32", "BF16", "F16"})
"""Types whose numbers are the weights themselves. All others (8 bits and less, integers) need a scale."""

QUANTIZED_PARTS = (
    "qweight",
    "qzeros",
    "scales",
    "g_idx",
    "absmax",
    "quant_map",
    "quant_state",
    "SCB",
    "weight_format",
    "weight_scale",
    "weight_scale_inv",
    "input_scale",
    "weight_packed",
    "weight_zero_point",
)
"""Last parts of the names of tensors that GPTQ, AWQ, bitsandbytes and fp8 exporters add to the weights."""

CHUNK_BYTES = 64 * 1024 * 1024
"""A file is reopened after this many bytes: its mapped pages count as memory of this process until it is closed."""


def load_weights(
    folder: str | Path,
    config: MolmoConfig,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    progress: Progress | None = None,
    shard: Shard | None = None,
) -> Molmo:
    """Build a network and fill it from a checkpoint folder.

    Args:
        folder: Holds model.safetensors, or shards with model.safetensors.index.json.
        shard: This process's shard of a model that is split over several processes; only its part of the files is read.

    Returns:
        The network in evaluation mode, without gradients, on `device` in `dtype`.

    Raises:
        CheckpointError: Missing, unknown or misshapen tensors (all are listed); quantized, damaged, missing or pickled weights.
        UsageError: A shard is asked for of files that cannot be read in part.
    """
    check_folder(Path(folder))
    files = find_tensors(Path(folder))
    with torch.device("meta"):
        model = Molmo(config).eval().requires_grad_(False)
    parameters = dict(model.named_parameters())
    scheme = detect_naming_scheme(set(files), config.decoder)
    wanted = _compare(files, parameters, config, scheme, Path(folder))
    if shard is not None:
        if scheme is NamingScheme.TRANSFORMERS:
            raise UsageError(
                f"{folder} holds q, k and v apart, under the names of transformers 5, which cannot be split: load the model from "
                "its published files, or save it with save_original_format=True"
            )
        wanted = shard.parameter_slices(config.decoder, wanted)
        with torch.device("meta"):
            model = Molmo(shard.config(config)).eval().requires_grad_(False)
    model = model.to(dtype)
    if model.points is not None:
        model.points.float()  # small, and its margins are: locations are chosen from states that are not normed
    model = model.to_empty(device=device)
    parameters = dict(model.named_parameters())
    sizes = {key: parameters[part.parameter].element_size() for key, part in wanted.items()}
    total = sum(sizes[key] * math.prod(files[key].shape) for key in wanted)
    done = 0
    try:
        with torch.no_grad():
            for key, rows, tensor in _read(files, wanted):
                target = wanted[key].view(parameters[wanted[key].parameter])
                if rows is not None:
                    target = target[rows]
                target.copy_(tensor.view(target.shape))
                done += sizes[key] * tensor.numel()
                if progress:
                    progress(done, total)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{folder} cannot be read completely: {error}") from error
    return model


def save_weights(model: Molmo, folder: str | Path, *, scheme: NamingScheme | None = None) -> None:
    """Write model.safetensors with the published names, atomically: to a temporary file that is then renamed."""
    scheme = scheme or detect_naming_scheme(set(), model.config.decoder)
    parameters = dict(model.named_parameters())
    tensors = {
        key: part.view(parameters[part.parameter].detach())
        .clone(memory_format=torch.contiguous_format)
        .view(part.file_shape(parameters[part.parameter]))
        .cpu()
        for key, part in parameter_slices(model.config, scheme).items()
        if part.parameter in parameters
    }
    target = Path(folder) / "model.safetensors"
    partial = target.with_suffix(".part")
    # safetensors creates files that only their owner can read; a checkpoint gets the usual permissions.
    partial.touch()
    mode = partial.stat().st_mode
    save_file(tensors, partial, metadata={"format": "pt"})
    partial.chmod(mode)
    os.replace(partial, target)


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


def _compare(
    files: dict[str, FoundTensor],
    parameters: Mapping[str, Tensor],
    config: MolmoConfig,
    scheme: NamingScheme,
    folder: Path,
) -> dict[str, ParameterSlice]:
    """Return the tensors to load; an error lists all that do not fit."""
    table = parameter_slices(config, scheme)
    spare = spare_prefixes(config, scheme)
    wanted = {key: part for key, part in table.items() if not key.startswith(spare or ("\0",))}
    missing = [key for key in wanted if key not in files]
    unknown = [key for key in files if key not in table]
    misshapen = [
        f"{key} {list(files[key].shape)} (expected {list(expected)})"
        for key, part in wanted.items()
        if key in files
        and files[key].shape != (expected := part.file_shape(parameters[part.parameter]))
    ]
    unreadable = [
        f"{key} {found.dtype}" for key, found in files.items() if found.dtype not in PLAIN_DTYPES
    ]
    scales = [key for key in unknown if key.rsplit(".", 1)[-1].startswith(QUANTIZED_PARTS)]
    if unreadable or scales:
        raise CheckpointError(
            f"the weights in {folder} are quantized or of a type that needs a scale ({_some(unreadable or scales)}), which this "
            "package does not read: load the original model with quantize='int8' or 'int4'"
        )
    problems = [
        f"{len(keys)} {title}: {_some(keys)}"
        for title, keys in (
            ("missing", missing),
            ("unknown", unknown),
            ("of another shape", misshapen),
        )
        if keys
    ]
    if problems:
        raise CheckpointError(
            f"the tensors in {folder} are not those of its config.json ({scheme.value} names): "
            + "; ".join(problems)
        )
    return wanted


def _some(names: list[str]) -> str:
    return ", ".join(sorted(names)[:8]) + (" ..." if len(names) > 8 else "")


def _read(
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


def parameter_count(config: MolmoConfig) -> int:
    """Count the parameters of the published file, spare vision blocks included, without taking memory."""
    with torch.device("meta"):
        model: Any = Molmo(config, all_blocks=True)
    return sum(parameter.numel() for parameter in model.parameters())
