"""Sizes of a Molmo 2, from config.json and the image processor's file, in the hub's dialect or that of transformers 5.

The two spell some keys differently (`vit_config` and `vision_config`, `layer_norm_eps` and `rms_norm_eps`, ...); both spellings
are read, each key by itself, and may not contradict each other (molmo2.md 1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field

from molmo_point.checkpoints import molmo2_keys as tables
from molmo_point.checkpoints.config_files import (
    Channels,
    Count,
    Crops,
    Depth,
    Keys,
    Layers,
    Margins,
    Pair,
    Small,
    Spreads,
    checked,
    end_ids,
)
from molmo_point.checkpoints.config_sizes import (
    DecoderConfig,
    PointHeadConfig,
    PreprocessConfig,
    VisionConfig,
    Yarn,
)
from molmo_point.errors import CheckpointError

Value = TypeVar("Value")
Positive = Annotated[float, Field(gt=0)]

FILE = "config.json"


class NetworkKeys(Keys):
    """config.json."""

    model_type: str
    adapter_config: dict[str, Any]
    eos_token_id: int | list[int] | None = None
    text_config: dict[str, Any]
    vision_config: dict[str, Any] | None = None
    vit_config: dict[str, Any] | None = None


class PointNetworkKeys(NetworkKeys):
    """config.json of MolmoPoint. Keys with one value must be there: without them the released code builds other heads."""

    no_more_points_class: Literal[True]
    patch_embed_dim: Count
    patch_embedding_kind: Literal["image_feature0"]
    patch_location: Literal["3x3"]
    token_prediction_rotary: Literal["one_d"]
    token_prediction_rotary_theta: Positive


class TextKeys(Keys):
    """`text_config`."""

    additional_vocab_size: Annotated[int, Field(ge=0)]
    head_dim: Count
    hidden_size: Count
    intermediate_size: Count
    layer_norm_eps: Small | None = None
    max_position_embeddings: Count
    norm_after: bool
    num_attention_heads: Count
    num_hidden_layers: Depth
    num_key_value_heads: Count
    qk_norm_type: Literal["qwen3", "olmo"]
    rms_norm_eps: Small | None = None
    rope_parameters: dict[str, Any] | None = None
    rope_scaling: dict[str, Any] | None = None
    rope_scaling_layers: list[Annotated[int, Field(ge=0)]] | None = None
    rope_theta: Positive | None = None
    vocab_size: Count


class RopeKeys(Keys):
    """`rope_parameters` or `rope_scaling`."""

    attention_factor: Positive | None = None
    beta_fast: Positive | None = None
    beta_slow: Positive | None = None
    factor: Annotated[float, Field(ge=1)] | None = None
    original_max_position_embeddings: Count | None = None
    rope_theta: Positive | None = None
    rope_type: Literal["default", "yarn"] | None = None
    type: Literal["default", "yarn"] | None = None


class VisionKeys(Keys):
    """`vit_config` or `vision_config`."""

    head_dim: Count
    hidden_size: Count
    image_default_input_size: Pair | None = None
    image_num_pos: Count | None = None
    image_patch_size: Count | None = None
    image_size: Pair | None = None
    intermediate_size: Count
    layer_norm_eps: Small
    num_attention_heads: Count
    num_hidden_layers: Depth
    num_key_value_heads: Count
    num_position_embeddings: Count | None = None
    patch_size: Count | None = None


class AdapterKeys(Keys):
    """`adapter_config`."""

    head_dim: Count
    hidden_size: Count
    intermediate_size: Count
    num_attention_heads: Count
    num_key_value_heads: Count
    text_hidden_size: Count
    vision_feature_layer: Layers | None = None
    vit_layers: Layers | None = None


class ImageKeys(Keys):
    """preprocessor_config.json, or `image_processor` of processor_config.json. Nothing has a default."""

    image_mean: Channels
    image_std: Spreads
    max_crops: Crops
    overlap_margins: Margins
    patch_size: Count
    pooling_size: Pair
    rescale_factor: float | None = None
    size: dict[str, Count]


@dataclass(frozen=True)
class Molmo2Sizes:
    """What config.json and the image processor's file say together."""

    decoder: DecoderConfig
    projector_width: int
    vision: VisionConfig
    preprocess: PreprocessConfig
    end_tokens: tuple[int, ...]
    points: PointHeadConfig | None


