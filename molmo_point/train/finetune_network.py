"""The network of a fine-tuning run: a checkpoint, frozen where it is not trained, with adapters or without."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from molmo_point.checkpoints.config import MolmoConfig
from molmo_point.checkpoints.folder import read_json
from molmo_point.checkpoints.low_bit_format import stored_scheme
from molmo_point.errors import UsageError
from molmo_point.model.lora import PARTS, add_adapters
from molmo_point.model.molmo import Molmo
from molmo_point.model.weights import load_weights
from molmo_point.train.finetune_recipe import FinetuneRecipe


def check_base(folder: Path) -> MolmoConfig:
    """Return the configuration of a checkpoint that can be fine-tuned.

    Raises:
        UsageError: Low-bit weights, or a Molmo 2.
        CheckpointError: The folder holds no complete checkpoint.
    """
    config = MolmoConfig.from_folder(folder)
    stored = stored_scheme(read_json(folder / "config.json"))
    if stored is not None:
        raise UsageError(
            f"{folder} holds {stored} weights, which cannot be trained: give the original checkpoint"
        )
    if config.preprocess.stretched:
        raise UsageError(
            f"{folder} holds a Molmo 2: expected a model of the first generation (MolmoE-1B, Molmo-7B-O, -7B-D, -72B) or nano"
        )
    return config


def build(
    folder: Path, config: MolmoConfig, recipe: FinetuneRecipe, device: torch.device
) -> Molmo:
    """Load a checkpoint and mark what is trained."""
    dtype = getattr(torch, recipe.weights)
    model = load_weights(folder, config, device=device, dtype=dtype)
    trained = [part for part in PARTS if recipe.rate(part) > 0]  # type: ignore[arg-type]
    if not trained:
        raise UsageError("nothing is trained: give at least one part a rate above 0")
    if recipe.method == "lora":
        add_adapters(model, tuple(trained), recipe.rank, recipe.alpha, recipe.seed)
    else:
        for part in trained:
            getattr(model, part).requires_grad_(True)
    return model.train()


def make_optimizer(model: Molmo, recipe: FinetuneRecipe, steps: int) -> torch.optim.Optimizer:
    """Return AdamW with a group for each trained part; its learning rate and warm-up are the group's `peak` and `warmup`."""
    groups = []
    for part in PARTS:
        parameters = [p for p in getattr(model, part).parameters() if p.requires_grad]
        if parameters:
            peak = recipe.rate(part)  # type: ignore[arg-type]
            warmup = recipe.warmup_steps(steps)
            group = {"name": part, "params": parameters, "lr": peak, "peak": peak}
            groups.append({**group, "warmup": warmup})
    return torch.optim.AdamW(
        groups, betas=recipe.betas, eps=recipe.epsilon, weight_decay=recipe.weight_decay
    )


def trained_parameters(model: nn.Module) -> nn.ParameterDict:
    """Return what is trained as a module, for the state of a run: names with / for dots."""
    return nn.ParameterDict(
        {
            name.replace(".", "/"): parameter
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }
    )
