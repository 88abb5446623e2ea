"""Merge an adapter into the files of its base checkpoint: tensor by tensor, in their names, types and shards."""

from __future__ import annotations

import shutil
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from molmo_point.checkpoints.config import MolmoConfig
from molmo_point.checkpoints.folder import weight_files
from molmo_point.errors import UsageError
from molmo_point.model.adapter_folder import Addition, read_adapter
from molmo_point.model.checkpoint_names import detect_naming_scheme, parameter_slices
from molmo_point.model.low_bit_folder import copy_small_files, refuse_existing, whole_or_nothing
from molmo_point.model.weight_files import find_tensors
from molmo_point.model.weights import refuse_quantized

INDEX = "model.safetensors.index.json"

CALIBRATION = "calibration.json"
"""End of the names of files that were fitted to the scores of the base checkpoint: those of another one differ."""


def merge_adapter(base: Path, adapter: Path, out: Path) -> int:
    """Write a checkpoint with an adapter merged into it: all of it, or nothing; return the number of changed tensors.

    Memory: the largest weight file of the checkpoint.

    Args:
        base: Checkpoint folder with full weights.
        adapter: Folder of an adapter for it.
        out: Does not exist yet.

    Raises:
        CheckpointError: The adapter belongs to another checkpoint, or a folder is damaged.
        UsageError: `out` exists or cannot be written.
    """
    refuse_existing(out)
    config = MolmoConfig.from_folder(base)
    files = find_tensors(base)
    refuse_quantized(base, files)
    table = parameter_slices(config, detect_naming_scheme(set(files), config.decoder))
    shapes = {key: found.shape for key, found in files.items()}
    additions = read_adapter(adapter).additions(table, shapes)
    needed = sum((base / name).stat().st_size for name in weight_files(base))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(out.parent).free
        if free < needed:
            raise UsageError(
                f"{out} needs {needed / 1e9:.1f} GB, its disk has {free / 1e9:.1f} GB free: make room, or take another folder"
            )
        with whole_or_nothing(out) as partial:
            copy_small_files(base, partial, leave_out=CALIBRATION)
            for name in ("config.json", INDEX):
                if (base / name).exists():
                    shutil.copyfile(base / name, partial / name)
            for name in weight_files(base):
                _merge_file(base / name, partial / name, additions)
    except (OSError, SafetensorError) as error:
        raise UsageError(
            f"{out} could not be written, and nothing is left of it: {error}"
        ) from error
    return len(additions)


def _merge_file(source: Path, target: Path, additions: dict[str, Addition]) -> None:
    with safe_open(source, "pt") as file:
        tensors = {
            key: additions[key](file.get_tensor(key)) if key in additions else file.get_tensor(key)
            for key in file.keys()  # noqa: SIM118 - not a dict
        }
        metadata = file.metadata() or {"format": "pt"}
    target.touch()
    mode = target.stat().st_mode
    save_file(tensors, target, metadata=metadata)
    target.chmod(mode)
