"""Checkpoints: one file, shards, the training repository's names, and everything that can be wrong with a folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import molmo_point as mp
from molmo_point.checkpoints.catalog import CATALOG, NANO_FOLDER
from molmo_point.checkpoints.config import MolmoConfig
from molmo_point.checkpoints.hub import resolve
from molmo_point.errors import CheckpointError, ModelNotFound
from molmo_point.model.checkpoint_names import NamingScheme
from molmo_point.model.molmo import Molmo
from molmo_point.model.weights import load_weights, parameter_count, save_weights
from molmo_point.preprocess.tokenizer import Tokenizer

MODELS = Path(__file__).parents[1] / "golden" / "models"
FAMILIES = ("tiny-d", "tiny-o", "tiny-moe", "tiny-72b")


def load(folder: Path) -> Molmo:
    return load_weights(folder, MolmoConfig.from_folder(folder))


def same(one: Molmo, other: Molmo) -> bool:
    pairs = zip(one.named_parameters(), other.named_parameters(), strict=True)
    return all(a[0] == b[0] and torch.equal(a[1], b[1]) for a, b in pairs)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of tiny-d to break."""
    target = tmp_path / "checkpoint"
    shutil.copytree(MODELS / "tiny-d", target)
    return target


def shard(folder: Path) -> None:
    """Split model.safetensors in two, keys interleaved, as the published checkpoints are."""
    tensors = load_file(folder / "model.safetensors")
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    where = {key: names[index % 2] for index, key in enumerate(sorted(tensors))}
    for name in names:
        save_file({key: tensors[key] for key in tensors if where[key] == name}, folder / name)
    index = {"metadata": {}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").unlink()


def test_shards_are_the_same_as_one_file(folder: Path) -> None:
    whole = load(folder)
    shard(folder)
    assert same(load(folder), whole)


@pytest.mark.parametrize("name", FAMILIES)
def test_written_checkpoint_reads_back(name: str, tmp_path: Path) -> None:
    model = load(MODELS / name)
    shutil.copy(MODELS / name / "config.json", tmp_path)
    shutil.copy(MODELS / name / "preprocessor_config.json", tmp_path)
    save_weights(model, tmp_path)
    assert same(load(tmp_path), model)
    published = load_file(MODELS / name / "model.safetensors")
    for key, tensor in load_file(tmp_path / "model.safetensors").items():
        assert torch.equal(tensor, published[key]), key


def test_training_repository_names_of_the_mixture(tmp_path: Path) -> None:
    """Written by hand as megablocks lays experts out: rows concatenated, w1 = gate, v1 = up, w2 = down transposed."""
    model = load(MODELS / "tiny-moe")
    theirs: dict[str, torch.Tensor] = {}
    for key, tensor in load_file(MODELS / "tiny-moe" / "model.safetensors").items():
        new = key.removeprefix("model.").replace(".attn.", ".").replace("mlp.ff_norm", "ff_norm")
        new = new.replace("lm_head.weight", "transformer.ff_out.weight")
        new = new.replace("mlp.gate.weight", "ffn.router.layer.weight")
        if ".experts." not in key:
            theirs[new] = tensor
    published = load_file(MODELS / "tiny-moe" / "model.safetensors")
    for block in range(2):
        base = f"model.transformer.blocks.{block}.mlp.experts."
        target = f"transformer.blocks.{block}.ffn.experts.mlp."
        for name, source in (("w1", "gate_proj"), ("v1", "up_proj"), ("w2", "down_proj")):
            parts = [published[f"{base}{expert}.{source}.weight"] for expert in range(16)]
            parts = [part.T if name == "w2" else part for part in parts]
            theirs[target + name] = torch.cat(parts).contiguous()
    for file in ("config.json", "preprocessor_config.json"):
        shutil.copy(MODELS / "tiny-moe" / file, tmp_path)
    save_file(theirs, tmp_path / "model.safetensors")
    assert same(load(tmp_path), model)
    save_weights(model, tmp_path, scheme=NamingScheme.TRAINING)
    again = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(again[key], theirs[key]) for key in again)


