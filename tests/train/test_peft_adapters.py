"""Adapters of peft itself: folders that it wrote load here, ours load there, and both mean the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from molmo_point.checkpoints.adapter_format import AdapterConfig, read_adapter_config
from molmo_point.checkpoints.config import MolmoConfig
from molmo_point.errors import CheckpointError
from molmo_point.model.adapter_folder import read_adapter, write_adapter
from molmo_point.model.lora import PARTS, adapter_tensors, add_adapters
from molmo_point.model.merge import merge_adapter
from molmo_point.model.weights import load_weights

MODELS = Path(__file__).parents[1] / "golden" / "models"


def published(family: str) -> nn.Module:
    """Every linear layer of a published checkpoint as a module of its name, as the remote code has them."""
    root = nn.Module()
    for key, tensor in load_file(MODELS / family / "model.safetensors").items():
        if not key.endswith(".weight") or tensor.ndim != 2:
            continue
        *path, name, _ = key.split(".")
        owner = root
        for part in path:
            if not hasattr(owner, part):
                owner.add_module(part, nn.Module())
            owner = getattr(owner, part)
        layer = nn.Linear(tensor.shape[1], tensor.shape[0], bias=False)
        layer.weight.data = tensor
        owner.add_module(name, layer)
    return root


@pytest.mark.parametrize("family", ["tiny-d", "tiny-moe"])
@pytest.mark.parametrize("rank_stabilized", [False, True])
def test_a_folder_of_peft_loads_and_means_the_same(
    tmp_path: Path, family: str, rank_stabilized: bool
) -> None:
    peft = pytest.importorskip("peft", reason="peft is not installed")
    targets = ["att_proj", "attn_out", "wq", "w2", "up_proj"]
    config = peft.LoraConfig(
        r=3,
        lora_alpha=5,
        target_modules=targets,
        use_rslora=rank_stabilized,
        rank_pattern={"wq": 2},
        alpha_pattern={"attn_out": 9},
        init_lora_weights=False,
    )
    adapted = peft.get_peft_model(published(family), config)
    adapted.save_pretrained(tmp_path / "adapter")
    merged = adapted.merge_and_unload()
    merge_adapter(MODELS / family, tmp_path / "adapter", tmp_path / "merged")
    ours, base = (
        load_file(folder / "model.safetensors")
        for folder in (tmp_path / "merged", MODELS / family)
    )
    changed = 0
    for name, layer in merged.named_modules():
        if isinstance(layer, nn.Linear):
            tensor = ours[f"{name}.weight"]
            assert torch.allclose(tensor, layer.weight, atol=1e-6), name
            changed += not torch.equal(tensor, base[f"{name}.weight"])
    assert changed > 10
    assert ours.keys() == base.keys()


def test_our_folder_loads_in_peft(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft", reason="peft is not installed")
    config = MolmoConfig.from_folder(MODELS / "tiny-moe")
    model = load_weights(MODELS / "tiny-moe", config)
    add_adapters(model, PARTS, rank=2, alpha=6)
    tensors = adapter_tensors(model)
    with torch.no_grad():
        for _, up in tensors.values():
            up.normal_(std=0.1)
    write_adapter(tmp_path, tensors, AdapterConfig(2, 6.0, base="tiny-moe"))
    loaded = peft.PeftModel.from_pretrained(published("tiny-moe"), tmp_path)
    merged: Any = loaded.merge_and_unload()
    additions = read_adapter(tmp_path).layers
    assert len(additions) == len(tensors)
    base = load_file(MODELS / "tiny-moe" / "model.safetensors")
    for name, addition in additions.items():
        weight = merged.get_submodule(name).weight
        assert torch.allclose(weight, addition(base[f"{name}.weight"]), atol=1e-6), name


@pytest.mark.parametrize("family", ["tiny-d", "tiny-o", "tiny-moe", "tiny-72b"])
def test_a_merged_adapter_computes_what_the_adapted_network_did(
    tmp_path: Path, family: str
) -> None:
    config = MolmoConfig.from_folder(MODELS / family)
    adapted = load_weights(MODELS / family, config)
    add_adapters(adapted, PARTS, rank=2, alpha=6)
    with torch.no_grad():
        for _, up in adapter_tensors(adapted).values():
            up.normal_(std=0.1)
    write_adapter(tmp_path, adapter_tensors(adapted), AdapterConfig(2, 6.0))
    merged = load_weights(MODELS / family, config, adapter=read_adapter(tmp_path))
    ids, positions = torch.arange(20)[None], torch.arange(20)[None]
    crops = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 576, 588))).float()
    with torch.no_grad():
        for one, other in (
            (
                adapted.encode_images(crops, torch.ones(1, 576)),
                merged.encode_images(crops, torch.ones(1, 576)),
            ),
            (adapted(adapted.embed(ids), positions), merged(merged.embed(ids), positions)),
        ):
            assert torch.allclose(one, other, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"peft_type": "IA3"}, "only LORA adapters"),
        ({"use_dora": True}, "use_dora = True"),
        ({"bias": "all"}, "bias = all"),
        ({"modules_to_save": ["wte"]}, "modules_to_save"),
        ({"r": None}, "expected r and lora_alpha as numbers"),
    ],
)
def test_other_kinds_of_adapters_are_refused(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    content = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, **changes}
    (tmp_path / "adapter_config.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=said):
        read_adapter_config(tmp_path)


def test_damaged_and_pickled_adapters_are_refused(tmp_path: Path) -> None:
    content = {"peft_type": "LORA", "r": 2, "lora_alpha": 4}
    (tmp_path / "adapter_config.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="has no adapter_model"):
        read_adapter(tmp_path)
    (tmp_path / "adapter_model.bin").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="is pickled"):
        read_adapter(tmp_path)
    path = tmp_path / "adapter_model.safetensors"
    path.write_bytes(b"x")
    with pytest.raises(CheckpointError, match="damaged or cut short"):
        read_adapter(tmp_path)
    save_file({"base_model.model.a.lora_A.weight": torch.zeros(2, 3)}, path)
    with pytest.raises(CheckpointError, match="a lacks its second matrix"):
        read_adapter(tmp_path)
    save_file({"base_model.model.a.lora_embedding_A": torch.zeros(2, 3)}, path)
    with pytest.raises(CheckpointError, match="lora_embedding_A"):
        read_adapter(tmp_path)
