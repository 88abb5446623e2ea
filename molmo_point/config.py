"""Sizes of a Molmo, read from a checkpoint's `config.json` and `preprocessor_config.json`.

One frozen dataclass per wing. The released dense checkpoints (7B-D, 7B-O, 72B) carry no vision keys: their tower is the CLIP
ViT-L/14 of the defaults here. MolmoE-1B uses the training repository's names (`d_model`, `n_layers`, ...). Both dialects are
read; everything after this file knows one set of names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from molmo_point.errors import CheckpointError

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class PreprocessConfig:
    """How a picture becomes crops.

    Attributes:
        crop_size: Side of a (square) crop in pixels.
        patch_size: Side of a patch in pixels.
        margins: (left or top, right or bottom) patches by which neighbouring crops overlap.
        pool_size: Side of the window of patches that becomes one image token.
        max_crops: Most high-resolution crops; the low-resolution view of the whole picture comes on top.
        mean, std: Per channel (R, G, B), in 0-1.
    """

    crop_size: int = 336
    patch_size: int = 14
    margins: tuple[int, int] = (4, 4)
    pool_size: int = 2
    max_crops: int = 12
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD

    def __post_init__(self) -> None:
        grid, pool = self.crop_size // self.patch_size, self.pool_size
        multiples = (
            self.crop_size % self.patch_size,
            grid % pool,
            *(m % pool for m in self.margins),
        )
        if any(multiples) or self.window_patches < 1 or self.max_crops < 1:
            raise CheckpointError(
                "the image sizes do not fit together: "
                f"crop {self.crop_size} px, patch {self.patch_size} px, margins {self.margins}, "
                f"pooling {pool}x{pool}, at most {self.max_crops} crops"
            )

    @property
    def grid_size(self) -> int:
        """Patches along one side of a crop."""
        return self.crop_size // self.patch_size

    @property
    def token_grid(self) -> int:
        """Image tokens along one side of a crop."""
        return self.grid_size // self.pool_size

    @property
    def window_patches(self) -> int:
        """Patches by which the next crop is shifted: a crop less its margins."""
        return self.grid_size - sum(self.margins)

    @property
    def window_size(self) -> int:
        """The same in pixels."""
        return self.window_patches * self.patch_size

    @property
    def margin_size(self) -> int:
        """Both margins together, in pixels."""
        return sum(self.margins) * self.patch_size


@dataclass(frozen=True)
class VisionConfig:
    """The vision tower: CLIP ViT-L/14@336 less its last block, unless a checkpoint says otherwise.

    Attributes:
        feature_layers: Which block outputs are concatenated, counted from the end of `layers` (-1 is the last).
    """

    width: int = 1024
    layers: int = 23
    heads: int = 16
    head_dim: int = 64
    mlp_width: int = 4096
    patch_size: int = 14
    image_size: tuple[int, int] = (336, 336)
    norm_eps: float = 1e-5
    feature_layers: tuple[int, ...] = (-2, -9)

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of patches."""
        return self.image_size[0] // self.patch_size, self.image_size[1] // self.patch_size

    @property
    def n_positions(self) -> int:
        """Patches and the class token."""
        return self.grid[0] * self.grid[1] + 1

    @property
    def patch_pixels(self) -> int:
        """Numbers in one patch: rows x columns x RGB."""
        return self.patch_size**2 * 3

    @property
    def feature_indices(self) -> tuple[int, ...]:
        """`feature_layers` as indices from 0, in the order of concatenation."""
        return tuple(layer % self.layers for layer in self.feature_layers)

    @property
    def used_layers(self) -> int:
        """Blocks whose output anything depends on: the released towers never use their last one."""
        return max(self.feature_indices) + 1

    @property
    def feature_width(self) -> int:
        """Width of one patch's features after concatenation."""
        return self.width * len(self.feature_layers)