def read_molmo2(config: Mapping[str, Any], image: Mapping[str, Any]) -> Molmo2Sizes:
    """Read the contents of the two files.

    Raises:
        CheckpointError: Keys that are unknown, missing, contradict each other or ask for what the network does not do.
    """
    keys = network_keys(config)
    tower = _given("vit_config", keys.vit_config, "vision_config", keys.vision_config)
    text = checked(TextKeys, tables.TEXT, keys.text_config, FILE, "text_config.")
    table = tables.adapter(keys.model_type)
    adapter = checked(AdapterKeys, table, keys.adapter_config, FILE, "adapter_config.")
    vision = _vision(checked(VisionKeys, tables.VISION, tower, FILE, "vision_config."), adapter)
    _compare(adapter, vision, text.hidden_size)
    points = None
    if isinstance(keys, PointNetworkKeys):
        points = PointHeadConfig(keys.patch_embed_dim, keys.token_prediction_rotary_theta)
    return Molmo2Sizes(
        decoder=_decoder(text, writes_new_tokens=points is not None),
        projector_width=adapter.intermediate_size,
        vision=vision,
        preprocess=_preprocess(image_keys(image), low_token=points is not None),
        end_tokens=end_ids(keys.eos_token_id),
        points=points,
    )


def network_keys(config: Mapping[str, Any]) -> NetworkKeys:
    """Check config.json's own keys; errors as `read_molmo2`."""
    if config["model_type"] == "molmo_point":
        return checked(PointNetworkKeys, tables.POINT_NETWORK, config, FILE)
    return checked(NetworkKeys, tables.NETWORK, config, FILE)


def image_keys(image: Mapping[str, Any]) -> ImageKeys:
    """Check the image processor's keys; errors as `read_molmo2`."""
    return checked(ImageKeys, tables.IMAGES, image, "preprocessor_config.json")


def _given(one: str, first: Value | None, other: str, second: Value | None) -> Value:
    """Return what one of two spellings of a key says.

    Raises:
        CheckpointError: Neither is there, or they differ.
    """
    if first is not None and second is not None and first != second:
        raise CheckpointError(
            f"config.json contradicts itself: {one} = {first}, {other} = {second}"
        )
    value = second if first is None else first
    if value is None:
        raise CheckpointError(f"config.json lacks the key {one!r} (or {other!r})")
    return value


def _decoder(keys: TextKeys, *, writes_new_tokens: bool) -> DecoderConfig:
    theta, yarn = _rope(keys)
    layers = range(keys.num_hidden_layers)
    scaled = layers if keys.rope_scaling_layers is None else keys.rope_scaling_layers
    if set(scaled) - set(layers):
        raise CheckpointError(
            f"config.json: rope_scaling_layers = {list(scaled)} are not all among the {len(layers)} layers"
        )
    new = keys.additional_vocab_size
    return DecoderConfig(
        d_model=keys.hidden_size,
        layers=keys.num_hidden_layers,
        heads=keys.num_attention_heads,
        kv_heads=keys.num_key_value_heads,
        head_width=keys.head_dim,
        ffn_width=keys.intermediate_size,
        vocab_size=keys.vocab_size,
        embedding_size=keys.vocab_size + new * writes_new_tokens,
        new_embedding_size=0 if writes_new_tokens else new,
        norm_eps=_given("layer_norm_eps", keys.layer_norm_eps, "rms_norm_eps", keys.rms_norm_eps),
        norm_after=keys.norm_after,
        qk_norm=True,
        norm_heads=keys.qk_norm_type == "qwen3",
        rope_theta=theta,
        yarn=yarn,
        yarn_layers=tuple(sorted(scaled)) if yarn else (),
        max_positions=keys.max_position_embeddings,
        image_block=True,
        norm_in_head=writes_new_tokens,
    )


def _rope(keys: TextKeys) -> tuple[float, Yarn | None]:
    """Return the base of the rotary positions, and how those of some layers are scaled."""
    read = [
        checked(RopeKeys, tables.ROPE, settings, FILE, f"text_config.{name}.")
        for name, settings in (
            ("rope_scaling", keys.rope_scaling),
            ("rope_parameters", keys.rope_parameters),
        )
        if settings
    ]
    nested = next((rope.rope_theta for rope in read if rope.rope_theta is not None), None)
    theta = _given("rope_theta", keys.rope_theta, "rope_parameters.rope_theta", nested)
    scaled = [rope for rope in read if "yarn" in (rope.rope_type, rope.type)]
    return theta, _yarn(scaled[0]) if scaled else None


