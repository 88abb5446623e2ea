"""Configurations of Molmo 2: every dialect is read alike, what is unknown or contradictory is refused."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from molmo_point.checkpoints.catalog import find
from molmo_point.checkpoints.config import MolmoConfig, Yarn
from molmo_point.errors import CheckpointError

MODELS = Path(__file__).parents[1] / "golden/molmo2/models"


def files(name: str, config: str = "config.json") -> tuple[dict[str, Any], dict[str, Any]]:
    folder = MODELS / name
    image = MODELS / "tiny2-q/preprocessor_config.json"
    return json.loads((folder / config).read_text()), json.loads(image.read_text())


def read(config: dict[str, Any], image: dict[str, Any]) -> MolmoConfig:
    return MolmoConfig.from_dicts(config, image)


def changed(where: str, **values: Any) -> dict[str, Any]:
    """tiny2-q's config.json with keys of one part changed."""
    config = copy.deepcopy(files("tiny2-q")[0])
    (config[where] if where else config).update(values)
    return config


def test_both_dialects_say_the_same() -> None:
    assert read(*files("tiny2-q")) == read(*files("tiny2-q-tf5"))
    assert read(*files("tiny2-o")) == read(*files("tiny2-o", "config_transformers5.json"))
    assert MolmoConfig.from_folder(MODELS / "tiny2-q") == MolmoConfig.from_folder(
        MODELS / "tiny2-q-tf5"
    )


def test_the_parts_of_the_olmo_form() -> None:
    decoder = read(*files("tiny2-o")).decoder
    assert decoder.yarn == Yarn(8.0, 8192, 1.2079441541679836, 32, 1)
    assert decoder.yarn_layers == (1, 3)
    assert (decoder.norm_after, decoder.qk_norm, decoder.norm_heads) == (True, True, False)
    decoder = read(*files("tiny2-q")).decoder
    assert (decoder.yarn, decoder.yarn_layers, decoder.norm_heads) == (None, (), True)
    assert (decoder.head_dim, decoder.query_width) == (20, 120)


def test_without_a_list_all_layers_are_scaled() -> None:
    config, image = files("tiny2-o")
    config["text_config"]["rope_scaling_layers"] = None
    assert read(config, image).decoder.yarn_layers == (0, 1, 2, 3, 4)