@dataclass(frozen=True)
class DecoderConfig:
    """The language model.

    Attributes:
        ffn_width: Hidden width of the feed-forward network, of one expert in a mixture.
        experts, experts_per_token: 0 for a dense model.
        vocab_size: Ids that the tokenizer's own vocabulary takes.
        embedding_size: Rows of the embedding and of the output head.
        new_embedding_size: Extra input-only rows after those (ids that can be read but never generated).
        norm_after: Normalise each sublayer's output instead of its input (7B-O).
        qk_norm: RMS norm over the full width of q and of k, before splitting into heads.
        max_positions: Longest sequence, image tokens included.
        head_width: Width of one head where it is not d_model / heads: in one process's share of a model that is split.
    """

    d_model: int
    layers: int
    heads: int
    kv_heads: int
    ffn_width: int
    vocab_size: int
    embedding_size: int
    new_embedding_size: int = 128
    experts: int = 0
    experts_per_token: int = 0
    norm_eps: float = 1e-6
    norm_after: bool = False
    qk_norm: bool = False
    qkv_bias: bool = False
    rope_theta: float = 10_000.0
    max_positions: int = 4096
    head_width: int | None = None

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.head_width or self.d_model // self.heads

    @property
    def query_width(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Width of all key heads together."""
        return self.kv_heads * self.head_dim


@dataclass(frozen=True)
class MolmoConfig:
    """A whole Molmo.

    Attributes:
        projector_width: Hidden width of the connector's projector.
    """

    decoder: DecoderConfig
    projector_width: int
    vision: VisionConfig = field(default_factory=VisionConfig)
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)

    def __post_init__(self) -> None:
        crops = (self.preprocess.crop_size, self.preprocess.patch_size)
        if (*self.vision.image_size, self.vision.patch_size) != (crops[0], crops[0], crops[1]):
            raise CheckpointError(
                f"the image processor makes crops of {crops[0]} px in patches of {crops[1]} px, the vision tower takes "
                f"{self.vision.image_size} in patches of {self.vision.patch_size}: config.json and "
                "preprocessor_config.json do not belong together"
            )

    @classmethod
    def from_folder(cls, folder: str | Path) -> MolmoConfig:
        """Read `config.json` and, where it is there, `preprocessor_config.json`.

        Raises:
            CheckpointError: No config.json, damaged JSON, or another architecture.
        """
        folder = Path(folder)
        config = _read_json(folder / "config.json")
        image_file = folder / "preprocessor_config.json"
        image = _read_json(image_file) if image_file.exists() else {}
        try:
            return cls.from_dicts(config, image)
        except (KeyError, TypeError, ZeroDivisionError) as error:
            raise CheckpointError(
                f"{folder / 'config.json'} lacks or garbles the key {error}: expected the config.json of a Molmo checkpoint"
            ) from error

    @classmethod
    def from_dicts(cls, config: Mapping[str, Any], image: Mapping[str, Any]) -> MolmoConfig:
        """Read the two files' contents, in either dialect of names."""
        if config.get("model_type") != "molmo":
            raise CheckpointError(
                f"expected a Molmo checkpoint (model_type 'molmo' in config.json), got model_type "
                f"{config.get('model_type')!r}: this package runs the first-generation Molmo models only"
            )
        _refuse_unsupported(config)
        mixture = "d_model" in config
        decoder = _mixture_decoder(config) if mixture else _dense_decoder(config)
        width = decoder.ffn_width
        vision = _vision(config)
        return cls(decoder, width, vision, _preprocess(image, vision))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{path.parent} has no {path.name}: expected the folder of a Molmo checkpoint "
            "(config.json, tokenizer.json, *.safetensors)"
        ) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, expected an object")
    return content


def _refuse_unsupported(config: Mapping[str, Any]) -> None:
    """Stop at settings that no released Molmo has: computing on would give wrong points without an error."""
    expected: dict[str, tuple[Any, ...]] = {
        "layer_norm_type": ("rms",),
        "clip_qkv": (None,),
        "alibi": (False,),
        "rope_impl": ("llama",),
        "rope": (True,),
        "activation_type": ("swiglu",),
        "image_pooling_2d": ("attention-meanq",),
        "image_projector": ("mlp",),
        "image_padding_embed": ("pad_and_partial_pad",),
        "weight_tying": (False,),
        "tie_word_embeddings": (False, None),
        "use_cls_feature": (False,),
        "scale_logits": (False,),
        "attn_logit_softcapping": (None,),
        "final_logit_softcapping": (None,),
        "normalize_input_embeds": (False,),
        "moe_interleave": (False,),
        "moe_shared_expert": (False,),
        "include_bias": (False,),
    }
    wrong = [
        f"{key} = {config[key]!r} (expected {expected[key][0]!r})"
        for key in expected
        if key in config and config[key] not in expected[key]
    ]
    if wrong:
        raise CheckpointError(
            "config.json asks for what no released Molmo does: " + ", ".join(wrong)
        )


