"""Write a checkpoint folder in the published layout, which loads like any other Molmo."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch

from molmo_point.atomic_write import write_atomic
from molmo_point.checkpoints.config import MolmoConfig
from molmo_point.model.molmo import Molmo
from molmo_point.model.weights import save_weights
from molmo_point.train.recipe import Recipe

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


def export_checkpoint(model: Molmo, recipe: Recipe, folder: Path, tokenizer: Path) -> None:
    """Write config, tokenizer, weights (in bfloat16) and recipe, each file atomically.

    Args:
        tokenizer: Folder of the tokenizer that belongs to the weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config_json(model.config))
    write_json(folder / "preprocessor_config.json", preprocessor_json(model.config))
    write_json(folder / "generation_config.json", {"_from_model_config": True})
    write_json(folder / "training.json", recipe.model_dump(mode="json"))
    for name in TOKENIZER_FILES:
        partial = folder / f"{name}.part"
        shutil.copyfile(tokenizer / name, partial)
        os.replace(partial, folder / name)
    # Half the size; the state of the run keeps float32.
    save_weights(model, folder, dtype=torch.bfloat16)


def config_json(config: MolmoConfig) -> dict[str, Any]:
    """Return config.json in the names of the released dense checkpoints; the inverse of `MolmoConfig.from_dicts`."""
    decoder, vision = config.decoder, config.vision
    return {
        "architectures": ["MolmoForCausalLM"],
        "model_type": "molmo",
        "additional_vocab_size": decoder.new_embedding_size,
        "attention_layer_norm": decoder.qk_norm,
        "clip_qkv": None,
        "embedding_size": decoder.embedding_size,
        "hidden_size": decoder.d_model,
        "initializer_range": 0.02,
        # Gate and up together. The projector has the width of one of them: config.json has no field for another.
        "intermediate_size": 2 * decoder.ffn_width,
        "layer_norm_eps": decoder.norm_eps,
        "layer_norm_type": "rms",
        "max_position_embeddings": decoder.max_positions,
        "norm_after": decoder.norm_after,
        "num_attention_heads": decoder.heads,
        "num_hidden_layers": decoder.layers,
        "num_key_value_heads": decoder.kv_heads,
        "qkv_bias": decoder.qkv_bias,
        "rope_theta": decoder.rope_theta,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "use_position_ids": True,
        "vision_backbone": {
            "image_default_input_size": list(vision.image_size),
            "image_emb_dim": vision.width,
            "image_head_dim": vision.head_dim,
            "image_mlp_activations": "quick_gelu",
            "image_mlp_dim": vision.mlp_width,
            "image_norm_eps": vision.norm_eps,
            "image_num_heads": vision.heads,
            "image_num_key_value_heads": vision.heads,
            "image_num_layers": vision.layers,
            "image_num_pos": vision.n_positions,
            "image_patch_size": vision.patch_size,
            "image_pos_patch_size": vision.patch_size,
            "resize_mode": "default",
        },
        "vit_layers": list(vision.feature_layers),
        "vocab_size": decoder.vocab_size,
        "weight_tying": False,
    }


def preprocessor_json(config: MolmoConfig) -> dict[str, Any]:
    """Return preprocessor_config.json."""
    image = config.preprocess
    return {
        "base_image_input_size": [image.crop_size, image.crop_size],
        "do_normalize": True,
        "image_mean": list(image.mean),
        "image_padding_mask": True,
        "image_patch_size": image.patch_size,
        "image_processor_type": "MolmoImageProcessor",
        "image_std": list(image.std),
        "image_token_length_h": image.token_grid,
        "image_token_length_w": image.token_grid,
        "max_crops": image.max_crops,
        "overlap_margins": list(image.margins),
    }


def write_json(path: Path, content: object) -> None:
    """Write JSON atomically."""
    write_atomic(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
