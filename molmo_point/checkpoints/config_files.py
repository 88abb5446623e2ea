"""Checked keys of config.json, generation_config.json, preprocessor_config.json and processor_config.json.

The released dense checkpoints and MolmoE-1B name the decoder's sizes differently: `DenseKeys`, `MixtureKeys`. `config_keys` lists
the other keys that the files may hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from molmo_point.checkpoints.config_keys import (
    GENERATION,
    IMAGES,
    NETWORK,
    PROCESSOR,
    ROPE,
    VISION,
    KeyTable,
)
from molmo_point.checkpoints.folder import read_json, weight_files
from molmo_point.checkpoints.low_bit_format import stored_scheme
from molmo_point.errors import CheckpointError

Count = Annotated[int, Field(gt=0, le=2**24)]
Depth = Annotated[int, Field(gt=0, le=1000)]
"""Number of layers. Far beyond any model, and few enough that a damaged file costs no memory before its weights are compared."""
Crops = Annotated[int, Field(gt=0, le=1000)]
"""Largest number of crops; the ways to lay them out are counted."""
Small = Annotated[float, Field(gt=0, lt=1)]
Pair = Annotated[list[Count], Field(min_length=2, max_length=2)]
Margins = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=2, max_length=2)]
Channels = Annotated[list[float], Field(min_length=3, max_length=3)]
Spreads = Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=3, max_length=3)]
Layers = Annotated[list[int], Field(min_length=1)]


class Keys(BaseModel):
    """Keys that are read, with strict types; floats are finite."""

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        protected_namespaces=(),  # `model_type` is a key of the files; pydantic before 2.10 warns of it
    )


class RopeKeys(Keys):
    """`rope_parameters` (transformers 5) or `rope_scaling`."""

    rope_theta: Annotated[float, Field(gt=0)] | None = None
    rope_type: str | None = None
    type: str | None = None


class VisionKeys(Keys):
    """`vision_backbone`."""

    image_default_input_size: Pair
    image_emb_dim: Count
    image_head_dim: Count
    image_mlp_dim: Count
    image_norm_eps: Small
    image_num_heads: Count
    image_num_key_value_heads: Count | None = None
    image_num_layers: Count
    image_num_pos: Count
    image_patch_size: Count
    image_pos_patch_size: Count | None = None


class NetworkKeys(Keys):
    """Keys of config.json in both naming schemes."""

    # Before 2.10 pydantic warns of every field whose name begins with "model_".
    model_config = ConfigDict(protected_namespaces=())

    model_type: str
    additional_vocab_size: Annotated[int, Field(ge=0)] | None = None
    attention_bias: bool | None = None
    attention_layer_norm: bool | None = None
    embedding_size: Count | None = None
    eos_token_id: int | list[int] | None = None
    head_dim: Count | None = None
    image_pooling_h: Count | None = None
    image_pooling_w: Count | None = None
    layer_norm_eps: Small
    layer_types: list[str] | None = None
    max_crops: Crops | None = None
    norm_after: bool | None = None
    overlap_margins: Margins | None = None
    qkv_bias: bool | None = None
    rope_parameters: dict[str, Any] | None = None
    rope_scaling: dict[str, Any] | None = None
    rope_theta: Annotated[float, Field(gt=0)] | None = None
    vision_backbone: dict[str, Any] | None = None
    vit_layers: Layers | None = None
    vocab_size: Count


class DenseKeys(NetworkKeys):
    """config.json of 7B-D, 7B-O and 72B."""

    hidden_size: Count
    intermediate_size: Count
    max_position_embeddings: Count | None = None
    num_attention_heads: Count
    num_hidden_layers: Depth
    num_key_value_heads: Count | None = None


class MixtureKeys(NetworkKeys):
    """config.json of MolmoE-1B, in the names of the training repository."""

    d_model: Count
    max_position_embeddings: Count | None = None
    max_sequence_length: Count | None = None
    mlp_hidden_size: Count | None = None
    mlp_ratio: Count | None = None
    moe_num_experts: Annotated[int, Field(ge=0)] | None = None
    moe_top_k: Annotated[int, Field(ge=0)] | None = None
    n_heads: Count
    n_kv_heads: Count | None = None
    n_layers: Depth


class ImageKeys(Keys):
    """preprocessor_config.json: how an image is split into crops. No key has a default: a wrong guess would move points."""

    base_image_input_size: Pair
    image_mean: Channels
    image_patch_size: Count
    image_std: Spreads
    image_token_length_h: Count
    image_token_length_w: Count
    max_crops: Crops
    overlap_margins: Margins
    rescale_factor: float | None = None


class ProcessorKeys(Keys):
    """processor_config.json. transformers 5 writes the image processor's keys into it."""

    image_processor: dict[str, Any] | None = None


class GenerationKeys(Keys):
    """generation_config.json."""

    eos_token_id: int | list[int] | None = None


Read = TypeVar("Read", bound=Keys)


GENERATIONS = {"molmo": 1, "molmo2": 2, "molmo_point": 2}
"""Values of `model_type`, and the generation that they belong to."""


def generation(config: Mapping[str, Any]) -> int:
    """Return the generation of the model that config.json describes: 1 or 2.

    Raises:
        CheckpointError: Another architecture, or quantized weights.
    """
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in GENERATIONS:
        raise CheckpointError(
            f"expected a Molmo checkpoint (model_type {', '.join(map(repr, GENERATIONS))} in config.json), got model_type "
            f"{kind!r}"
        )
    _refuse_quantized(config)
    return GENERATIONS[kind]


def network_keys(config: Mapping[str, Any]) -> DenseKeys | MixtureKeys:
    """Check config.json of the first generation.

    Raises:
        CheckpointError: Keys that are unknown or ask for what the network does not do.
    """
    if "d_model" in config:
        return checked(MixtureKeys, NETWORK, config, "config.json")
    return checked(DenseKeys, NETWORK, config, "config.json")


