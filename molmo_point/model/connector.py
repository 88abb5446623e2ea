"""Patch features to image embeddings by padding marks, attention pooling over 2x2 windows, projector (molmo.md 2.2, 2.3).

Letters: n crops, P = G*G patches of a crop, T*T pooled tokens, F feature width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from molmo_point.checkpoints.config import MolmoConfig


class Connector(nn.Module):
    """Maps vision features to embeddings of the decoder's width."""

    def __init__(self, config: MolmoConfig) -> None:
        super().__init__()
        vision = config.vision
        inner = vision.heads * vision.head_dim
        self.heads = vision.heads
        self.grid = vision.grid
        self.pool_size = config.preprocess.pool_size
        self.pad_embed = nn.Parameter(torch.zeros(2, vision.feature_width))
        self.query = nn.Linear(vision.feature_width, inner)
        self.key_value = nn.Linear(vision.feature_width, 2 * inner)
        self.pool_out = nn.Linear(inner, vision.width)
        self.gate_up = nn.Linear(vision.width, 2 * config.projector_width, bias=False)
        self.down = nn.Linear(config.projector_width, config.decoder.d_model, bias=False)

    def forward(self, features: Tensor, masks: Tensor) -> Tensor:
        """Pool and project.

        Args:
            features: [n, P, F]; masks: [n, P], share 0-1 of each patch that shows the image, -1 = unknown.

        Returns:
            [n, T*T, d_model], windows in raster order.
        """
        return self.project(self.pool(self.mark_padding(features, masks)))

    def mark_padding(self, features: Tensor, masks: Tensor) -> Tensor:
        """Add one learned vector to patches of padding only, another to patches with some padding (or unknown)."""
        blank = (masks == 0).to(features.dtype)[..., None]
        partial = ((masks < 1) & (masks != 0)).to(features.dtype)[..., None]
        return features + blank * self.pad_embed[0] + partial * self.pad_embed[1]

    def pool(self, features: Tensor) -> Tensor:
        """Attend from the mean of each window to its patches: [n, P, F] to [n, T*T, vision width]."""
        n, _, width = features.shape
        rows, columns = (side // self.pool_size for side in self.grid)
        windows = features.view(n, rows, self.pool_size, columns, self.pool_size, width)
        windows = windows.transpose(2, 3).reshape(n * rows * columns, self.pool_size**2, width)
        q = self.query(windows.mean(1, keepdim=True)).unflatten(-1, (self.heads, -1))
        k, v = self.key_value(windows).unflatten(-1, (2, self.heads, -1)).unbind(2)
        # q: [N, 1, heads, d], k and v: [N, pool*pool, heads, d]. Four keys are too few for a fused kernel to be faster.
        scores = (q.float() * k.float()).sum(-1) * q.shape[-1] ** -0.5
        weights = scores.softmax(1).to(v.dtype)
        attended = (weights[..., None] * v).sum(1).flatten(1)
        return self.pool_out(attended).view(n, rows * columns, -1)

    def project(self, pooled: Tensor) -> Tensor:
        """Project to [n, T*T, d_model] by SwiGLU; the first half of `gate_up` is the gate."""
        gate, up = self.gate_up(pooled).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)
