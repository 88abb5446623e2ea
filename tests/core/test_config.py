"""config.json and the other JSON files: every key is known, and unsupported values are refused by name."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from molmo_point.checkpoints.catalog import CATALOG, NANO_FOLDER
from molmo_point.checkpoints.config import MolmoConfig
from molmo_point.checkpoints.config_keys import GENERATION_RULES, IGNORED_ANYWHERE
from molmo_point.errors import CheckpointError

MODELS = Path(__file__).parents[1] / "golden" / "models"
FAMILIES = ("tiny-d", "tiny-o", "tiny-moe", "tiny-72b")
PUBLISHED_IMAGES = json.loads((MODELS / "tiny-d/preprocessor_config.json").read_text())

Jsons = tuple[dict[str, Any], dict[str, Any]]


def files(name: str = "tiny-d") -> Jsons:
    folder = NANO_FOLDER if name == "nano" else MODELS / name
    return (
        json.loads((folder / "config.json").read_text()),
        json.loads((folder / "preprocessor_config.json").read_text()),
    )


def read(name: str = "tiny-d", **changes: object) -> MolmoConfig:
    config, image = files(name)
    return MolmoConfig.from_dicts({**config, **changes}, image)


def refusal(name: str = "tiny-d", **changes: object) -> str:
    with pytest.raises(CheckpointError) as caught:
        read(name, **changes)
    return str(caught.value)


DENSE = {
    "molmo-7b-d": (3584, 28, 28, 4, 37888, 152064, 152064, 1e-6, 1e6, True, False, False),
    "molmo-7b-o": (4096, 32, 32, None, 22016, 100278, 100352, 1e-6, 5e5, False, True, True),
    "molmo-72b": (8192, 80, 64, 8, 59136, 152064, 152064, 1e-5, 1e6, True, False, False),
}
"""Values of DENSE_KEYS (docs/molmo.md section 1)."""
DENSE_KEYS = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "intermediate_size",
    "vocab_size",
    "embedding_size",
    "layer_norm_eps",
    "rope_theta",
    "qkv_bias",
    "attention_layer_norm",
    "norm_after",
)


def published_dense(name: str) -> dict[str, Any]:
    """The keys that the released dense config.json files hold (docs/molmo.md 1.2): no vision keys."""
    config, _ = files("tiny-d")
    del config["vision_backbone"], config["vit_layers"], config["additional_vocab_size"]
    return {**config, **dict(zip(DENSE_KEYS, DENSE[name], strict=True))}


@pytest.mark.parametrize("name", DENSE)
def test_the_published_dense_configs_are_those_of_the_catalog(name: str) -> None:
    entry = next(entry for entry in CATALOG if entry.name == name)
    assert MolmoConfig.from_dicts(published_dense(name), PUBLISHED_IMAGES) == entry.config


def test_the_published_mixture_config_is_that_of_the_catalog() -> None:
    config, image = files("tiny-moe")
    tower = {**config["vision_backbone"], "image_emb_dim": 1024, "image_num_layers": 23}
    tower |= {"image_num_heads": 16, "image_num_key_value_heads": 16, "image_head_dim": 64}
    tower |= {"image_mlp_dim": 4096}
    config |= {"d_model": 2048, "n_layers": 16, "n_heads": 16, "moe_num_experts": 64}
    config |= {"moe_top_k": 8, "vocab_size": 50280, "embedding_size": 50304}
    config |= {"vision_backbone": tower, "vit_layers": [-2, -9]}
    entry = next(entry for entry in CATALOG if entry.name == "molmoe-1b")
    assert MolmoConfig.from_dicts(config, image) == entry.config


@pytest.mark.parametrize("name", [*FAMILIES, "nano"])
def test_every_checkpoint_of_the_project_is_read(name: str) -> None:
    assert read(name).decoder.layers > 0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("some_future_switch", True),
        ("hidden_act", "gelu"),
        ("sliding_window", 1024),
        ("use_sliding_window", True),
        ("partial_rotary_factor", 0.5),
        ("head_dim", 32),
        ("attention_bias", False),
        ("tie_word_embeddings", True),
        ("clip_qkv", 8.0),
        ("layer_types", ["full_attention", "sliding_attention", "full_attention"]),
        ("repetition_penalty", 1.3),
        ("message_formatting", "chatml"),
        ("system_prompt_kind", "style_and_length"),
        ("always_start_with_space", False),
        ("image_pooling_2d", "stack"),
        ("crop_mode", "resize"),
        ("image_pooling_w", 3),
        ("overlap_margins", [2, 2]),
        ("num_hidden_layers", "3"),
        ("num_hidden_layers", 0),
        ("num_hidden_layers", 10**9),
        ("hidden_size", 2**40),
        ("num_hidden_layers", True),
        ("hidden_size", None),
        ("layer_norm_eps", math.nan),
        ("rope_theta", math.inf),
        ("num_key_value_heads", 4),
        ("intermediate_size", 321),
        ("vit_layers", [-2, -9]),
        ("moe_top_k", 2),
    ],
)
def test_unsupported_values_are_refused_by_name_and_value(key: str, value: object) -> None:
    message = refusal(**{key: value})
    assert key in message or key == "num_key_value_heads"
    assert str(value) in message or repr(value) in message


@pytest.mark.parametrize(
    "key", ["image_mlp_activations", "image_model_type", "resize_mode", "new"]
)
def test_the_vision_tower_has_its_own_keys(key: str) -> None:
    tower = files()[0]["vision_backbone"]
    assert f"vision_backbone.{key} = 'siglip'" in refusal(vision_backbone={**tower, key: "siglip"})


def test_all_that_is_wrong_is_in_one_error() -> None:
    message = refusal(clip_qkv=8.0, new_switch=3, num_hidden_layers=-1)
    for words in ("clip_qkv = 8.0 (expected None)", "new_switch = 3 (unknown key)", "-1"):
        assert words in message


@pytest.mark.parametrize(
    "changes",
    [
        {"rope_scaling": None, "sliding_window": None, "quantization_config": None},
        {"sliding_window": False, "use_sliding_window": False, "max_window_layers": 28},
        {"rope_scaling": {"rope_type": "default"}, "partial_rotary_factor": 1.0},
        {"head_dim": 16, "attention_bias": True, "hidden_act": "silu"},
        {"layer_types": ["full_attention"] * 3},
        {"transformers_version": "5.2.0", "dtype": "bfloat16", "_name_or_path": "x/y"},
        {"do_sample": True, "temperature": 0.2, "repetition_penalty": 1.0},
        {"some_future_switch": None},
    ],
)
def test_neutral_values_and_bookkeeping_change_nothing(changes: dict[str, Any]) -> None:
    assert read(**changes) == read()


@pytest.mark.parametrize(
    "scaling",
    [
        {"type": "linear", "factor": 4.0},
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 4096},
        {"type": "dynamic", "factor": 2.0},
        {"rope_type": "default", "factor": 4.0},
        {"rope_type": "default", "partial_rotary_factor": 0.5},
        {"full_attention": {"rope_theta": 1e6}},
    ],
)
@pytest.mark.parametrize("place", ["rope_scaling", "rope_parameters"])
def test_scaled_positions_are_refused(place: str, scaling: dict[str, Any]) -> None:
    message = refusal(**{place: scaling})
    assert place in message
    assert str(next(iter(scaling.values()))) in message or "factor" in message


def test_the_rope_parameters_of_transformers_5() -> None:
    config, image = files()
    theta = config.pop("rope_theta")
    nested = {**config, "rope_parameters": {"rope_theta": theta, "rope_type": "default"}}
    assert MolmoConfig.from_dicts(nested, image) == read()
    assert MolmoConfig.from_dicts({**nested, "rope_theta": theta}, image) == read()
    with pytest.raises(CheckpointError, match="lacks the key 'rope_theta'"):
        MolmoConfig.from_dicts({**config, "rope_parameters": {"rope_type": "default"}}, image)


def test_two_different_thetas_are_refused() -> None:
    message = refusal(rope_parameters={"rope_theta": 5e5, "rope_type": "default"})
    assert "rope_theta = 1e+06, rope_parameters.rope_theta = 500000" in message


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes"),
        ({"quant_method": "gptq", "bits": 4}, "gptq"),
        ({"quant_method": "awq"}, "awq"),
        ({"quant_method": "fp8"}, "fp8"),
        ({"bits": 4}, "unknown kind"),
    ],
)
def test_quantized_checkpoints_are_named_and_the_way_out_too(
    settings: dict[str, Any], words: str
) -> None:
    message = refusal(quantization_config=settings)
    assert f"quantized ({words}" in message or words in message
    assert "quantize='int8'" in message


def test_weights_that_mlx_quantized_are_named() -> None:
    message = refusal(quantization={"bits": 4, "group_size": 64})
    assert "these weights are quantized" in message
    assert "quantize='int8'" in message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("do_normalize", False),
        ("image_padding_mask", False),
        ("image_token_length_w", 11),
        ("image_token_length_h", 5),
        ("base_image_input_size", [336, 224]),
        ("image_mean", [0.5, 0.5]),
        ("image_std", [0.0, 0.5, 0.5]),
        ("max_crops", "12"),
        ("do_rescale", False),
        ("rescale_factor", 1 / 127.5),
        ("resample", 3),
        ("overlap_margins", [4]),
        ("overlap_margins", None),
    ],
)
def test_the_image_processor_is_held_to_its_keys(key: str, value: object) -> None:
    config, image = files()
    with pytest.raises(CheckpointError) as caught:
        MolmoConfig.from_dicts(config, {**image, key: value})
    assert "preprocessor_config.json" in str(caught.value)


def test_more_crops_than_can_be_laid_out_are_refused() -> None:
    config, image = files()
    with pytest.raises(CheckpointError, match="max_crops = 999999"):
        MolmoConfig.from_dicts(config, {**image, "max_crops": 999_999})


@pytest.mark.parametrize("key", ["overlap_margins", "max_crops", "base_image_input_size"])
def test_no_size_of_crops_is_guessed(key: str) -> None:
    config, image = files("nano")
    del image[key]
    with pytest.raises(CheckpointError, match=f"the key '{key}' is missing"):
        MolmoConfig.from_dicts(config, image)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("config.json", "preprocessor_config.json", "processor_config.json"):
        shutil.copy(MODELS / "tiny-d" / name, tmp_path)
    return tmp_path


def test_a_folder_without_image_processor_is_refused(folder: Path) -> None:
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(CheckpointError, match=r"no preprocessor_config\.json"):
        MolmoConfig.from_folder(folder)


def test_the_image_processor_that_transformers_5_writes(folder: Path) -> None:
    path = folder / "preprocessor_config.json"
    nested = {"processor_class": "MolmoProcessor", "image_processor": json.loads(path.read_text())}
    path.unlink()
    (folder / "processor_config.json").write_text(json.dumps(nested))
    assert MolmoConfig.from_folder(folder) == read()
    path.write_text(json.dumps({**nested["image_processor"], "max_crops": 6}))  # type: ignore[dict-item]
    with pytest.raises(CheckpointError, match="contradict each other"):
        MolmoConfig.from_folder(folder)


def test_an_unknown_key_of_the_processor_is_refused(folder: Path) -> None:
    (folder / "processor_config.json").write_text(json.dumps({"message_format": "chatml"}))
    with pytest.raises(CheckpointError, match="message_format = 'chatml'"):
        MolmoConfig.from_folder(folder)


def generation(folder: Path, **content: object) -> MolmoConfig:
    (folder / "generation_config.json").write_text(json.dumps(content))
    return MolmoConfig.from_folder(folder)


RULES: dict[str, object] = {
    "bad_words_ids": [[27]],
    "begin_suppress_tokens": [220],
    "constraints": ["x"],
    "dola_layers": "high",
    "encoder_no_repeat_ngram_size": 2,
    "encoder_repetition_penalty": 1.2,
    "exponential_decay_length_penalty": [5, 1.5],
    "force_words_ids": [[[27]]],
    "forced_bos_token_id": 1,
    "forced_decoder_ids": [[1, 27]],
    "forced_eos_token_id": 1,
    "guidance_scale": 1.5,
    "min_length": 5,
    "min_new_tokens": 5,
    "no_repeat_ngram_size": 3,
    "penalty_alpha": 0.6,
    "repetition_penalty": 1.05,
    "sequence_bias": [[[27], -10.0]],
    "stop_strings": ["</points>"],
    "suppress_tokens": [27],
    "token_healing": True,
    "watermarking_config": {"bias": 2.0},
    "some_future_rule": 3,
}


@pytest.mark.parametrize("key", RULES)
def test_rules_that_change_greedy_answers_are_refused(folder: Path, key: str) -> None:
    message = rf"generation_config\.json asks .*{key} = "
    with pytest.raises(CheckpointError, match=message):
        generation(folder, _from_model_config=True, **{key: RULES[key]})


def test_every_rule_of_the_table_is_tried() -> None:
    assert set(RULES) - {"some_future_rule"} == set(GENERATION_RULES)


@pytest.mark.parametrize(
    "content",
    [
        {"_from_model_config": True, "transformers_version": "4.43.3"},
        {"bos_token_id": 258, "eos_token_id": [256, 257], "pad_token_id": 256},
        {
            "do_sample": True,
            "temperature": 0.1,
            "top_k": 1,
            "top_p": 0.001,
            "max_new_tokens": 2048,
        },
        {"suppress_tokens": [], "bad_words_ids": None, "min_length": 0, "repetition_penalty": 1.0},
        {"stop_strings": "<|endoftext|>", "num_beams": 1, "cache_implementation": "static"},
    ],
)
def test_what_does_not_change_greedy_answers_is_accepted(
    folder: Path, content: dict[str, Any]
) -> None:
    assert generation(folder, **content) == read()


def test_what_transformers_itself_writes_is_accepted(folder: Path) -> None:
    transformers = pytest.importorskip("transformers")
    options = transformers.GenerationConfig()
    options.save_pretrained(folder)
    written = json.loads((folder / "generation_config.json").read_text())
    unset = {key: None for key in options.to_dict() if key not in written}
    assert generation(folder, **written, **unset) == read()
    known = GENERATION_RULES.keys() | IGNORED_ANYWHERE | {"eos_token_id"}
    assert options.to_dict().keys() <= known


def lfs(path: Path) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lfs, "Git LFS pointer"),
        (lambda path: path.write_text("[" * 100_000), "cannot be read as JSON"),
        (lambda path: path.write_bytes(b"\xff\xfe\x00"), "cannot be read as JSON"),
        (lambda path: path.write_text("[]"), "holds a list"),
    ],
)
def test_damaged_json_is_named(folder: Path, damage: Callable[[Path], None], words: str) -> None:
    damage(folder / "config.json")
    with pytest.raises(CheckpointError, match=words):
        MolmoConfig.from_folder(folder)