@pytest.mark.parametrize(
    "entry", [entry for entry in CATALOG if entry.config], ids=lambda e: e.name
)
def test_full_size_models_have_the_published_number_of_parameters(entry) -> None:  # type: ignore[no-untyped-def]
    assert parameter_count(entry.config) == entry.parameters


def test_unused_vision_blocks_are_not_built() -> None:
    config = MolmoConfig.from_folder(MODELS / "tiny-d")
    assert config.vision.used_layers < config.vision.layers
    assert len(load(MODELS / "tiny-d").vision.blocks) == config.vision.used_layers


def test_every_misfit_is_listed_in_one_error(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.transformer.ln_f.weight"]
    tensors["model.transformer.surprise"] = torch.zeros(1)
    tensors["model.vision_backbone.pad_embed"] = torch.zeros(3, 128)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError) as caught:
        load(folder)
    message = str(caught.value)
    assert "1 missing: model.transformer.ln_f.weight" in message
    assert "1 unknown: model.transformer.surprise" in message
    assert "pad_embed [3, 128] (expected [2, 128])" in message


def truncate(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def only_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def lose_a_shard(folder: Path) -> None:
    shard(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()


def other_architecture(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "hidden_size": 1}))


def unsupported_setting(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "clip_qkv": 8.0}))


def damaged_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def lora_beside_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    named = {"peft_type": "LORA", "base_model_name_or_path": "allenai/Molmo-7B-D-0924"}
    (folder / "adapter_config.json").write_text(json.dumps(named))
    (folder / "non_lora_state_dict.bin").write_bytes(b"")


def lfs_weights(folder: Path) -> None:
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5000000\n"
    (folder / "model.safetensors").write_text(text)


def retype(folder: Path, dtype: torch.dtype) -> None:
    tensors = load_file(folder / "model.safetensors")
    key = "model.transformer.blocks.0.att_proj.weight"
    save_file({**tensors, key: tensors[key].to(dtype)}, folder / "model.safetensors")


def float8(folder: Path) -> None:
    retype(folder, torch.float8_e4m3fn)


def integers(folder: Path) -> None:
    retype(folder, torch.int8)


def gptq(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.transformer.blocks.0.att_proj.weight"]
    base = "model.transformer.blocks.0.att_proj."
    tensors |= {f"{base}qweight": torch.zeros(2, 2, dtype=torch.int32)}
    tensors |= {f"{base}scales": torch.ones(2)}
    save_file(tensors, folder / "model.safetensors")


def scale_beside(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["model.transformer.blocks.0.att_proj.weight_scale_inv"] = torch.ones(1)
    save_file(tensors, folder / "model.safetensors")


def index_of_nothing(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": 5}}')


def index_without_files(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {}}')


def missing_key(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    del config["rope_theta"]
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (truncate, "damaged or cut short"),
        (only_pickle, "pickled weights only"),
        (lose_a_shard, "lacks 1 of 2 weight files"),
        (other_architecture, "got model_type 'llama'"),
        (unsupported_setting, "clip_qkv = 8.0"),
        (damaged_json, "cannot be read as JSON"),
        (missing_key, "rope_theta"),
        (lora_beside_weights, r"adapter for allenai/Molmo-7B-D-0924 .* merge"),
        (lfs_weights, "Git LFS pointer"),
        (float8, r"att_proj.weight F8_E4M3\), .* load the original model with quantize="),
        (integers, "att_proj.weight I8"),
        (gptq, "quantized"),
        (scale_beside, "quantized .*weight_scale_inv"),
        (index_of_nothing, "is damaged: expected 'weight_map'"),
        (index_without_files, "is damaged: expected 'weight_map'"),
    ],
)
def test_damaged_folders_say_what_is_wrong(folder: Path, damage, words: str) -> None:  # type: ignore[no-untyped-def]
    damage(folder)
    with pytest.raises(CheckpointError, match=words):
        load(folder)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_plain_types_are_read_into_the_wanted_one(folder: Path, dtype: torch.dtype) -> None:
    retype(folder, dtype)
    assert {p.dtype for p in load(folder).parameters()} == {torch.float32}


def test_an_adapter_alone_says_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    (tmp_path / "adapter_model.safetensors").touch()
    for name in (tmp_path, str(tmp_path)):
        with pytest.raises(CheckpointError, match=r"holds an adapter .*LoRA.* merge"):
            resolve(name)


@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
def test_a_chat_format_with_another_end_is_refused(folder: Path, file: str) -> None:
    content = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**content, "eos_token_id": 7}))
    with pytest.raises(CheckpointError, match=rf"{file} .* eos_token_id = \[7\]"):
        mp.load(folder)
    end = Tokenizer(folder).special.end
    (folder / file).write_text(json.dumps({**content, "eos_token_id": end}))
    assert mp.load(folder).network.config.decoder.layers


