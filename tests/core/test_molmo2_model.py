"""Molmo 2's network against the reference implementation: both decoder forms, all dialects of config.json and of tensor names.

Tolerances are those of tests/golden/molmo2/README.md with the reference's own pixels.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from molmo_point.checkpoints.config import MolmoConfig
from molmo_point.engine.generate import DecodeState, Limits, NoDraft, generate
from molmo_point.errors import CheckpointError, UsageError
from molmo_point.model.checkpoint_names import NamingScheme
from molmo_point.model.layers import block_mask, rotary_table
from molmo_point.model.molmo import Molmo
from molmo_point.model.tensor_parallel import Shard
from molmo_point.model.weights import load_weights, save_weights

GOLDEN = Path(__file__).parents[1] / "golden/molmo2"
MODELS = GOLDEN / "models"
IMAGES = ("img0_336x336", "img1_640x480", "img2_300x820", "multi", "video")
CASES = ("text", *IMAGES)
PATCH = {"tiny2-q": 514, "tiny2-o": 392}


@dataclass
class Loaded:
    model: Molmo
    golden: Any
    patch: int


def as_transformers_5(folder: Path) -> None:
    """Write tiny2-q's weights under the names of transformers 5, by the map that was made from the reference's own files."""
    hub = load_file(MODELS / "tiny2-q/model.safetensors")
    renamed = {}
    for entry in json.loads((MODELS / "key_map_tiny2-q.json").read_text()):
        for name in entry["transformers5"]:
            renamed[name] = hub[entry["hub"]].clone()
    for layer in range(3):
        theirs, ours = (
            f"model.transformer.blocks.{layer}.",
            f"model.language_model.layers.{layer}.",
        )
        parts = hub[theirs + "self_attn.att_proj.weight"].split([120, 40, 40])
        for name, part in zip("qkv", parts, strict=True):
            renamed[f"{ours}self_attn.{name}_proj.weight"] = part.clone()
        up, gate = hub[theirs + "mlp.ff_proj.weight"].chunk(2)
        renamed[ours + "mlp.up_proj.weight"], renamed[ours + "mlp.gate_proj.weight"] = (
            up.clone(),
            gate.clone(),
        )
    table = [hub[f"model.transformer.wte.{name}"] for name in ("embedding", "new_embedding")]
    renamed["model.language_model.embed_tokens.weight"] = torch.cat(table)
    save_file(renamed, folder / "model.safetensors")


@pytest.fixture(scope="module", params=["tiny2-q", "tiny2-o", "tiny2-q-tf5", "mixed"])
def variant(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    name = request.param
    folder, reference = MODELS / name, name
    if name not in PATCH:
        folder, reference = tmp_path_factory.mktemp(name), "tiny2-q"
        shutil.copytree(MODELS / "tiny2-q-tf5", folder, dirs_exist_ok=True)
        if (
            name == "mixed"
        ):  # what transformers 5 writes by default: the hub's tensor names, its own config.json
            shutil.copy(MODELS / "tiny2-q/model.safetensors", folder)
        else:
            as_transformers_5(folder)
    model = load_weights(folder, MolmoConfig.from_folder(folder))
    return Loaded(model, np.load(MODELS / reference / "golden.npz"), PATCH[reference])


def pixels(case: str) -> torch.Tensor:
    values = np.load(MODELS / f"shared_pixels_{case}.npz")["images_u8"].astype(np.float32)
    return torch.from_numpy((values / 255 - np.float32(0.5)) / np.float32(0.5))


def inputs(loaded: Loaded, case: str) -> tuple[torch.Tensor | None, torch.Tensor, torch.Tensor]:
    """Return features, embeddings and mask of a case."""
    model, golden = loaded.model, loaded.golden
    ids = torch.tensor(golden[f"{case}/input_ids"])[None]
    in_block = torch.tensor(golden[f"{case}/image_mask"]).bool()
    if case == "text":
        return None, model.embed(ids), block_mask(in_block)
    windows = torch.tensor(golden[f"{case}/token_pooling"])
    features = model.encode_images(pixels(case), windows)
    index = (ids[0] == loaded.patch).nonzero()[:, 0]
    return features, model.embed(ids, features[None], index[None]), block_mask(in_block)


def check_features(features: torch.Tensor, golden: Any, case: str) -> None:
    ours = features.numpy()
    np.testing.assert_allclose(ours[::7, :24], golden[f"{case}/features_slice"], atol=5e-4, rtol=0)
    mean, spread, total = golden[f"{case}/features_stats"][:3]
    wide = ours.astype(np.float64)
    np.testing.assert_allclose(
        [wide.mean(), wide.std(), np.abs(wide).sum()], [mean, spread, total], rtol=2e-4, atol=1e-4
    )
    if f"{case}/features_full" in golden:
        np.testing.assert_allclose(ours, golden[f"{case}/features_full"], atol=5e-4, rtol=0)


@pytest.mark.parametrize("case", IMAGES)
@torch.inference_mode()
def test_vision_tower(variant: Loaded, case: str) -> None:
    ours = variant.model.vision(pixels(case))[:, ::27, ::4].numpy()
    np.testing.assert_allclose(ours, variant.golden[f"{case}/vit_slice"], atol=5e-5, rtol=0)


@pytest.mark.parametrize("case", CASES)
@torch.inference_mode()
def test_float32_reproduces_every_number(variant: Loaded, case: str) -> None:
    model, golden = variant.model, variant.golden
    features, x, mask = inputs(variant, case)
    if features is not None:
        check_features(features, golden, case)
    logits = model(x, torch.arange(x.shape[1])[None], mask=mask)[0]
    np.testing.assert_allclose(logits[-8:], golden[f"{case}/logits_last8"], atol=1e-4, rtol=0)
    np.testing.assert_allclose(
        logits.logsumexp(-1), golden[f"{case}/logsumexp_all"], atol=1e-4, rtol=0
    )
    clear = golden[f"{case}/margin_all"] > 1e-3
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(logits.argmax(-1)[clear], golden[f"{case}/argmax_all"][clear])


@pytest.mark.parametrize("case", CASES)
@torch.inference_mode()
def test_greedy_tokens_are_exact_behind_a_closed_prefix(variant: Loaded, case: str) -> None:
    """Begin token and image tokens are read with the block mask, the prompt afterwards with none, then one token at a time."""
    model, golden = variant.model, variant.golden
    _, x, mask = inputs(variant, case)
    length = x.shape[1]
    in_block = np.flatnonzero(golden[f"{case}/image_mask"])
    prefix = int(in_block[-1]) + 1 if len(in_block) else 1
    cache = model.decoder.allocate_cache(length + 24)
    positions = torch.arange(length)[None]
    model.decoder(
        x[:, :prefix], positions[:, :prefix], mask=mask[..., :prefix, :prefix], cache=cache
    )
    cache.keep(range(prefix))
    hidden = model.decoder(x[:, prefix:], positions[:, prefix:], cache=cache)
    cache.keep(range(length - prefix))
    first = model.decoder.logits(hidden[:, -1])
    decoding = DecodeState([int(first.argmax())], stop=-1, limits=Limits(23), drafter=NoDraft())
    steps = list(generate(model, cache, decoding))
    tokens = [int(first.argmax()), *(token for step in steps for token in step.tokens)]
    assert tokens == golden[f"{case}/greedy24"].tolist()
    logits = torch.cat([first, *(step.logits for step in steps)])
    np.testing.assert_allclose(logits, golden[f"{case}/greedy_logits"], atol=1e-4, rtol=0)


MICRO = np.load(GOLDEN / "micro.npz")


@pytest.mark.parametrize("name", ["qwen4b", "qwen8b", "olmo_plain", "olmo_yarn"])
def test_rotary_tables_of_the_real_sizes(name: str) -> None:
    olmo = MolmoConfig.from_folder(MODELS / "tiny2-o").decoder
    theta = {"qwen4b": 5e6, "qwen8b": 1e6}.get(name, 5e5)
    yarn = olmo.yarn if name == "olmo_yarn" else None
    positions = torch.tensor(MICRO[f"rope/{name}/pos"])[None]
    for ours, key in zip(rotary_table(positions, 128, theta, yarn), ("cos", "sin"), strict=True):
        np.testing.assert_array_equal(ours[0, 0], MICRO[f"rope/{name}/{key}"])


def test_tanh_gelu() -> None:
    ours = F.gelu(torch.tensor(MICRO["gelu_tanh/x"]), approximate="tanh")
    np.testing.assert_allclose(ours, MICRO["gelu_tanh/y"], atol=1e-6)


@pytest.mark.parametrize("scheme", [NamingScheme.MOLMO2, NamingScheme.TRANSFORMERS])
@pytest.mark.parametrize("name", PATCH)
def test_weights_are_written_as_they_are_read(
    name: str, scheme: NamingScheme, tmp_path: Path
) -> None:
    folder = MODELS / name
    config = MolmoConfig.from_folder(folder)
    model = load_weights(folder, config)
    save_weights(model, tmp_path, scheme=scheme)
    (tmp_path / "config.json").write_text("{}")
    again = load_weights(tmp_path, config)
    for key, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key
    if scheme is NamingScheme.MOLMO2:
        theirs, ours = (
            load_file(folder / "model.safetensors"),
            load_file(tmp_path / "model.safetensors"),
        )
        assert theirs.keys() == ours.keys()
        assert all(torch.equal(theirs[key], ours[key]) for key in theirs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", PATCH)
@torch.inference_mode()
def test_half_precision_agrees_on_nine_of_ten(name: str, dtype: torch.dtype) -> None:
    model = load_weights(MODELS / name, MolmoConfig.from_folder(MODELS / name), dtype=dtype)
    loaded = Loaded(model, np.load(MODELS / name / "golden.npz"), PATCH[name])
    equal = []
    for case in ("text", "img1_640x480"):
        _, x, mask = inputs(loaded, case)
        logits = model(x, torch.arange(x.shape[1])[None], mask=mask)[0]
        assert logits.isfinite().all()
        equal.append(logits.argmax(-1).numpy() == loaded.golden[f"{case}/argmax_all"])
    assert np.concatenate(equal).mean() >= 0.9


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    tensors = load_file(MODELS / "tiny2-q/model.safetensors")
    del tensors["model.transformer.blocks.1.self_attn.q_norm.weight"]
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(
        CheckpointError, match=r"1 missing: model.transformer.blocks.1.self_attn.q_norm.weight"
    ):
        load_weights(tmp_path, MolmoConfig.from_folder(MODELS / "tiny2-q"))


def test_files_of_transformers_5_are_not_split(tmp_path: Path) -> None:
    shutil.copytree(MODELS / "tiny2-q-tf5", tmp_path, dirs_exist_ok=True)
    as_transformers_5(tmp_path)
    with pytest.raises(UsageError, match="cannot be split"):
        load_weights(tmp_path, MolmoConfig.from_folder(tmp_path), shard=Shard(0, 2))