def published(d_model: int, ffn: int, theta: float, positions: int) -> dict[str, Any]:
    """The hub's config.json of a Qwen3 form in its real sizes."""
    config = copy.deepcopy(files("tiny2-q")[0])
    config["text_config"] |= {
        "hidden_size": d_model,
        "intermediate_size": ffn,
        "rope_theta": theta,
        "max_position_embeddings": positions,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 151936,
    }
    heads = {
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "head_dim": 72,
        "hidden_size": 1152,
    }
    config["vit_config"] |= {**heads, "intermediate_size": 4304, "num_hidden_layers": 27}
    config["adapter_config"] |= {
        **heads,
        "intermediate_size": ffn,
        "text_hidden_size": d_model,
        "vit_layers": [-3, -9],
    }
    return config


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("molmo2-4b", (2560, 9728, 5e6)), ("molmo2-8b", (4096, 12288, 1e6))],
)
def test_the_published_configs_are_those_of_the_catalog(
    name: str, sizes: tuple[int, int, float]
) -> None:
    entry = find(name)
    assert entry is not None
    assert read(published(*sizes, 36864), files("tiny2-q")[1]) == entry.config


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (changed("", causal_images=True), "causal_images = True"),
        (changed("text_config", sliding_window=4096), "sliding_window = 4096"),
        (changed("text_config", qk_norm_type="gemma"), "qk_norm_type = 'gemma'"),
        (changed("text_config", use_qk_norm=False), "use_qk_norm = False"),
        (changed("text_config", qkv_bias=True), "qkv_bias = True"),
        (changed("text_config", rms_norm_eps=1e-5), "rms_norm_eps"),
        (changed("text_config", layer_norm_eps=None), "layer_norm_eps"),
        (changed("text_config", rope_theta=None), "rope_theta"),
        (
            changed("text_config", rope_parameters={"rope_theta": 1e6, "rope_type": "default"}),
            "contradicts",
        ),
        (changed("text_config", rope_scaling={"rope_type": "llama3"}), "rope_type"),
        (changed("text_config", rope_scaling={"rope_type": "yarn"}), "YaRN needs factor"),
        (changed("text_config", rope_scaling_layers=[3]), "rope_scaling_layers"),
        (changed("text_config", a_new_switch=1), "text_config.a_new_switch = 1"),
        (
            changed("adapter_config", pooling_attention_mask=False),
            "pooling_attention_mask = False",
        ),
        (
            changed("adapter_config", attention_pooling_out_layer=False),
            "attention_pooling_out_layer",
        ),
        (changed("adapter_config", hidden_size=32), "adapter_config has"),
        (changed("adapter_config", vit_layers=[-2, -7]), "vit_layers"),
        (changed("adapter_config", vision_feature_layer=[4, 1]), "contradicts"),
        (changed("vit_config", hidden_act="quick_gelu"), "hidden_act"),
        (changed("vit_config", image_num_pos=577), "577 positions"),
        (changed("", vit_config=None), "vit_config"),
        (changed("", tie_word_embeddings=True), "tie_word_embeddings = True"),
        (changed("", quantization_config={"quant_method": "awq"}), "quantized"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_network_does_not_do_is_refused(config: dict[str, Any], words: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        read(config, files("tiny2-q")[1])
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("resample", 3),
        ("size", {"height": 378, "width": 336}),
        ("size", {"shortest_edge": 378}),
        ("pooling_size", [2, 3]),
        ("max_crops", 0),
        ("overlap_margins", [14, 14]),
        ("rescale_factor", 1.0),
        ("antialias", True),
    ],
)
def test_other_image_processing_is_refused(key: str, value: Any) -> None:
    config, image = files("tiny2-q")
    with pytest.raises(CheckpointError):
        read(config, {**image, key: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("use_single_crop_start_token", False),
        ("use_low_res_token_for_global_crops", True),
        ("image_use_col_tokens", False),
    ],
)
def test_other_token_layouts_are_refused(key: str, value: Any, tmp_path: Path) -> None:
    for name in ("config.json", "preprocessor_config.json"):
        shutil.copy(MODELS / "tiny2-q" / name, tmp_path)
    content = json.loads((MODELS / "tiny2-q/processor_config.json").read_text())
    (tmp_path / "processor_config.json").write_text(json.dumps({**content, key: value}))
    with pytest.raises(CheckpointError, match=key):
        MolmoConfig.from_folder(tmp_path)


def point_files(**values: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """tinypoint-q's config.json with some keys changed, and its image processor's file."""
    folder = MODELS / "tinypoint-q"
    config = json.loads((folder / "config.json").read_text())
    config.update(values)
    return config, json.loads((folder / "preprocessor_config.json").read_text())


def test_molmopoint_in_its_published_sizes_is_that_of_the_catalog() -> None:
    small, image = point_files(patch_embed_dim=512)
    config = published(4096, 12288, 1e6, 36864)
    config = {**small, **{key: config[key] for key in ("text_config", "vit_config")}}
    config["adapter_config"] = {
        **published(4096, 12288, 1e6, 36864)["adapter_config"],
        "attention_pooling_out_layer": False,
        "positional_embeddings": None,
    }
    for name in ("molmopoint-8b", "allenai/MolmoPoint-GUI-8B"):
        entry = find(name)
        assert entry is not None
        assert read(config, image) == entry.config


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("no_more_points_class", False),
        ("patch_location", None),
        ("token_prediction_rotary", "two_d"),
        ("token_prediction_rotary_theta", 0),
        ("patch_embedding_kind", "linear"),
        ("embed_location", True),
        ("norm_logits", False),
        ("layer_norm_x", False),
        ("mask_patches", "never"),
        ("patch_embed_dim", None),
        ("a_new_head", 1),
    ],
)
def test_other_heads_than_the_published_ones_are_refused(key: str, value: Any) -> None:
    with pytest.raises(CheckpointError, match=key):
        read(*point_files(**{key: value}))


def test_pooling_ends_with_a_layer_or_without_by_the_kind_of_model() -> None:
    config, image = point_files()
    config["adapter_config"]["attention_pooling_out_layer"] = True
    with pytest.raises(CheckpointError, match="attention_pooling_out_layer"):
        read(config, image)
