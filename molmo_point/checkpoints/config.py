"""Sizes of a Molmo, read from a checkpoint's `config.json` and `preprocessor_config.json`; those of Molmo 2 in `molmo2_config`.

Each part has a frozen dataclass (`config_sizes`). The released dense checkpoints (7B-D, 7B-O, 72B) have no vision keys: their
tower is the CLIP ViT-L/14 of the defaults. MolmoE-1B uses the training repository's names (`d_model`, `n_layers`, ...). Both
naming schemes are read (`config_files`) and mapped to one set of names here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from molmo_point.checkpoints import molmo2_config, molmo2_keys
from molmo_point.checkpoints.config_files import (
    DenseKeys,
    ImageKeys,
    MixtureKeys,
    NetworkKeys,
    end_ids,
    generation,
    generation_ends,
    image_keys,
    network_keys,
    read_images,
    rope_theta,
    vision_keys,
)
from molmo_point.checkpoints.config_sizes import DecoderConfig as DecoderConfig
from molmo_point.checkpoints.config_sizes import PointHeadConfig as PointHeadConfig
from molmo_point.checkpoints.config_sizes import PreprocessConfig as PreprocessConfig
from molmo_point.checkpoints.config_sizes import VisionConfig as VisionConfig
from molmo_point.checkpoints.config_sizes import Yarn as Yarn
from molmo_point.checkpoints.folder import read_json
from molmo_point.errors import CheckpointError


@dataclass(frozen=True)
class MolmoConfig:
    """Sizes of a Molmo.

    Attributes:
        projector_width: Hidden width of the connector's projector.
        end_tokens: Ids that end an answer according to config.json; empty = the tokenizer's end of text does.
        points: Heads that point at patches (MolmoPoint); None = points are written as text.
    """

    decoder: DecoderConfig
    projector_width: int
    vision: VisionConfig = field(default_factory=VisionConfig)
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    end_tokens: tuple[int, ...] = ()
    points: PointHeadConfig | None = None

    def __post_init__(self) -> None:
        crops = (self.preprocess.crop_size, self.preprocess.patch_size)
        if (*self.vision.image_size, self.vision.patch_size) != (crops[0], crops[0], crops[1]):
            raise CheckpointError(
                f"the image processor makes crops of {crops[0]} px in patches of {crops[1]} px, the vision tower takes "
                f"{self.vision.image_size} in patches of {self.vision.patch_size}: config.json and "
                "preprocessor_config.json do not belong together"
            )

    @property
    def generation(self) -> int:
        """1: Molmo; 2: Molmo 2, with another chat format and point text."""
        return 2 if self.preprocess.stretched else 1

    @classmethod
    def from_folder(cls, folder: str | Path) -> MolmoConfig:
        """Read config.json and preprocessor_config.json; check generation_config.json.

        Raises:
            CheckpointError: A file is missing or damaged, of another architecture, or has keys that are unknown, contradict each
                other or ask for something that the network does not support.
        """
        folder = Path(folder)
        config = read_json(folder / "config.json")
        try:
            # Before the other files, which another architecture may not have.
            kind = generation(config)
            generation_ends(folder)
            if kind == 2:
                molmo2_config.network_keys(config)
                table = molmo2_keys.processor(config["model_type"])
                images = read_images(folder, table, molmo2_config.image_keys)
                return cls.from_dicts(config, images)
            network_keys(config)
            return cls.from_dicts(config, read_images(folder))
        except CheckpointError as error:
            where = "" if str(folder) in str(error) else f"{folder}: "
            raise CheckpointError(f"{where}{error}") from error

    @classmethod
    def from_dicts(cls, config: Mapping[str, Any], image: Mapping[str, Any]) -> MolmoConfig:
        """Read the two files' contents, in any dialect of names; errors as `from_folder`."""
        if generation(config) == 2:
            return cls(**vars(molmo2_config.read_molmo2(config, image)))
        keys = network_keys(config)
        decoder = _mixture_decoder(keys) if isinstance(keys, MixtureKeys) else _dense_decoder(keys)
        preprocess = preprocess_config(image)
        _compare_crops(keys, preprocess)
        return cls(
            decoder,
            projector_width=decoder.ffn_width,
            vision=_vision(keys),
            preprocess=preprocess,
            end_tokens=end_ids(keys.eos_token_id),
        )


def _dense_decoder(keys: DenseKeys) -> DecoderConfig:
    heads = keys.num_attention_heads
    return DecoderConfig(
        d_model=keys.hidden_size,
        layers=keys.num_hidden_layers,
        heads=heads,
        kv_heads=keys.num_key_value_heads or heads,
        ffn_width=_half(keys.intermediate_size, "intermediate_size"),
        max_positions=keys.max_position_embeddings or 4096,
        **_shared(keys, keys.hidden_size, heads),
    )