def _yarn(rope: RopeKeys) -> Yarn:
    if rope.factor is None or rope.original_max_position_embeddings is None:
        raise CheckpointError(
            f"config.json: YaRN needs factor and original_max_position_embeddings, got {rope}"
        )
    return Yarn(
        factor=rope.factor,
        original_positions=rope.original_max_position_embeddings,
        attention_factor=rope.attention_factor or 0.1 * math.log(rope.factor) + 1,
        beta_fast=rope.beta_fast or 32,
        beta_slow=rope.beta_slow or 1,
    )


def _vision(keys: VisionKeys, adapter: AdapterKeys) -> VisionConfig:
    size = _given(
        "image_default_input_size", keys.image_default_input_size, "image_size", keys.image_size
    )
    declared = _given(
        "vit_layers", adapter.vit_layers, "vision_feature_layer", adapter.vision_feature_layer
    )
    layers = keys.num_hidden_layers
    if any(not -layers <= layer < layers for layer in declared):
        raise CheckpointError(
            f"config.json: vit_layers = {declared} are not all among the {layers} blocks of the vision tower"
        )
    used = [layer % layers for layer in declared]
    vision = VisionConfig(
        kind="siglip2",
        width=keys.hidden_size,
        # The hub's files declare blocks that they do not hold: those above the last one whose output is used.
        layers=max(used) + 1,
        heads=keys.num_attention_heads,
        head_dim=keys.head_dim,
        mlp_width=keys.intermediate_size,
        patch_size=_given(
            "image_patch_size", keys.image_patch_size, "patch_size", keys.patch_size
        ),
        image_size=(size[0], size[1]),
        norm_eps=keys.layer_norm_eps,
        feature_layers=tuple(used),
    )
    positions = _given(
        "image_num_pos",
        keys.image_num_pos,
        "num_position_embeddings",
        keys.num_position_embeddings,
    )
    if positions != vision.n_positions or keys.num_key_value_heads != vision.heads:
        raise CheckpointError(
            f"config.json: the vision tower has {positions} positions and {keys.num_key_value_heads} key heads (expected "
            f"{vision.n_positions} and {vision.heads})"
        )
    return vision


def _compare(adapter: AdapterKeys, vision: VisionConfig, text_width: int) -> None:
    """Refuse an adapter whose widths are not those of the parts that it connects."""
    said = (
        adapter.hidden_size,
        adapter.num_attention_heads,
        adapter.num_key_value_heads,
        adapter.head_dim,
        adapter.text_hidden_size,
    )
    expected = (vision.width, vision.heads, vision.heads, vision.head_dim, text_width)
    if said != expected:
        raise CheckpointError(
            f"config.json: adapter_config has (hidden_size, num_attention_heads, num_key_value_heads, head_dim, "
            f"text_hidden_size) = {said} (expected {expected})"
        )


def _preprocess(keys: ImageKeys, *, low_token: bool) -> PreprocessConfig:
    height, width = keys.size.get("height"), keys.size.get("width")
    rows, columns = keys.pooling_size
    if height is None or height != width or rows != columns or len(keys.size) != 2:
        raise CheckpointError(
            f"preprocessor_config.json: size = {keys.size}, pooling_size = {keys.pooling_size} (expected squares)"
        )
    if keys.rescale_factor is not None and abs(keys.rescale_factor * 255 - 1) > 1e-6:
        raise CheckpointError(
            f"preprocessor_config.json: rescale_factor = {keys.rescale_factor} (expected 1/255)"
        )
    red, green, blue = keys.image_mean
    spreads = keys.image_std
    return PreprocessConfig(
        crop_size=height,
        patch_size=keys.patch_size,
        margins=(keys.overlap_margins[0], keys.overlap_margins[1]),
        pool_size=rows,
        max_crops=keys.max_crops,
        mean=(red, green, blue),
        std=(spreads[0], spreads[1], spreads[2]),
        stretched=True,
        low_token=low_token,
    )