def vision_keys(tower: Mapping[str, Any]) -> VisionKeys:
    """Check `vision_backbone` of config.json; errors as `network_keys`."""
    return checked(VisionKeys, VISION, tower, "config.json", "vision_backbone.")


def image_keys(image: Mapping[str, Any]) -> ImageKeys:
    """Check preprocessor_config.json; errors as `network_keys`."""
    keys = checked(ImageKeys, IMAGES, image, "preprocessor_config.json")
    if keys.rescale_factor is not None and abs(keys.rescale_factor * 255 - 1) > 1e-6:
        raise CheckpointError(
            f"preprocessor_config.json: rescale_factor = {keys.rescale_factor} (expected 1/255)"
        )
    return keys


def read_images(
    folder: Path,
    table: KeyTable = PROCESSOR,
    check: Callable[[Mapping[str, Any]], Keys] = image_keys,
) -> dict[str, Any]:
    """Read how images are cut: preprocessor_config.json, or what transformers 5 writes in its place.

    Args:
        table: Keys of processor_config.json.
        check: Reads the image processor's keys.

    Raises:
        CheckpointError: Both files are missing, or they contradict each other.
    """
    path = folder / "preprocessor_config.json"
    alone = read_json(path) if path.exists() else None
    nested = None
    if (folder / "processor_config.json").exists():
        content = read_json(folder / "processor_config.json")
        nested = checked(ProcessorKeys, table, content, "processor_config.json").image_processor
    if alone is None and nested is None:
        others = [
            n for n in ("tokenizer.json", *weight_files(folder)) if not (folder / n).exists()
        ]
        also = f" (nor {', '.join(others)})" if others else ""
        raise CheckpointError(
            f"{folder} has no preprocessor_config.json{also}, which says how images are split into crops: copy it from the "
            "model that these weights come from"
        )
    if alone is not None and nested is not None and check(alone) != check(nested):
        raise CheckpointError(
            f"{folder}: preprocessor_config.json and `image_processor` of processor_config.json contradict each other"
        )
    images = nested if alone is None else alone
    assert images is not None
    return images


def generation_ends(folder: Path) -> tuple[int, ...]:
    """Check generation_config.json and return the ids that end an answer according to it; empty = it says nothing.

    Raises:
        CheckpointError: It has unknown keys, or rules that change greedy answers, such as suppressed tokens.
    """
    path = folder / "generation_config.json"
    if not path.exists():
        return ()
    keys = checked(GenerationKeys, GENERATION, read_json(path), path.name)
    return end_ids(keys.eos_token_id)


def end_ids(stop: int | list[int] | None) -> tuple[int, ...]:
    """Return the ids of `eos_token_id`."""
    return tuple(stop if isinstance(stop, list) else [] if stop is None else [stop])


def rope_theta(keys: NetworkKeys) -> float:
    """Return the base of the rotary positions from any of its keys.

    Raises:
        CheckpointError: It is missing, has two values, or the positions are scaled.
    """
    values = {"rope_theta": keys.rope_theta}
    for name in ("rope_parameters", "rope_scaling"):
        settings = getattr(keys, name) or {}
        kinds = [settings.get(part) for part in ("rope_type", "type")]
        if any(kind not in (None, "default") for kind in kinds):
            raise CheckpointError(
                f"config.json asks for something that no released Molmo does: {name} = {settings} (expected rope_type "
                "'default'): a checkpoint with scaled positions cannot be run here"
            )
        rope = checked(RopeKeys, ROPE, settings, "config.json", f"{name}.")
        values[f"{name}.rope_theta"] = rope.rope_theta
    given = {key: theta for key, theta in values.items() if theta is not None}
    if not given:
        raise CheckpointError(
            "config.json lacks the key 'rope_theta' (or rope_parameters.rope_theta): expected that of a Molmo checkpoint"
        )
    if len(set(given.values())) > 1:
        said = ", ".join(f"{key} = {theta:g}" for key, theta in given.items())
        raise CheckpointError(
            f"config.json contradicts itself: {said}; keep the value of its training"
        )
    return next(iter(given.values()))


def _refuse_quantized(config: Mapping[str, Any]) -> None:
    if stored_scheme(config) is not None:
        return
    for key in ("quantization_config", "compression_config", "quantization"):
        settings = config.get(key)
        if not settings:
            continue
        method = settings.get("quant_method") if isinstance(settings, dict) else None
        raise CheckpointError(
            f"config.json: {key} = {settings!r}: these weights are quantized ({method or 'of an unknown kind'}), which this "
            "package does not read; load the original model with quantize='int8' or 'int4'"
        )


def checked(
    kind: type[Read],
    table: KeyTable,
    content: Mapping[str, Any],
    file: str,
    prefix: str = "",
) -> Read:
    """Return the checked keys of one file; an error lists all problems."""
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"{file}: expected {prefix.rstrip('.')} as an object, got {content!r}"
        )
    taken, problems = table.select(content, kind.model_fields, prefix)
    keys = None
    try:
        keys = kind.model_validate(taken)
    except ValidationError as error:
        problems += [_said(dict(found), prefix) for found in error.errors()]
    if problems or keys is None:
        raise CheckpointError(
            f"{file} asks for something that no released Molmo does: {', '.join(problems)}"
        )
    return keys


def _said(found: dict[str, Any], prefix: str) -> str:
    key = prefix + ".".join(str(part) for part in found["loc"])
    if found["type"] == "missing":
        return f"the key {key!r} is missing"
    return f"{key} = {found['input']!r} ({found['msg'][0].lower()}{found['msg'][1:]})"
