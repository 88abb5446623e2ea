"""Read a network's weights from safetensors files, and write them. Nothing is unpickled, no remote code runs.

The network is built on the `meta` device (no memory). All names and shapes in the files are compared with it, then memory is
allocated once in the chosen type, and the files are copied into it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from molmo_point.checkpoints.config import MolmoConfig
from molmo_point.checkpoints.folder import check_folder
from molmo_point.errors import CheckpointError, UsageError
from molmo_point.model.adapter_folder import Adapter, Addition
from molmo_point.model.checkpoint_names import (
    NamingScheme,
    ParameterSlice,
    detect_naming_scheme,
    parameter_slices,
    spare_prefixes,
)
from molmo_point.model.low_bits import LowBitMatrix
from molmo_point.model.molmo import Molmo
from molmo_point.model.quantize import low_bit_matrices, replace_by_low_bits
from molmo_point.model.tensor_parallel import Shard
from molmo_point.model.weight_files import FoundTensor, find_tensors, read_tensors

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


def load_weights(
    folder: str | Path,
    config: MolmoConfig,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    vision_dtype: torch.dtype | None = None,
    progress: Progress | None = None,
    shard: Shard | None = None,
    scheme: str | None = None,
    packed: bool = True,
    adapter: Adapter | None = None,
) -> Molmo:
    """Build a network and fill it from a checkpoint folder.

    Args:
        folder: Holds model.safetensors, or shards with model.safetensors.index.json.
        vision_dtype: Of the vision tower and the connector; None = `dtype`.
        scheme: Quantize the decoder (`quantize.SCHEMES`): what is read is quantized and dropped, the full weights are never held.
        shard: This process's shard of a model that is split over several processes; only its part of the files is read.
        adapter: Low-rank matrices that are added to the weights while they are read.
        packed: Reorder low-bit codes for this device's kernels; False leaves them in the order of files.

    Returns:
        The network in evaluation mode, without gradients, on `device` in these types.

    Raises:
        CheckpointError: Missing, unknown or misshapen tensors (all are listed); quantized, damaged, missing or pickled weights.
        UsageError: A shard is asked for of files that cannot be read in part, or with an adapter.
    """
    check_folder(Path(folder))
    files = find_tensors(Path(folder))
    with torch.device("meta"):
        model = Molmo(config).eval().requires_grad_(False)
    parameters = dict(model.named_parameters())
    naming = detect_naming_scheme(set(files), config.decoder)
    wanted = _compare(files, parameters, config, naming, Path(folder))
    additions = _additions(adapter, shard, wanted, files)
    if shard is not None:
        if naming is NamingScheme.TRANSFORMERS:
            raise UsageError(
                f"{folder} holds q, k and v apart, under the names of transformers 5, which cannot be split: load the model from "
                "its published files, or save it with save_original_format=True"
            )
        wanted = shard.parameter_slices(config.decoder, wanted)
        with torch.device("meta"):
            model = Molmo(shard.config(config)).eval().requires_grad_(False)
    if scheme is not None:
        replace_by_low_bits(model, scheme)
    model = model.to_types(dtype, vision_dtype).to_empty(device=device)
    parameters = dict(model.named_parameters())
    matrices = low_bit_matrices(model)
    total = sum(math.prod(files[key].shape) for key in wanted)
    done = 0
    try:
        with torch.no_grad():
            for key, rows, tensor in read_tensors(files, wanted):
                if key in additions:
                    tensor = additions[key](tensor, rows)
                _store(tensor, rows, wanted[key], parameters, matrices)
                done += tensor.numel()
                if progress:
                    progress(done * dtype.itemsize, total * dtype.itemsize)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{folder} cannot be read completely: {error}") from error
    if packed:
        for matrix in matrices.values():
            matrix.pack()
    return model


def _store(
    tensor: Tensor,
    rows: slice | None,
    part: ParameterSlice,
    parameters: Mapping[str, Tensor],
    matrices: Mapping[str, LowBitMatrix],
) -> None:
    """Copy rows of a tensor of the files (None: all) into the network, or quantize them into its low-bit matrix."""
    if part.parameter in matrices:
        matrices[part.parameter].store(part, rows, tensor)
        return
    target = part.view(parameters[part.parameter])
    if rows is not None:
        target = target[rows]
    target.copy_(tensor.view(target.shape))


def save_weights(
    model: Molmo,
    folder: str | Path,
    *,
    scheme: NamingScheme | None = None,
    parameters: Mapping[str, Tensor] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Write model.safetensors with the published names, atomically: to a temporary file that is then renamed.

    Args:
        parameters: The values to write, by the names of our parameters; None = those of the model.
        dtype: Of the stored weights; None = as the model has them.
    """
    scheme = scheme or detect_naming_scheme(set(), model.config.decoder)
    if parameters is None:
        parameters = dict(model.named_parameters())
    tensors = {
        key: part.view(parameters[part.parameter].detach())
        .clone(memory_format=torch.contiguous_format)
        .view(part.file_shape(parameters[part.parameter]))
        .to("cpu", dtype)
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


def _additions(
    adapter: Adapter | None,
    shard: Shard | None,
    wanted: Mapping[str, ParameterSlice],
    files: Mapping[str, FoundTensor],
) -> dict[str, Addition]:
    """Return what an adapter adds to each tensor."""
    if adapter is None:
        return {}
    if shard is not None:
        raise UsageError(
            "an adapter cannot be loaded into a model that is split over processes: merge it first (molmo-point merge)"
        )
    return adapter.additions(wanted, {key: files[key].shape for key in wanted})


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
    refuse_quantized(folder, files, unknown)
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


def refuse_quantized(
    folder: Path, files: Mapping[str, FoundTensor], unknown: Sequence[str] = ()
) -> None:
    """Refuse weights of other tools that are not the numbers themselves.

    Args:
        unknown: Tensors that are not parameters of the network.

    Raises:
        CheckpointError: There are such weights; names some.
    """
    unreadable = [
        f"{key} {found.dtype}" for key, found in files.items() if found.dtype not in PLAIN_DTYPES
    ]
    scales = [key for key in unknown if key.rsplit(".", 1)[-1].startswith(QUANTIZED_PARTS)]
    if unreadable or scales:
        raise CheckpointError(
            f"the weights in {folder} are quantized or of a type that needs a scale ({_some(unreadable or scales)}), which this "
            "package does not read: load the original model with quantize='int8' or 'int4'"
        )


def _some(names: list[str]) -> str:
    return ", ".join(sorted(names)[:8]) + (" ..." if len(names) > 8 else "")


def parameter_count(config: MolmoConfig) -> int:
    """Count the parameters of the published file, spare vision blocks included, without taking memory."""
    with torch.device("meta"):
        model: Any = Molmo(config, all_blocks=True)
    return sum(parameter.numel() for parameter in model.parameters())
