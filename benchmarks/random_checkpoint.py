"""Checkpoints of any size with random weights, in the published layout: time and memory do not depend on the values."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from molmo_point.checkpoints.config import MolmoConfig
from molmo_point.model.checkpoint_names import NamingScheme, parameter_slices
from molmo_point.model.molmo import Molmo

TOKENIZER = Path(__file__).parents[1] / "tests" / "golden" / "models" / "tiny-d"

MID = {
    "model_type": "molmo",
    "hidden_size": 1024,
    "num_hidden_layers": 12,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "intermediate_size": 5632,
    "vocab_size": 152064,
    "embedding_size": 152064,
    "layer_norm_eps": 1e-6,
    "layer_norm_type": "rms",
    "rope_theta": 1_000_000.0,
    "qkv_bias": True,
    "attention_layer_norm": False,
    "norm_after": False,
    "max_position_embeddings": 4096,
    "weight_tying": False,
    "tie_word_embeddings": False,
}
"""The dense scheme at the size of the measurements in the specification: 12 layers of 1024, with the real ViT-L tower."""


def write_checkpoint(
    folder: Path, config: dict[str, Any], *, dtype: torch.dtype = torch.float32, shards: int = 1
) -> Path:
    """Write config.json, a byte-level tokenizer and random weights; an existing folder is not changed.

    Returns:
        The folder.
    """
    if (folder / "done").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"):
        shutil.copy(TOKENIZER / name, folder / name)
    sizes = MolmoConfig.from_folder(folder)
    with torch.device("meta"):
        shapes = dict(Molmo(sizes, all_blocks=True).named_parameters())
    names = list(parameter_slices(sizes, NamingScheme.DENSE).items())
    generator = torch.Generator().manual_seed(0)
    weight_map = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        part = {}
        for key, slot in names[shard::shards]:
            shape = slot.file_shape(shapes[slot.parameter])
            part[key] = _random(key, shape, generator).to(dtype)
            weight_map[key] = file
        save_file(part, folder / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "done").touch()
    return folder


def _random(key: str, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    if key.endswith(("norm.weight", "ln_f.weight", "pre_ln.weight")):
        return torch.ones(shape)
    return torch.randn(shape, generator=generator) * 0.02
