"""Write what a fine-tuning run has learned: an adapter's folder, or a whole checkpoint. A folder is replaced at once."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from molmo_point.checkpoints.adapter_format import AdapterConfig
from molmo_point.model.adapter_folder import write_adapter
from molmo_point.model.lora import adapter_tensors
from molmo_point.model.molmo import Molmo
from molmo_point.model.weights import save_weights
from molmo_point.train.data_loader import TrainingStopped
from molmo_point.train.export import write_json
from molmo_point.train.finetune_recipe import FinetuneRecipe
from molmo_point.train.sharded_tensor import whole

COPIED = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
)
"""Files of the base checkpoint that belong to the fine-tuned one, too; calibrations and cards do not."""


def export(
    model: Molmo, recipe: FinetuneRecipe, base: Path, folder: Path, *, writes: bool = True
) -> None:
    """Write the adapter or the checkpoint; every process of a sharded network must call this.

    Args:
        base: Folder of the base checkpoint.
        writes: Whether this process writes.

    Raises:
        TrainingStopped: It cannot be written; what was there before stays.
    """
    if recipe.method == "lora":
        adapter = {
            name: (whole(down), whole(up)) for name, (down, up) in adapter_tensors(model).items()
        }
        parameters: Mapping[str, Tensor] = {}
    else:
        parameters = {name: whole(tensor).cpu() for name, tensor in model.named_parameters()}
    if not writes:
        return
    partial = folder.with_name(folder.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        if recipe.method == "lora":
            write_adapter(
                partial, adapter, AdapterConfig(recipe.rank, recipe.alpha, base=recipe.base)
            )
        else:
            for name in COPIED:
                if (base / name).exists():
                    shutil.copyfile(base / name, partial / name)
            save_weights(model, partial, parameters=parameters)
        write_json(partial / "finetune.json", recipe.model_dump(mode="json"))
        _replace(folder, partial)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise TrainingStopped(
            f"{folder} cannot be written: {error}; what was there before is untouched"
        ) from error


def _replace(folder: Path, partial: Path) -> None:
    """Put a folder in another's place."""
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
