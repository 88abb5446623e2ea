"""The heads of MolmoPoint: a point is a patch of the image, a part of its window, and a ninth of that part (molmo2.md 7).

Instead of writing coordinates, the decoder's hidden state is compared with keys of the image's patches. The heads compute in
float32. Letters: P image tokens, each a window of C patches; K key width; F vision feature width; D model width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from molmo_point.checkpoints.config import MolmoConfig
from molmo_point.model.layers import RMSNorm, apply_rotary, rotary_table

LOCATIONS = 9
"""A patch is divided into 3 x 3 locations."""


@dataclass(frozen=True, eq=False)
class PatchKeys:
    """What the heads need of an image, kept with its keys and values.

    Attributes:
        patches: [P + 1, K] float32, rotated keys of the image tokens; the last is "no more points".
        usable: [P + 1] bool, False for tokens of the low-resolution view, which cannot be chosen.
        positions: [P] int64, rotary positions.
        subpatches: [P, C, K] float32 keys of the patches of each window.
        windows: [P, C] int64 patch numbers, -1 = none.
        features: [P, C, F] vision features of those patches, 0 where there is none.
        embeddings: [P, D] image embeddings.
    """

    patches: Tensor
    usable: Tensor
    positions: Tensor
    subpatches: Tensor
    windows: Tensor
    features: Tensor
    embeddings: Tensor

    @property
    def count(self) -> int:
        """Number of image tokens, P."""
        return len(self.positions)

    @property
    def window_size(self) -> int:
        """Number of patches of a window, C."""
        return self.windows.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.numel() * tensor.element_size() for tensor in vars(self).values())


class PointHeads(nn.Module):
    """Scores of patches, of the patches of a window, and of locations in a patch."""

    def __init__(self, config: MolmoConfig) -> None:
        super().__init__()
        assert config.points is not None
        width, features = config.decoder.d_model, config.vision.feature_width
        self.sizes = config.points
        key = self.sizes.key_width
        self.norm = RMSNorm(width, config.decoder.norm_eps)
        self.patch_query = nn.Linear(width, key)
        self.patch_key = nn.Linear(width, key)
        self.subpatch_query = nn.Linear(width, key)
        self.subpatch_key = nn.Linear(features, key)
        self.location = nn.Linear(width, LOCATIONS)
        self.no_more_key = nn.Parameter(torch.zeros(key))
        self.subpatch_embedding = nn.Linear(features, width)

    def keys(
        self, hidden: Tensor, usable: Tensor, windows: Tensor, features: Tensor, embeddings: Tensor
    ) -> PatchKeys:
        """Return an image's keys.

        Args:
            hidden: [P, D] hidden states of the image tokens, before the decoder's last norm.
            usable: [P] bool, tokens that can be chosen.
            windows: [P, C] patch numbers over all crops, -1 = none.
            features: [crops, patches, F]; embeddings: [P, D].
        """
        positions = usable.long().cumsum(0) - 1
        patches = self._rotate(self.patch_key(self.norm(hidden)), positions)
        windows = windows.long()
        inside = features.flatten(0, 1)[windows.clamp_min(0)] * (windows >= 0)[..., None]
        return PatchKeys(
            patches=torch.cat([patches, self.no_more_key[None]]),
            usable=torch.cat([usable, torch.ones_like(usable[:1])]),
            positions=positions,
            subpatches=self.subpatch_key(inside.float()),
            windows=windows,
            features=inside,
            embeddings=embeddings,
        )

    def patch_scores(self, hidden: Tensor, keys: PatchKeys, last: int | None) -> Tensor:
        """Return the logits of all patches and of "no more points" [P + 1]; -inf where a patch cannot be chosen.

        Args:
            hidden: [D], before the decoder's last norm.
            last: The patch that was chosen last, None before the first.
        """
        query = self.patch_query(self.norm(hidden))[None]
        if last is not None:
            query = self._rotate(query, keys.positions[last : last + 1].clamp_min(0))
        scores: Tensor = keys.patches @ query[0] / len(keys.patches) ** 0.5
        return scores.masked_fill(~keys.usable, -torch.inf)

    def subpatch_scores(self, hidden: Tensor, keys: PatchKeys, patch: int) -> Tensor:
        """Return the logits of the patches of a window [C]; -inf where the window has none."""
        query = self.subpatch_query(self.norm(hidden))
        scores: Tensor = keys.subpatches[patch] @ query / self.sizes.key_width**0.5
        return scores.masked_fill(keys.windows[patch] < 0, -torch.inf)

    def location_scores(self, hidden: Tensor) -> Tensor:
        """Return the logits of the locations in a patch [9]. The released code takes the state without a norm."""
        scores: Tensor = self.location(hidden.float())
        return scores

    def embed_subpatch(self, keys: PatchKeys, patch: int, part: int) -> Tensor:
        """Return the embedding of a chosen patch of a window [D] float32."""
        embedding: Tensor = self.subpatch_embedding(keys.features[patch, part].float())
        return embedding

    def _rotate(self, x: Tensor, positions: Tensor) -> Tensor:
        """Rotate [n, K] by positions [n]."""
        table = rotary_table(positions[None], self.sizes.key_width, self.sizes.rope_theta)
        return apply_rotary(x[None, None], *table)[0, 0]
