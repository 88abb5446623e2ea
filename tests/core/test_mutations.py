"""Plausible mistakes, made on purpose one by one: the golden numbers must detect each.

The list is that of tests/golden/README.md and docs/molmo.md section 11. A mistake that this file cannot see could hide in the
code as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from molmo_point.checkpoints.config import MolmoConfig
from molmo_point.images import load_image
from molmo_point.model import connector, decoder, layers, mixture, vision
from molmo_point.model.molmo import Molmo
from molmo_point.model.weights import load_weights
from molmo_point.preprocess import crops as crops_module
from molmo_point.preprocess import resize as resize_module
from molmo_point.preprocess.crops import crop_image

GOLDEN = Path(__file__).parents[1] / "golden"
CASE = "img2_300x820"
TOLERANCE = 3e-4

Patch = pytest.MonkeyPatch


@torch.inference_mode()
def logit_error(
    name: str, *, own_pixels: bool = False, config: MolmoConfig | None = None
) -> float:
    """Largest difference to the golden logits of one case."""
    folder = GOLDEN / "models" / name
    model = load_weights(folder, config or MolmoConfig.from_folder(folder))
    golden = np.load(folder / "golden.npz")
    masks = torch.tensor(golden[f"{CASE}/image_masks"])
    if own_pixels:
        cut = crop_image(load_image(GOLDEN / f"images/{CASE}.png"), model.config.preprocess)
        pixels, masks = torch.from_numpy(cut.crops), torch.from_numpy(cut.masks)
    else:
        pixels = torch.from_numpy(np.load(GOLDEN / f"models/shared_pixels_{CASE}.npz")["images"])
    features = model.encode_images(pixels, masks)
    ids = torch.tensor(golden[f"{CASE}/input_ids"])[None]
    index = torch.tensor(golden[f"{CASE}/image_input_idx"])[None]
    x = model.embed(ids, features[None], index)
    logits = model(x, torch.arange(ids.shape[1])[None])[0, -8:]
    return float(np.abs(logits.numpy() - golden[f"{CASE}/logits_last8"]).max())


def replaced_features(patch: Patch) -> None:
    original = Molmo.embed

    def embed(self: Molmo, ids: Tensor, features: Tensor, index: Tensor) -> Tensor:
        both = original(self, ids, features, index)
        text = original(self, ids)
        nothing = original(self, ids, torch.zeros_like(features), index)
        changed = (both != nothing).any(-1, keepdim=True)
        return torch.where(changed, both - text, both)

    patch.setattr(Molmo, "embed", embed)


def aligned_masks(patch: Patch) -> None:
    original = Molmo.encode_images
    patch.setattr(
        Molmo, "encode_images", lambda self, crops, masks: original(self, crops, masks.roll(1, 0))
    )


def ignored_unknown_mask(patch: Patch) -> None:
    original = connector.Connector.mark_padding
    patch.setattr(
        connector.Connector,
        "mark_padding",
        lambda self, features, masks: original(self, features, masks.masked_fill(masks < 0, 1)),
    )


def exact_gelu(patch: Patch) -> None:
    patch.setattr(vision, "quick_gelu", F.gelu)


def first_patch_query(patch: Patch) -> None:
    def pool(self: connector.Connector, features: Tensor) -> Tensor:
        n, _, width = features.shape
        rows, columns = (side // self.pool_size for side in self.grid)
        windows = features.view(n, rows, self.pool_size, columns, self.pool_size, width)
        windows = windows.transpose(2, 3).reshape(n * rows * columns, self.pool_size**2, width)
        q = self.query(windows[:, :1]).unflatten(-1, (self.heads, -1))
        k, v = self.key_value(windows).unflatten(-1, (2, self.heads, -1)).unbind(2)
        weights = ((q * k).sum(-1) * q.shape[-1] ** -0.5).softmax(1)
        return self.pool_out((weights[..., None] * v).sum(1).flatten(1)).view(
            n, rows * columns, -1
        )

    patch.setattr(connector.Connector, "pool", pool)


def swapped_gate(patch: Patch) -> None:
    def forward(self: decoder.FeedForward, x: Tensor) -> Tensor:
        gate, up = self.up_gate(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)

    patch.setattr(decoder.FeedForward, "forward", forward)


def swapped_projector_gate(patch: Patch) -> None:
    def project(self: connector.Connector, pooled: Tensor) -> Tensor:
        up, gate = self.gate_up(pooled).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)

    patch.setattr(connector.Connector, "project", project)


def interleaved_rotary(patch: Patch) -> None:
    def apply_rotary(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        half = x.shape[-1] // 2
        c, s = cos[..., :half], sin[..., :half]
        even, odd = x[..., 0::2], x[..., 1::2]
        return torch.stack([even * c - odd * s, odd * c + even * s], -1).flatten(-2)

    patch.setattr(decoder, "apply_rotary", apply_rotary)


def tiled_key_heads(patch: Patch) -> None:
    def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        group = q.shape[1] // k.shape[1]
        return layers.attention(q, k.repeat(1, group, 1, 1), v.repeat(1, group, 1, 1), mask)

    patch.setattr(decoder, "attention", attention)


def everything_sees_everything(patch: Patch) -> None:
    def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        full = torch.ones(1, 1, q.shape[2], k.shape[2], dtype=torch.bool)
        return layers.attention(q, k, v, full)

    patch.setattr(decoder, "attention", attention)


def norm_per_head(patch: Patch) -> None:
    original = layers.RMSNorm.forward

    def forward(self: layers.RMSNorm, x: Tensor) -> Tensor:
        if getattr(self, "per_head", False):
            heads = x.unflatten(-1, (6, -1)).float()
            normed = heads * torch.rsqrt(heads.square().mean(-1, keepdim=True) + self.eps)
            return normed.flatten(-2) * self.weight
        return original(self, x)

    build = decoder.Attention.__init__

    def marked(self: decoder.Attention, config: object) -> None:
        build(self, config)  # type: ignore[arg-type]
        for norm in (self.q_norm, self.k_norm):
            if norm is not None:
                norm.per_head = True  # type: ignore[assignment]

    patch.setattr(layers.RMSNorm, "forward", forward)
    patch.setattr(decoder.Attention, "__init__", marked)


def renormalised_experts(patch: Patch) -> None:
    def forward(self: mixture.MixtureOfExperts, x: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        weights, experts = self.router(flat).softmax(-1).topk(self.chosen, dim=-1)
        weights = weights / weights.sum(-1, keepdim=True)
        order = experts.flatten().argsort(stable=True)
        token = order // self.chosen
        out = self._run(flat[token], experts.flatten()[order])
        weighted = out * weights.flatten()[order, None]
        return torch.zeros_like(flat).index_add_(0, token, weighted).view_as(x)

    patch.setattr(mixture.MixtureOfExperts, "forward", forward)


MISTAKES: list[tuple[Callable[[Patch], None], str]] = [
    (replaced_features, "tiny-d"),
    (aligned_masks, "tiny-d"),
    (ignored_unknown_mask, "tiny-d"),
    (exact_gelu, "tiny-d"),
    (first_patch_query, "tiny-d"),
    (swapped_gate, "tiny-d"),
    (swapped_projector_gate, "tiny-d"),
    (interleaved_rotary, "tiny-d"),
    (tiled_key_heads, "tiny-d"),
    (everything_sees_everything, "tiny-d"),
    (norm_per_head, "tiny-o"),
    (renormalised_experts, "tiny-moe"),
]


@pytest.mark.parametrize(
    ("mistake", "name"), MISTAKES, ids=lambda value: getattr(value, "__name__", value)
)
def test_mistake_in_the_network_is_noticed(
    mistake: Callable[[Patch], None], name: str, monkeypatch: Patch
) -> None:
    mistake(monkeypatch)
    assert logit_error(name) > 30 * TOLERANCE


@pytest.mark.parametrize("name", ["tiny-d", "tiny-o", "tiny-moe", "tiny-72b"])
def test_without_a_mistake_the_numbers_hold(name: str) -> None:
    assert logit_error(name) < TOLERANCE


def config_of(name: str) -> MolmoConfig:
    return MolmoConfig.from_folder(GOLDEN / "models" / name)


@pytest.mark.parametrize(
    "setting", ["swapped feature layers", "pre-norm for post-norm", "rope theta"]
)
def test_mistake_in_the_configuration_is_noticed(setting: str) -> None:
    config = config_of("tiny-o")
    if setting == "swapped feature layers":
        layers_ = tuple(reversed(config.vision.feature_layers))
        config = replace(config, vision=replace(config.vision, feature_layers=layers_))
    elif setting == "pre-norm for post-norm":
        config = replace(config, decoder=replace(config.decoder, norm_after=False))
    else:
        config = replace(config, decoder=replace(config.decoder, rope_theta=10_000.0))
    assert logit_error("tiny-o", config=config) > 30 * TOLERANCE


def eight_bit_resize(patch: Patch) -> None:
    def resize(image: np.ndarray, width: int, height: int, gain: Sequence[float]) -> np.ndarray:
        small = Image.fromarray(image.astype(np.uint8)).resize(
            (width, height), Image.Resampling.BILINEAR
        )
        return np.asarray(small, np.float32) * np.asarray(gain, np.float32)

    patch.setattr(resize_module, "resize", resize)


def padded_after_normalising(patch: Patch) -> None:
    original = crops_module.letterbox

    def letterbox(
        image: np.ndarray, width: int, height: int, gain: Sequence[float]
    ) -> tuple[np.ndarray, object]:
        canvas, where = original(image, width, height, gain)
        inside = np.zeros(canvas.shape[:2], bool)
        inside[where.top : where.top + where.height, where.left : where.left + where.width] = True
        config = crops_module.PreprocessConfig()
        canvas[~inside] = np.array(config.mean) / np.array(config.std)
        return canvas, where

    patch.setattr(crops_module, "letterbox", letterbox)


@pytest.mark.parametrize("mistake", [eight_bit_resize, padded_after_normalising])
def test_mistake_in_preprocessing_is_noticed(
    mistake: Callable[[Patch], None], monkeypatch: Patch
) -> None:
    assert logit_error("tiny-d", own_pixels=True) < 1e-2
    mistake(monkeypatch)
    assert logit_error("tiny-d", own_pixels=True) > 1e-2
