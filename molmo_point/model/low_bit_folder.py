"""Folders of low-bit weights: written once by `molmo-point quantize`, loaded in seconds.

A folder holds the checkpoint's small files, config.json with its scheme (`checkpoints.low_bit_format`), and safetensors files
with tensors under the names of our network: `NAME.codes` and `NAME.scales` for each low-bit matrix (`low_bits`), 4-bit codes in
plain order (`int4_layout`), all other parameters in one type.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from molmo_point.checkpoints.config import MolmoConfig
from molmo_point.checkpoints.folder import check_folder, read_json
from molmo_point.checkpoints.low_bit_format import KEY, quantization_config
from molmo_point.errors import CheckpointError, UsageError
from molmo_point.model.low_bits import Int4Matrix
from molmo_point.model.molmo import Molmo
from molmo_point.model.quantize import low_bit_matrices, replace_by_low_bits, scheme_of
from molmo_point.model.weight_files import find_tensors

_DTYPES = {
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int8: "I8",
    torch.uint8: "U8",
}

_SMALL_BYTES = 256 * 1024 * 1024
"""Larger files beside the weights are not copied."""

_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".index.json", ".py", ".part")


def check_stored_scheme(folder: Path, stored: str, wanted: str | None, *, is_split: bool) -> None:
    """Refuse what a folder of low-bit weights cannot give.

    Args:
        stored: Its scheme; wanted: that which the caller asks for, None = the stored one.
        is_split: The model is to be split over several processes.

    Raises:
        UsageError: Another scheme is wanted, or a shard.
    """
    if wanted not in (None, stored):
        raise UsageError(
            f"{folder} holds {stored} weights: leave quantize= out, or give the original checkpoint with quantize={wanted!r}"
        )
    if is_split:
        raise UsageError(
            f"{folder} holds low-bit weights, which cannot be split over processes: give the original checkpoint with quantize="
        )


def refuse_existing(out: Path) -> None:
    """Refuse a folder that exists already, before anything is computed.

    Raises:
        UsageError: It exists.
    """
    if os.path.lexists(out):
        raise UsageError(f"{out} exists: give a folder that does not, or remove it")


def save_low_bits(model: Molmo, source: Path, out: Path) -> None:
    """Write a folder of low-bit weights: all of it, or nothing.

    Args:
        model: With low-bit matrices in the order of files (`load_weights(..., packed=False)`).
        source: The checkpoint's folder, whose small files are copied.
        out: Does not exist yet.

    Raises:
        UsageError: `out` exists, cannot be written, or the disk is full.
    """
    scheme = scheme_of(model)
    assert scheme is not None
    refuse_existing(out)
    tensors = _tensors(model)
    needed = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(out.parent).free
        if free < needed:
            raise UsageError(
                f"{out} needs {needed / 1e9:.1f} GB, its disk has {free / 1e9:.1f} GB free: make room, or take another folder"
            )
        with whole_or_nothing(out) as partial:
            copy_small_files(source, partial)
            config = {**read_json(source / "config.json"), KEY: quantization_config(scheme)}
            (partial / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
            _save_shards(tensors, partial)
    except (OSError, SafetensorError) as error:
        raise UsageError(
            f"{out} could not be written, and nothing is left of it: {error}"
        ) from error


def load_low_bits(
    folder: Path,
    config: MolmoConfig,
    scheme: str,
    *,
    device: torch.device,
    dtype: torch.dtype,
    vision_dtype: torch.dtype | None = None,
) -> Molmo:
    """Load a folder of low-bit weights.

    On the CPU, tensors whose type and order are those of the file are mapped: they are read when they are first used, and
    processes share them.

    Raises:
        CheckpointError: Tensors are missing, unknown, damaged, or of another shape or type than the scheme's.
    """
    check_folder(folder)
    files = find_tensors(folder)
    with torch.device("meta"):
        model = replace_by_low_bits(Molmo(config).eval().requires_grad_(False), scheme)
    model = model.to_types(dtype, vision_dtype)
    expected = _tensors(model)
    problems = [f"{key} is missing" for key in expected if key not in files]
    problems += [f"{key} is unknown" for key in files if key not in expected]
    for key in set(expected) & set(files):
        found, wanted = files[key], expected[key]
        floating = wanted.is_floating_point() and found.dtype in ("F32", "BF16", "F16")
        if found.shape != tuple(wanted.shape) or not (
            floating or found.dtype == _DTYPES[wanted.dtype]
        ):
            problems.append(
                f"{key} is {found.dtype} {list(found.shape)}, expected {list(wanted.shape)}"
            )
    if problems:
        raise CheckpointError(
            f"{folder} does not hold the {scheme} weights of its config.json: {'; '.join(sorted(problems)[:5])}; run molmo-point "
            "quantize on the original checkpoint again"
        )
    try:
        for path in sorted({file.path for file in files.values()}):
            with safe_open(path, "pt") as file:
                for key in file.keys():  # noqa: SIM118 - not a dict
                    _place(model, key, file.get_tensor(key), device, expected[key].dtype)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{folder} cannot be read completely: {error}") from error
    for matrix in low_bit_matrices(model).values():
        matrix.pack()
    return model


def _tensors(model: Molmo) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _place(
    model: Molmo, key: str, tensor: Tensor, device: torch.device, dtype: torch.dtype
) -> None:
    path, _, name = key.rpartition(".")
    owner = model.get_submodule(path)
    tensor = tensor.to(device, dtype)
    if isinstance(owner, Int4Matrix) and name == "codes" and device.type == "cpu":
        # Packed in place: the file's pages cannot be written to.
        tensor = tensor.clone()
    if name in owner._parameters:
        owner._parameters[name] = nn.Parameter(tensor, requires_grad=False)
    else:
        owner._buffers[name] = tensor


def _save_shards(tensors: dict[str, Tensor], folder: Path) -> None:
    """Write one file for each block of the decoder, and one for everything else."""
    groups: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        parts = key.split(".")
        name = parts[2] if parts[:2] == ["decoder", "blocks"] else ""
        groups.setdefault(name, {})[key] = tensor.detach().cpu().contiguous()
    weight_map = {}
    for number, group in enumerate(groups.values(), 1):
        name = f"model-{number:05d}-of-{len(groups):05d}.safetensors"
        # safetensors creates files that only their owner can read; a checkpoint gets the usual permissions.
        (folder / name).touch()
        mode = (folder / name).stat().st_mode
        save_file(group, folder / name, metadata={"format": "pt"})
        (folder / name).chmod(mode)
        weight_map.update(dict.fromkeys(group, name))
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def copy_small_files(source: Path, folder: Path, *, leave_out: str | None = None) -> None:
    """Copy the files beside the weights, except config.json.

    Args:
        leave_out: End of the names of files that are not copied, too.
    """
    for path in sorted(source.iterdir()):
        if (
            path.is_file()
            and path.name != "config.json"
            and not path.name.endswith(_WEIGHT_SUFFIXES)
            and not (leave_out and path.name.endswith(leave_out))
            and path.stat().st_size <= _SMALL_BYTES
        ):
            shutil.copyfile(path, folder / path.name)


@contextlib.contextmanager
def whole_or_nothing(out: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `out` at the end, or is removed after an error."""
    partial = out.with_name(f"{out.name}.{os.getpid()}.part")
    partial.mkdir()
    try:
        yield partial
        partial.rename(out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