def _mixture_decoder(keys: MixtureKeys) -> DecoderConfig:
    hidden = keys.mlp_hidden_size or (keys.mlp_ratio or 0) * keys.d_model
    positions = keys.max_position_embeddings or keys.max_sequence_length
    if not hidden or not positions:
        lacking = "mlp_ratio" if not hidden else "max_sequence_length"
        raise CheckpointError(f"config.json lacks the key {lacking!r}")
    experts, chosen = keys.moe_num_experts or 0, keys.moe_top_k or 0
    if bool(experts) != bool(chosen) or chosen > experts:
        raise CheckpointError(f"config.json: moe_top_k = {chosen} of moe_num_experts = {experts}")
    return DecoderConfig(
        d_model=keys.d_model,
        layers=keys.n_layers,
        heads=keys.n_heads,
        kv_heads=keys.n_kv_heads or keys.n_heads,
        ffn_width=_half(hidden, "mlp_hidden_size"),
        experts=experts,
        experts_per_token=chosen,
        max_positions=positions,
        **_shared(keys, keys.d_model, keys.n_heads),
    )


def _shared(keys: NetworkKeys, d_model: int, heads: int) -> dict[str, Any]:
    """Return the fields whose keys are the same in both naming schemes."""
    if keys.head_dim is not None and keys.head_dim * heads != d_model:
        raise CheckpointError(
            f"config.json: head_dim = {keys.head_dim} (expected {d_model} / {heads} heads)"
        )
    if keys.attention_bias is not None and keys.attention_bias != bool(keys.qkv_bias):
        raise CheckpointError(
            f"config.json: attention_bias = {keys.attention_bias} (expected qkv_bias, {bool(keys.qkv_bias)})"
        )
    if set(keys.layer_types or ()) - {"full_attention"}:
        raise CheckpointError(
            f"config.json: layer_types = {keys.layer_types} (expected 'full_attention' everywhere)"
        )
    new = keys.additional_vocab_size
    return {
        "vocab_size": keys.vocab_size,
        "embedding_size": keys.embedding_size or keys.vocab_size,
        "new_embedding_size": 128 if new is None else new,
        "norm_eps": keys.layer_norm_eps,
        "norm_after": bool(keys.norm_after),
        "qk_norm": bool(keys.attention_layer_norm),
        "qkv_bias": bool(keys.qkv_bias),
        "rope_theta": rope_theta(keys),
    }


def _half(width: int, key: str) -> int:
    if width % 2:
        raise CheckpointError(
            f"config.json: {key} = {width} (expected an even number: gate and up together)"
        )
    return width // 2


def _vision(keys: NetworkKeys) -> VisionConfig:
    layers = tuple(keys.vit_layers or VisionConfig().feature_layers)
    if keys.vision_backbone is None:
        return VisionConfig(feature_layers=layers)
    tower = vision_keys(keys.vision_backbone)
    height, width = tower.image_default_input_size
    vision = VisionConfig(
        width=tower.image_emb_dim,
        layers=tower.image_num_layers,
        heads=tower.image_num_heads,
        head_dim=tower.image_head_dim,
        mlp_width=tower.image_mlp_dim,
        patch_size=tower.image_patch_size,
        image_size=(height, width),
        norm_eps=tower.image_norm_eps,
        feature_layers=layers,
    )
    for key, expected in (
        ("image_num_pos", vision.n_positions),
        ("image_num_key_value_heads", vision.heads),
        ("image_pos_patch_size", vision.patch_size),
    ):
        if getattr(tower, key) not in (None, expected):
            raise CheckpointError(
                f"config.json: {key} = {getattr(tower, key)}, but {height}x{width} pixels in patches of {vision.patch_size} "
                f"and {vision.heads} heads make {expected}"
            )
    return vision


def preprocess_config(image: Mapping[str, Any]) -> PreprocessConfig:
    """Read preprocessor_config.json of the first generation; errors as `MolmoConfig.from_folder`."""
    return _preprocess(image_keys(image))


def _preprocess(images: ImageKeys) -> PreprocessConfig:
    height, width = images.base_image_input_size
    rows, columns = images.image_token_length_h, images.image_token_length_w
    if height != width or rows != columns:
        raise CheckpointError(
            f"expected square crops in preprocessor_config.json, got {height}x{width} px as {rows}x{columns} tokens"
        )
    left, right = images.overlap_margins
    preprocess = PreprocessConfig(
        crop_size=height,
        patch_size=images.image_patch_size,
        margins=(left, right),
        pool_size=max(1, height // images.image_patch_size // rows),
        max_crops=images.max_crops,
        mean=_three(images.image_mean),
        std=_three(images.image_std),
    )
    if preprocess.token_grid != rows:
        raise CheckpointError(
            f"preprocessor_config.json: image_token_length_h = {rows}, but {height} px in patches of {images.image_patch_size} "
            f"cannot be pooled to {rows} tokens a side"
        )
    return preprocess


def _three(channels: list[float]) -> tuple[float, float, float]:
    red, green, blue = channels
    return red, green, blue


def _compare_crops(keys: NetworkKeys, preprocess: PreprocessConfig) -> None:
    """Refuse a config.json with other crops than the image processor; `max_crops` may differ, the image processor's is used."""
    for key, said, expected in (
        ("overlap_margins", keys.overlap_margins, list(preprocess.margins)),
        ("image_pooling_h", keys.image_pooling_h, preprocess.pool_size),
        ("image_pooling_w", keys.image_pooling_w, preprocess.pool_size),
    ):
        if said not in (None, expected):
            raise CheckpointError(
                f"config.json: {key} = {said}, preprocessor_config.json says {expected}: they do not belong together"
            )
