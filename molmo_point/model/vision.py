"""The vision tower, CLIP's or SigLIP 2's ViT (molmo.md 2.1, molmo2.md 3.2): all crops in one batch, without unused blocks.

Letters: n crops, P patches of a crop, W width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from molmo_point.checkpoints.config import VisionConfig
from molmo_point.model.vision_attention import attend


class LayerNorm(nn.LayerNorm):
    """Layer norm computed in float32, returned in the weights' type."""

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.weight, self.bias
        normed = F.layer_norm(
            x.float(), self.normalized_shape, weight.float(), bias.float(), self.eps
        )
        return normed.to(weight.dtype)


class VisionBlock(nn.Module):
    """Pre-norm transformer block with biases; the residual stream is float32, as in the decoder."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        width, inner = config.width, config.heads * config.head_dim
        self.heads = config.heads
        self.kind = config.kind
        self.attention_norm = LayerNorm(width, config.norm_eps)
        self.qkv = nn.Linear(width, 3 * inner)
        self.attention_out = nn.Linear(inner, width)
        self.mlp_norm = LayerNorm(width, config.norm_eps)
        self.mlp_in = nn.Linear(width, config.mlp_width)
        self.mlp_out = nn.Linear(config.mlp_width, width)

    def forward(self, x: Tensor) -> Tensor:
        # x: [n, P, W] float32, with a class token 1 + P
        q, k, v = self.qkv(self.attention_norm(x)).unflatten(-1, (3, self.heads, -1)).unbind(2)
        attended = attend(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
        x = x + self.attention_out(attended.transpose(1, 2).flatten(2))
        hidden = self.mlp_in(self.mlp_norm(x))
        if self.kind == "clip":
            return x + self.mlp_out(quick_gelu(hidden))
        return x + self.mlp_out(F.gelu(hidden, approximate="tanh"))


def quick_gelu(x: Tensor) -> Tensor:
    """OpenAI CLIP's activation: x * sigmoid(1.702 x)."""
    scaled = 1.702 * x
    if torch.is_grad_enabled():
        return x * torch.sigmoid(scaled)
    return scaled.sigmoid_().mul_(x)


class VisionTower(nn.Module):
    """Maps crops to the features of chosen blocks.

    Args:
        all_blocks: Also build the blocks above the last one that is used; the released files hold one such block.
    """

    def __init__(self, config: VisionConfig, *, all_blocks: bool = False) -> None:
        super().__init__()
        self.config = config
        clip = config.kind == "clip"
        self.class_embedding = nn.Parameter(torch.zeros(config.width)) if clip else None
        self.positional_embedding = nn.Parameter(torch.zeros(config.n_positions, config.width))
        self.patch_embedding = nn.Linear(config.patch_pixels, config.width, bias=not clip)
        self.pre_norm = LayerNorm(config.width, config.norm_eps) if clip else None
        depth = config.layers if all_blocks else config.used_layers
        self.blocks = nn.ModuleList(VisionBlock(config) for _ in range(depth))

    def forward(self, crops: Tensor) -> Tensor:
        """Return the features of crops.

        Args:
            crops: [n, P, patch pixels] normalised.

        Returns:
            [n, P, W * len(feature_layers)], without the class token.
        """
        patches = x = self.patch_embedding(crops)
        first = 0
        if self.class_embedding is not None:
            classes = self.class_embedding.expand(len(crops), 1, -1)
            x, first = torch.cat([classes, patches], dim=1), 1
        x = x + self.positional_embedding
        x = (x if self.pre_norm is None else self.pre_norm(x)).float()
        chosen = self.config.feature_indices
        outputs: dict[int, Tensor] = {}
        for index in range(self.config.used_layers):
            x = self.blocks[index](x)
            if index in chosen:
                outputs[index] = x[:, first:]
        return torch.cat([outputs[index] for index in chosen], dim=-1).to(patches.dtype)
