"""Checkpoints of the published sizes with random weights, in the published layout, without taking their room on the disk."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.random_checkpoint import MID, TOKENIZER
from molmo_point.checkpoints.catalog import find
from molmo_point.checkpoints.config import DecoderConfig, MolmoConfig
from molmo_point.model.checkpoint_names import detect_naming_scheme, parameter_slices
from molmo_point.model.molmo import Molmo
from molmo_point.model.quantize import low_bit_matrices

SPREAD = 0.02
MARKUP = (
    "Ġ<",
    "point",
    "points",
    "Ġx",
    '="',
    "Ġy",
    "Ġalt",
    '">',
    "</",
    "Ġmug",
    "mug",
    "Ġred",
    "red",
)
"""Words that the published tokenizers write as one token; the test tokenizer writes bytes."""

SHARD_BYTES = 1_000_000_000


def config_of(name: str, layers: int | None = None) -> MolmoConfig:
    """Return a published model's sizes, with fewer decoder layers if wanted."""
    entry = find(name)
    if entry is None or entry.config is None:
        raise SystemExit(f"{name} is no published model of known size")
    if layers is None:
        return entry.config
    return replace(entry.config, decoder=replace(entry.config.decoder, layers=layers))


def write_full_size(
    name: str, folder: Path, dtype: torch.dtype, layers: int | None = None
) -> Path:
    """Write config.json, a tokenizer and weights of zeros, which take no room on the disk (holes); return the folder.

    Loading reads as many bytes as of other weights, from memory instead of the disk; `randomise` then gives them values.
    """
    config = config_of(name, layers)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(_published_keys(config.decoder)))
    write_tokenizer(folder)
    read = MolmoConfig.from_folder(folder)
    if read.decoder != config.decoder:
        raise SystemExit(f"config.json does not say what was meant: {read.decoder}")
    with torch.device("meta"):
        shapes = dict(Molmo(config, all_blocks=True).named_parameters())
    shard: dict[str, tuple[int, ...]] = {}
    weight_map: dict[str, str] = {}
    slices = parameter_slices(config, detect_naming_scheme(set(), config.decoder))
    for number, (key, part) in enumerate(slices.items(), 1):
        shard[key] = part.file_shape(shapes[part.parameter])
        size = sum(math.prod(shape) for shape in shard.values()) * dtype.itemsize
        if size > SHARD_BYTES or number == len(slices):
            file = f"model-{number:05d}.safetensors"
            _write_holes(folder / file, shard, dtype)
            weight_map |= dict.fromkeys(shard, file)
            shard = {}
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def _write_holes(path: Path, shapes: dict[str, tuple[int, ...]], dtype: torch.dtype) -> None:
    """Write a safetensors file: the length of its header, the header, and a hole."""
    header, end = {}, 0
    for key, shape in shapes.items():
        start, end = end, end + math.prod(shape) * dtype.itemsize
        header[key] = {
            "dtype": {torch.float32: "F32", torch.bfloat16: "BF16"}[dtype],
            "shape": list(shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)


@torch.no_grad()
def randomise(model: Molmo) -> None:
    """Fill a network: matrices repeat one random block, vectors are ones, low-bit codes are random bytes of small steps."""
    block = torch.empty(1 << 22, device=model.device).normal_(std=SPREAD)
    for matrix in low_bit_matrices(model).values():
        matrix.codes.random_(0, 127)
        matrix.scales.fill_(SPREAD / 127)
    for parameter in model.parameters():
        if parameter.ndim < 2:
            parameter.fill_(1.0)
            continue
        flat = parameter.view(-1)
        for at in range(0, len(flat), len(block)):
            part = flat[at : at + len(block)]
            part.copy_(block[: len(part)])


def write_tokenizer(folder: Path) -> Path:
    """Write the test tokenizer with the markup's words as tokens, as in the published ones; return the folder."""
    text = json.loads((TOKENIZER / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary, merges = text["model"]["vocab"], text["model"]["merges"]
    for word in MARKUP:
        for end in range(2, len(word) + 1):
            start, last = word[: end - 1], word[end - 1]
            if word[:end] not in vocabulary:
                vocabulary[word[:end]] = 1000 + len(merges)
                merges.append([start, last])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(text), encoding="utf-8")
    for name in ("tokenizer_config.json", "preprocessor_config.json"):
        (folder / name).write_bytes((TOKENIZER / name).read_bytes())
    return folder


def _published_keys(sizes: DecoderConfig) -> dict[str, Any]:
    """Return config.json as the published checkpoints write it."""
    if sizes.experts:
        text = (TOKENIZER.with_name("tiny-moe") / "config.json").read_text(encoding="utf-8")
        keys: dict[str, Any] = json.loads(text)
        for tiny in ("vision_backbone", "vit_layers"):
            keys.pop(tiny)
        return keys | {
            "d_model": sizes.d_model,
            "n_layers": sizes.layers,
            "n_heads": sizes.heads,
            "mlp_hidden_size": 2 * sizes.ffn_width,
            "moe_num_experts": sizes.experts,
            "moe_top_k": sizes.experts_per_token,
            "vocab_size": sizes.vocab_size,
            "embedding_size": sizes.embedding_size,
            "max_position_embeddings": sizes.max_positions,
        }
    return MID | {
        "hidden_size": sizes.d_model,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.kv_heads,
        "intermediate_size": 2 * sizes.ffn_width,
        "vocab_size": sizes.vocab_size,
        "embedding_size": sizes.embedding_size,
        "layer_norm_eps": sizes.norm_eps,
        "rope_theta": sizes.rope_theta,
        "max_position_embeddings": sizes.max_positions,
    }
