"""Patch features to image embeddings by attention pooling over windows of patches and a projector (molmo.md 2.2, 2.3).

The first models pool each crop by itself and mark padding; Molmo 2 pools windows of the whole image, of which some patches may
lie beyond its edge (molmo2.md 3.3). Letters: n crops, P = G*G patches of a crop, T*T pooled tokens of a crop, Q windows of k
patches, F feature width.
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
        stretched = config.preprocess.stretched
        self.pad_embed = None if stretched else nn.Parameter(torch.zeros(2, vision.feature_width))
        self.query = nn.Linear(vision.feature_width, inner)
        self.key_value = nn.Linear(vision.feature_width, 2 * inner)
        self.pool_out = None if config.points else nn.Linear(inner, vision.width)
        self.gate_up = nn.Linear(vision.width, 2 * config.projector_width, bias=False)
        self.down = nn.Linear(config.projector_width, config.decoder.d_model, bias=False)

    def forward(self, features: Tensor, pooling: Tensor) -> Tensor:
        """Pool and project.

        Args:
            features: [n, P, F].
            pooling: Masks [n, P], share 0-1 of each patch that shows the image, -1 = unknown; of a
                stretched image windows [Q, k], patches numbered over all crops, -1 = none.

        Returns:
            [n, T*T, d_model], windows in raster order; of a stretched image [Q, d_model].
        """
        if self.pad_embed is None:
            return self.project(self.pool_windows(features, pooling))
        return self.project(self.pool(self.mark_padding(features, pooling)))

    def mark_padding(self, features: Tensor, masks: Tensor) -> Tensor:
        """Add one learned vector to patches of padding only, another to patches with some padding (or unknown)."""
        assert self.pad_embed is not None
        blank = (masks == 0).to(features.dtype)[..., None]
        partial = ((masks < 1) & (masks != 0)).to(features.dtype)[..., None]
        return features + blank * self.pad_embed[0] + partial * self.pad_embed[1]

    def pool(self, features: Tensor) -> Tensor:
        """Attend from the mean of each window to its patches: [n, P, F] to [n, T*T, vision width]."""
        n, _, width = features.shape
        rows, columns = (side // self.pool_size for side in self.grid)
        windows = features.view(n, rows, self.pool_size, columns, self.pool_size, width)
        windows = windows.transpose(2, 3).reshape(n * rows * columns, self.pool_size**2, width)
        return self._attend(windows.mean(1, keepdim=True), windows).view(n, rows * columns, -1)

    def pool_windows(self, features: Tensor, windows: Tensor) -> Tensor:
        """Attend from the mean of the patches of each window to them: [n, P, F], [Q, k] -> [Q, vision width]."""
        used = windows >= 0
        parts = features.flatten(0, 1)[windows.clamp_min(0)] * used[..., None]
        mean = parts.sum(1, keepdim=True) / used.sum(1)[:, None, None]
        return self._attend(mean.to(features.dtype), parts, used)

    def _attend(self, mean: Tensor, windows: Tensor, used: Tensor | None = None) -> Tensor:
        """Attend from [N, 1, F] to [N, k, F], where `used` [N, k] if that is given; return [N, vision width]."""
        q = self.query(mean).unflatten(-1, (self.heads, -1))
        k, v = self.key_value(windows).unflatten(-1, (2, self.heads, -1)).unbind(2)
        # q: [N, 1, heads, d], k and v: [N, k, heads, d]. Four keys are too few for a fused kernel to be faster.
        scores = (q.float() * k.float()).sum(-1) * q.shape[-1] ** -0.5
        if used is not None:
            scores = scores.masked_fill(~used[..., None], -torch.inf)
        weights = scores.softmax(1).to(v.dtype)
        attended = (weights[..., None] * v).sum(1).flatten(1)
        return attended if self.pool_out is None else self.pool_out(attended)

    def project(self, pooled: Tensor) -> Tensor:
        """Project to [n, T*T, d_model] by SwiGLU; the first half of `gate_up` is the gate."""
        gate, up = self.gate_up(pooled).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)
