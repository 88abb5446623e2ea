"""Fill a network from safetensors files, and write one back. Nothing is unpickled, no remote code runs.

The network is built on `meta` (no memory), every name and shape of the files is compared first, then memory is taken once in
the wanted type and the files are copied straight into place.
"""

from __future__ import annotations

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
from molmo_point.errors import CheckpointError
from molmo_point.model.checkpoint_names import Dialect, Slot, detect_dialect, slots, spare_prefixes
from molmo_point.model.molmo import Molmo
from molmo_point.model.tensor_parallel import Share

Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""

PLAIN_DTYPES = frozenset({"F64", "F32", "BF16", "F16"})
"""Types whose numbers are the weights themselves. All others (8 bits and less, integers) need a scale from elsewhere."""

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
"""Last parts of the names of tensors that GPTQ, AWQ, bitsandbytes and fp8 exporters write beside the weights."""

CHUNK_BYTES = 64 * 1024 * 1024
"""A file is opened anew after this much: its mapped pages count as ours until it is closed."""


def load_weights(
    folder: str | Path,
    config: MolmoConfig,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    progress: Progress | None = None,
    share: Share | None = None,
) -> Molmo:
    """Build a network and fill it from a checkpoint folder.

    Args:
        folder: Holds model.safetensors, or shards with model.safetensors.index.json.
        share: This process's share of a model that is split over several; only that is read.

    Returns:
        The network in evaluation mode, without gradients.

    Raises:
        CheckpointError: Missing, unknown or wrongly shaped tensors (all listed); quantized, damaged, missing or pickled weights.
    """
    check_folder(Path(folder))
    files = find_tensors(Path(folder))
    with torch.device("meta"):
        model = Molmo(config).eval().requires_grad_(False)
    parameters = dict(model.named_parameters())
    dialect = detect_dialect(set(files), config.decoder)
    wanted = _compare(files, parameters, config, dialect, Path(folder))
    if share is not None:
        wanted = share.slots(config.decoder, wanted)
        with torch.device("meta"):
            model = Molmo(share.config(config)).eval().requires_grad_(False)
    model = model.to(dtype).to_empty(device=device)
    parameters = dict(model.named_parameters())
    sizes = {key: parameters[slot.parameter].element_size() for key, slot in wanted.items()}
    total = sum(sizes[key] * _numel(files[key].shape) for key in wanted)
    done = 0
    try:
        with torch.no_grad():
            for key, rows, tensor in _read(files, wanted):
                target = wanted[key].view(parameters[wanted[key].parameter])
                part = target if rows is None else target[rows]
                part.copy_(tensor.view(part.shape))
                done += sizes[key] * tensor.numel()
                if progress:
                    progress(done, total)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{folder} cannot be read to its end: {error}") from error
    return model


def save_weights(model: Molmo, folder: str | Path, *, dialect: Dialect | None = None) -> None:
    """Write model.safetensors with the published names; written beside, then renamed, so that it is never half there."""
    dialect = dialect or (Dialect.MIXTURE if model.config.decoder.experts else Dialect.DENSE)
    parameters = dict(model.named_parameters())
    tensors = {
        key: slot.view(parameters[slot.parameter].detach())
        .clone(memory_format=torch.contiguous_format)
        .view(slot.file_shape(parameters[slot.parameter]))
        .cpu()
        for key, slot in slots(model.config, dialect).items()
        if slot.parameter in parameters
    }
    target = Path(folder) / "model.safetensors"
    partial = target.with_suffix(".part")
    # The library makes files that only their owner may read; a checkpoint is as readable as the files beside it.
    partial.touch()
    mode = partial.stat().st_mode
    save_file(tensors, partial, metadata={"format": "pt"})
    partial.chmod(mode)
    os.replace(partial, target)


@dataclass(frozen=True)
class FoundTensor:
    """Where a tensor lies, its shape, and its type as safetensors names it ("F32")."""

    path: Path
    shape: tuple[int, ...]
    dtype: str


def find_tensors(folder: Path) -> dict[str, FoundTensor]:
    """List every tensor of a checkpoint without reading it.

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
    dialect: Dialect,
    folder: Path,
) -> dict[str, Slot]:
    """Return what to load, or list everything that does not fit in one error."""
    table = slots(config, dialect)
    spare = spare_prefixes(config, dialect)
    wanted = {key: slot for key, slot in table.items() if not key.startswith(spare or ("\0",))}
    missing = [key for key in wanted if key not in files]
    unknown = [key for key in files if key not in table]
    misshapen = [
        f"{key} {list(files[key].shape)} (expected {list(expected)})"
        for key, slot in wanted.items()
        if key in files
        and files[key].shape != (expected := slot.file_shape(parameters[slot.parameter]))
    ]
    strange = [
        f"{key} {found.dtype}" for key, found in files.items() if found.dtype not in PLAIN_DTYPES
    ]
    scales = [key for key in unknown if key.rsplit(".", 1)[-1].startswith(QUANTIZED_PARTS)]
    if strange or scales:
        raise CheckpointError(
            f"the weights in {folder} are quantized or of a type that needs a scale ({_some(strange or scales)}), which this "
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
            f"the tensors in {folder} are not those of its config.json ({dialect.value} names): "
            + "; ".join(problems)
        )
    return wanted


def _some(names: list[str]) -> str:
    return ", ".join(sorted(names)[:8]) + (" ..." if len(names) > 8 else "")


def _read(
    files: Mapping[str, FoundTensor], wanted: Mapping[str, Slot]
) -> Iterator[tuple[str, slice | None, Tensor]]:
    """Yield the tensors file by file, large ones in runs of rows: (name, rows or None for all of the slot, tensor).

    Each file is opened anew after CHUNK_BYTES: what was read of it counts as our memory until it is closed.
    """
    for path in sorted({files[key].path for key in wanted}):
        pieces: list[tuple[str, slice | None]] = []
        for key, slot in wanted.items():
            if files[key].path == path:
                rows = [None] if _is_part(slot) or slot.merged else _rows(files[key].shape)
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


def _is_part(slot: Slot) -> bool:
    return bool(slot.rows or slot.columns)


def _piece(file: Any, key: str, slot: Slot, rows: slice | None) -> Tensor:
    """Read a run of rows, or the parts that a slot names, or all."""
    if rows is not None:
        tensor: Tensor = file.get_slice(key)[rows.start : rows.stop]
    elif slot.rows:
        tensor = torch.cat([file.get_slice(key)[part.start : part.stop] for part in slot.rows])
    elif slot.columns:
        parts = [file.get_slice(key)[:, part.start : part.stop] for part in slot.columns]
        tensor = torch.cat(parts, dim=1)
    else:
        tensor = file.get_tensor(key)
    return tensor


def _rows(shape: tuple[int, ...]) -> list[slice | None]:
    """Cut a tensor's first axis into runs of about CHUNK_BYTES."""
    height = shape[0]
    step = max(1, CHUNK_BYTES // 4 // max(1, _numel(shape[1:])))
    if height <= step:
        return [None]
    return [slice(start, min(start + step, height)) for start in range(0, height, step)]


def _numel(shape: tuple[int, ...]) -> int:
    count = 1
    for side in shape:
        count *= side
    return count


def parameter_count(config: MolmoConfig) -> int:
    """Count the parameters of the published file, spare vision blocks included, without taking memory."""
    with torch.device("meta"):
        model: Any = Molmo(config, all_blocks=True)
    return sum(parameter.numel() for parameter in model.parameters())
