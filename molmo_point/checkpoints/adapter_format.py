"""The folder of a LoRA adapter as peft lays it out: adapter_config.json, and adapter_model.safetensors.

Names of tensors are `base_model.model.` + the name of the layer in the base model + `.lora_A.weight` or `.lora_B.weight`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from molmo_point.atomic_write import write_atomic
from molmo_point.checkpoints.folder import read_json
from molmo_point.errors import CheckpointError

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
PREFIX = "base_model.model."
DOWN, UP = ".lora_A.weight", ".lora_B.weight"

_PLAIN: Mapping[str, tuple[object, ...]] = {
    "bias": ("none", None),
    "modules_to_save": (None, []),
    "use_dora": (False, None),
    "fan_in_fan_out": (False, None),
    "target_parameters": (None, []),
    "trainable_token_indices": (None, []),
    "layer_replication": (None, []),
}
"""Settings of peft that change more than low-rank matrices of linear layers: the values that are read here."""


@dataclass(frozen=True)
class AdapterConfig:
    """What adapter_config.json says.

    Attributes:
        rank: Rank of the matrices; alpha: the product of two is scaled by alpha / rank.
        rank_stabilized: It is scaled by alpha / sqrt(rank) instead.
        ranks, alphas: Other values, by a pattern of the layer's name.
        base: Name or folder of the base model, if it is named.
    """

    rank: int
    alpha: float
    rank_stabilized: bool = False
    ranks: Mapping[str, int] = field(default_factory=dict)
    alphas: Mapping[str, float] = field(default_factory=dict)
    base: str | None = None

    def scale(self, layer: str) -> float:
        """Return the factor of a layer's product."""
        rank = _by_pattern(self.ranks, layer, self.rank)
        alpha = _by_pattern(self.alphas, layer, self.alpha)
        return float(alpha / (rank**0.5 if self.rank_stabilized else rank))

    def to_json(self, layers: Iterable[str]) -> dict[str, Any]:
        """Return adapter_config.json.

        Args:
            layers: Names of the adapted layers in the base model.
        """
        return {
            "peft_type": "LORA",
            "task_type": None,
            "base_model_name_or_path": self.base,
            "r": self.rank,
            "lora_alpha": self.alpha,
            "lora_dropout": 0.0,
            "use_rslora": self.rank_stabilized,
            "target_modules": _pattern(layers),
            "rank_pattern": dict(self.ranks),
            "alpha_pattern": dict(self.alphas),
            "bias": "none",
            "fan_in_fan_out": False,
            "inference_mode": True,
            "modules_to_save": None,
        }


def read_adapter_config(folder: Path) -> AdapterConfig:
    """Read adapter_config.json.

    Raises:
        CheckpointError: Missing, damaged, not of LoRA, or with parts that are not low-rank matrices of linear layers.
    """
    path = folder / CONFIG_FILE
    if not path.exists():
        raise CheckpointError(
            f"{folder} has no {CONFIG_FILE}: expected the folder of an adapter ({CONFIG_FILE}, {WEIGHTS_FILE}), as peft's "
            "save_pretrained and molmo-point finetune write it"
        )
    content = read_json(path)
    if content.get("peft_type") != "LORA":
        raise CheckpointError(
            f"{path}: peft_type = {content.get('peft_type')!r}, only LORA adapters are read: merge it in peft"
        )
    for key, values in _PLAIN.items():
        if key in content and content[key] not in values:
            raise CheckpointError(
                f"{path}: {key} = {str(content[key])[:60]}, expected {values[0]}: merge the adapter in peft (merge_and_unload)"
            )
    try:
        return AdapterConfig(
            rank=int(content["r"]),
            alpha=float(content["lora_alpha"]),
            rank_stabilized=bool(content.get("use_rslora")),
            ranks={str(k): int(v) for k, v in (content.get("rank_pattern") or {}).items()},
            alphas={str(k): float(v) for k, v in (content.get("alpha_pattern") or {}).items()},
            base=content.get("base_model_name_or_path"),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{path}: expected r and lora_alpha as numbers ({error!r})"
        ) from error


def write_adapter_config(folder: Path, config: AdapterConfig, layers: Iterable[str]) -> None:
    """Write adapter_config.json atomically."""
    write_atomic(folder / CONFIG_FILE, json.dumps(config.to_json(layers), indent=2) + "\n")


def is_adapter(folder: Path) -> bool:
    """Return whether a folder looks like an adapter's."""
    return (folder / CONFIG_FILE).exists() or (folder / WEIGHTS_FILE).exists()


def _by_pattern(values: Mapping[str, Any], layer: str, default: float) -> float:
    for pattern, value in values.items():
        if re.match(rf"(.*\.)?({pattern})$", layer):
            return float(value)
    return default


def _pattern(layers: Iterable[str]) -> str:
    """Return a regular expression for the layers' full names; peft matches it as a whole."""
    numbers: dict[str, list[set[int]]] = {}
    for layer in layers:
        found = [int(number) for number in re.findall(r"\d+", layer)]
        known = numbers.setdefault(re.sub(r"\d+", "#", layer), [set() for _ in found])
        for values, number in zip(known, found, strict=True):
            values.add(number)
    patterns = []
    for kind, places in sorted(numbers.items()):
        pieces = [re.escape(piece) for piece in kind.split("#")]
        choices = [f"({'|'.join(map(str, sorted(values)))})" for values in places]
        patterns.append("".join(a + b for a, b in zip(pieces, [*choices, ""], strict=True)))
    return "|".join(patterns)
