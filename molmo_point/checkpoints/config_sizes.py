"""Sizes of a Molmo's parts: image processing, vision tower, decoder."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from molmo_point.errors import CheckpointError

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class PreprocessConfig:
    """How an image is split into crops.

    Attributes:
        crop_size: Side of a (square) crop in pixels.
        patch_size: Side of a patch in pixels.
        margins: (left or top, right or bottom) patches by which neighbouring crops overlap.
        pool_size: Side of the window of patches that becomes one image token.
        max_crops: Largest number of high-resolution crops; the global crop is not counted.
        mean, std: Per channel (R, G, B), in 0-1.
        stretched: Stretch the image to the canvas instead of padding it; image tokens are windows over the whole canvas.
        low_token: Image tokens of the low-resolution view have a token id of their own (MolmoPoint).
    """

    crop_size: int = 336
    patch_size: int = 14
    margins: tuple[int, int] = (4, 4)
    pool_size: int = 2
    max_crops: int = 12
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    stretched: bool = False
    low_token: bool = False

    def __post_init__(self) -> None:
        grid, pool = self.crop_size // self.patch_size, self.pool_size
        # Windows over the whole canvas are padded where its sides are odd.
        pooled = () if self.stretched else (grid % pool, *(m % pool for m in self.margins))
        if (
            self.crop_size % self.patch_size
            or any(pooled)
            or self.window_patches < 1
            or self.max_crops < 1
        ):
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
        """Stride between neighbouring crops in patches: a crop without its margins."""
        return self.grid_size - sum(self.margins)

    @property
    def window_size(self) -> int:
        """Stride between neighbouring crops in pixels."""
        return self.window_patches * self.patch_size

    @property
    def most_image_tokens(self) -> int:
        """The most tokens that an image takes, the begin token included."""
        side = -(-self.grid_size // self.pool_size)
        step = self.window_patches / self.pool_size
        margin = sum(self.margins) / self.pool_size
        layouts = []
        for rows in range(1, self.max_crops + 1):
            columns = self.max_crops // rows
            height, width = (math.ceil(step * n + margin) for n in (rows, columns))
            layouts.append(height * (width + 1) + 2)
        low = side * side if self.stretched else side * (side + 1)
        return 1 + low + 2 + max(layouts)

    @property
    def margin_size(self) -> int:
        """Both margins together, in pixels."""
        return sum(self.margins) * self.patch_size


@dataclass(frozen=True)
class VisionConfig:
    """The vision tower: CLIP ViT-L/14@336 without its last block, unless a checkpoint says otherwise.

    Attributes:
        kind: "clip": class token, norm in front, quick GELU. "siglip2": none of the two, patches with a bias, tanh GELU.
        feature_layers: Which block outputs are concatenated, counted from the end of `layers` (-1 is the last).
    """

    kind: Literal["clip", "siglip2"] = "clip"
    width: int = 1024
    layers: int = 23
    heads: int = 16
    head_dim: int = 64
    mlp_width: int = 4096
    patch_size: int = 14
    image_size: tuple[int, int] = (336, 336)
    norm_eps: float = 1e-5
    feature_layers: tuple[int, ...] = (-2, -9)

    def __post_init__(self) -> None:
        if any(not -self.layers <= layer < self.layers for layer in self.feature_layers):
            raise CheckpointError(
                f"vit_layers = {list(self.feature_layers)} are not all among the {self.layers} blocks of the vision tower"
            )

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of patches."""
        return self.image_size[0] // self.patch_size, self.image_size[1] // self.patch_size

    @property
    def n_positions(self) -> int:
        """Patches, and the class token if there is one."""
        return self.grid[0] * self.grid[1] + (self.kind == "clip")

    @property
    def patch_pixels(self) -> int:
        """Number of values of one patch: rows x columns x RGB."""
        return self.patch_size**2 * 3

    @property
    def feature_indices(self) -> tuple[int, ...]:
        """`feature_layers` as indices from 0, in the order of concatenation."""
        return tuple(layer % self.layers for layer in self.feature_layers)

    @property
    def used_layers(self) -> int:
        """Number of blocks that the features depend on: the released towers do not use their last one."""
        return max(self.feature_indices) + 1

    @property
    def feature_width(self) -> int:
        """Width of one patch's features after concatenation."""
        return self.width * len(self.feature_layers)


@dataclass(frozen=True)
class Yarn:
    """Rotary positions stretched beyond those of the first training (YaRN, arXiv 2309.00071).

    Attributes:
        factor: How far; original_positions: what is stretched.
        attention_factor: What cosines and sines are multiplied with.
        beta_fast, beta_slow: Turns within `original_positions` above which a frequency stays, and below which it is divided.
    """

    factor: float
    original_positions: int
    attention_factor: float
    beta_fast: float = 32
    beta_slow: float = 1


@dataclass(frozen=True)
class PointHeadConfig:
    """Heads that point at patches of the image (MolmoPoint).

    Attributes:
        key_width: Width of the keys of patches.
        rope_theta: Base of their rotary positions.
    """

    key_width: int
    rope_theta: float = 50_000.0


@dataclass(frozen=True)
class DecoderConfig:
    """The decoder (language model).

    Attributes:
        ffn_width: Hidden width of the feed-forward network, of one expert in a mixture.
        experts, experts_per_token: 0 for a dense model.
        vocab_size: Number of ids of the tokenizer's vocabulary.
        embedding_size: Rows of the embedding and of the output head.
        new_embedding_size: Extra input-only rows after those (ids that can be read but never generated).
        norm_after: Normalise each sublayer's output instead of its input (7B-O).
        qk_norm: RMS norm of q and of k before rotation, over their full width (7B-O).
        norm_heads: Over each head by itself instead (Qwen3).
        max_positions: Longest sequence, image tokens included.
        head_width: Width of one head where it is not d_model / heads: in Qwen3, and in a share of a model that is split.
        yarn, yarn_layers: How rotary positions are stretched, and in which layers.
        image_block: Image tokens see each other in both directions, instead of the earlier ones only (Molmo 2).
        norm_in_head: The last norm belongs to the output head: hidden states come before it, as further heads take them.
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
    norm_heads: bool = False
    yarn: Yarn | None = None
    yarn_layers: tuple[int, ...] = ()
    image_block: bool = False
    norm_in_head: bool = False

    def __post_init__(self) -> None:
        whole = self.head_width is not None or self.d_model % self.heads == 0
        if not whole or self.heads % self.kv_heads or self.head_dim % 2:
            raise CheckpointError(
                f"the decoder's sizes do not fit together: width {self.d_model}, {self.heads} heads, {self.kv_heads} heads of "
                "keys and values"
            )
        if self.vocab_size > self.embedding_size:
            raise CheckpointError(
                f"vocab_size = {self.vocab_size} is more than embedding_size = {self.embedding_size}"
            )

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