def _dense_decoder(config: Mapping[str, Any]) -> DecoderConfig:
    heads = config["num_attention_heads"]
    return DecoderConfig(
        d_model=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        ffn_width=config["intermediate_size"] // 2,
        vocab_size=config["vocab_size"],
        embedding_size=config.get("embedding_size") or config["vocab_size"],
        new_embedding_size=config.get("additional_vocab_size", 128),
        norm_eps=config["layer_norm_eps"],
        norm_after=config.get("norm_after", False),
        qk_norm=config.get("attention_layer_norm", False),
        qkv_bias=config.get("qkv_bias", False),
        rope_theta=config["rope_theta"],
        max_positions=config.get("max_position_embeddings") or 4096,
    )


def _mixture_decoder(config: Mapping[str, Any]) -> DecoderConfig:
    d_model, heads = config["d_model"], config["n_heads"]
    hidden = config.get("mlp_hidden_size") or config["mlp_ratio"] * d_model
    return DecoderConfig(
        d_model=d_model,
        layers=config["n_layers"],
        heads=heads,
        kv_heads=config.get("n_kv_heads") or heads,
        ffn_width=hidden // 2,
        vocab_size=config["vocab_size"],
        embedding_size=config.get("embedding_size") or config["vocab_size"],
        new_embedding_size=config.get("additional_vocab_size", 128),
        experts=config.get("moe_num_experts") or 0,
        experts_per_token=config.get("moe_top_k") or 0,
        norm_eps=config["layer_norm_eps"],
        norm_after=config.get("norm_after", False),
        qk_norm=config.get("attention_layer_norm", False),
        qkv_bias=config.get("qkv_bias", False),
        rope_theta=config["rope_theta"],
        max_positions=config.get("max_position_embeddings") or config["max_sequence_length"],
    )


def _vision(config: Mapping[str, Any]) -> VisionConfig:
    tower = config.get("vision_backbone")
    default = VisionConfig()
    layers = tuple(config.get("vit_layers") or default.feature_layers)
    if tower is None:
        return VisionConfig(feature_layers=layers)
    if tower.get("image_mlp_activations", "quick_gelu") != "quick_gelu":
        raise CheckpointError(
            f"expected a vision tower with quick_gelu, got {tower['image_mlp_activations']!r}"
        )
    height, width = tower["image_default_input_size"]
    vision = VisionConfig(
        width=tower["image_emb_dim"],
        layers=tower["image_num_layers"],
        heads=tower["image_num_heads"],
        head_dim=tower["image_head_dim"],
        mlp_width=tower["image_mlp_dim"],
        patch_size=tower["image_patch_size"],
        image_size=(height, width),
        norm_eps=tower["image_norm_eps"],
        feature_layers=layers,
    )
    if tower["image_num_pos"] != vision.n_positions:
        raise CheckpointError(
            f"config.json: image_num_pos = {tower['image_num_pos']}, but {height}x{width} pixels in patches of "
            f"{vision.patch_size} make {vision.n_positions} positions"
        )
    return vision


def _preprocess(image: Mapping[str, Any], vision: VisionConfig) -> PreprocessConfig:
    default = PreprocessConfig()
    size = image.get("base_image_input_size", list(vision.image_size))
    if size[0] != size[1]:
        raise CheckpointError(f"expected square crops in preprocessor_config.json, got {size}")
    tokens = image.get("image_token_length_h", default.token_grid)
    patch = image.get("image_patch_size", vision.patch_size)
    left, right = image.get("overlap_margins", default.margins)
    return PreprocessConfig(
        crop_size=size[0],
        patch_size=patch,
        margins=(left, right),
        pool_size=size[0] // patch // tokens,
        max_crops=image.get("max_crops", default.max_crops),
        mean=tuple(image.get("image_mean", default.mean)),
        std=tuple(image.get("image_std", default.std)),
    )