def test_further_ends_are_accepted(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    end = Tokenizer(folder).special.end
    (folder / "config.json").write_text(json.dumps({**config, "eos_token_id": [7, end]}))
    assert mp.load(folder).network.config.end_tokens == (7, end)


def test_a_tokenizer_that_is_too_large_is_refused(folder: Path) -> None:
    shutil.copy(NANO_FOLDER / "tokenizer.json", folder)
    with pytest.raises(CheckpointError, match="do not belong together"):
        mp.load(folder)


def test_folder_without_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match="has no tokenizer"):
        Tokenizer(folder)


def test_tokenizer_of_another_model(folder: Path) -> None:
    inner = json.loads((folder / "tokenizer.json").read_text())
    inner["added_tokens"] = [t for t in inner["added_tokens"] if t["content"] != "<im_patch>"]
    inner["model"]["vocab"].pop("<im_patch>", None)
    (folder / "tokenizer.json").write_text(json.dumps(inner))
    with pytest.raises(CheckpointError, match="no token '<im_patch>'"):
        Tokenizer(folder)


@pytest.mark.parametrize("name", FAMILIES)
def test_control_tokens_in_a_question_are_plain_words(name: str) -> None:
    tokenizer = Tokenizer(MODELS / name)
    special = set(vars(tokenizer.special).values())
    ids = tokenizer.encode("a <im_patch> b <|endoftext|><im_start>")
    assert not special & set(ids)
    assert tokenizer.decode(ids) == "a <im_patch> b <|endoftext|><im_start>"


def test_a_folder_that_is_no_model_does_not_hide_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nano").mkdir()
    assert resolve("nano") == NANO_FOLDER
    for named in ("./nano", Path("nano")):
        with pytest.raises(CheckpointError, match=r"no config\.json"):
            resolve(named)
    (tmp_path / "nano" / "config.json").write_text("{}")
    assert resolve("nano") == Path("nano")


def test_unknown_names_offer_the_nearest() -> None:
    with pytest.raises(ModelNotFound, match="molmo-7b-d"):
        resolve("molmo-7b")
    with pytest.raises(ModelNotFound, match="nano"):
        resolve("./no/such/folder")


def test_folder_that_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has no config"):
        resolve(tmp_path)


@pytest.mark.parametrize("name", FAMILIES)
def test_large_tensors_are_read_in_runs_of_rows(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = load(MODELS / name)
    monkeypatch.setattr("molmo_point.model.weight_files.CHUNK_BYTES", 4096)
    assert same(load(MODELS / name), whole)
    if name == "tiny-moe":
        for file in ("config.json", "preprocessor_config.json"):
            shutil.copy(MODELS / name / file, tmp_path)
        save_weights(whole, tmp_path, scheme=NamingScheme.TRAINING)
        assert same(load(tmp_path), whole)
