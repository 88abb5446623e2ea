"""Molmo: a vision tower, a connector, a decoder.

    crops --vision--> features --connector--> image embeddings --(added to the <im_patch> embeddings)--> decoder --> logits

Reference: Deitke et al., Molmo and PixMo, arXiv 2409.17146. tests/core/test_model_golden.py compares it
with the reference's numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from molmo_point.checkpoints.config import MolmoConfig
from molmo_point.model.connector import Connector
from molmo_point.model.decoder import Cache, Decoder
from molmo_point.model.point_heads import PointHeads
from molmo_point.model.vision import VisionTower


class Molmo(nn.Module):
    """The whole network.

    Args:
        all_blocks: Also build the vision blocks that no output depends on; the released files hold them.
    """

    def __init__(self, config: MolmoConfig, *, all_blocks: bool = False) -> None:
        super().__init__()
        self.config = config
        self.vision = VisionTower(config.vision, all_blocks=all_blocks)
        self.connector = Connector(config)
        self.decoder = Decoder(config.decoder)
        self.points = PointHeads(config) if config.points else None

    @property
    def dtype(self) -> torch.dtype:
        """Type of the decoder's weights and activations."""
        return self.decoder.norm.weight.dtype

    @property
    def vision_dtype(self) -> torch.dtype:
        """Type of the vision tower and the connector."""
        return self.vision.patch_embedding.weight.dtype

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.decoder.norm.weight.device

    def to_types(self, dtype: torch.dtype, vision_dtype: torch.dtype | None = None) -> Molmo:
        """Cast the parameters; what is small and chooses between near locations stays float32. Return the model.

        Args:
            vision_dtype: Of the vision tower and the connector; None = `dtype`.
        """
        self.to(dtype)
        if vision_dtype is not None:
            self.vision.to(vision_dtype)
            self.connector.to(vision_dtype)
        if self.points is not None:
            # Its margins are small, too: locations are chosen from states that are not normed.
            self.points.float()
        return self

    def encode_images(self, crops: Tensor, pooling: Tensor) -> Tensor:
        """Return the image embeddings of crops.

        Args:
            crops: [n, P, patch pixels] float32 normalised; pooling: as in `Connector.forward`.

        Returns:
            [n, tokens per crop, d_model], or of a stretched image [image tokens, d_model].
        """
        features = self.vision(crops.to(self.device, self.vision_dtype))
        return self.connector(features, pooling.to(self.device))

    def embed(
        self,
        input_ids: Tensor,
        image_features: Tensor | None = None,
        image_input_idx: Tensor | None = None,
    ) -> Tensor:
        """Return token embeddings, with the image embeddings ADDED at their positions.

        Args:
            input_ids: [B, T]; negative ids (padding) use row 0.
            image_features: [B, ..., D], as `encode_images` returns them, or None for text alone.
            image_input_idx: [B, ...], position of each in its row of `input_ids`; negative = unused.

        Returns:
            [B, T, D].
        """
        x = self.decoder.embedding(input_ids.clamp_min(0))
        if image_features is None or image_input_idx is None:
            return x
        batch, length, width = x.shape
        index = image_input_idx.reshape(batch, -1).to(x.device, torch.long)
        used = index >= 0
        rows = index + torch.arange(batch, device=x.device)[:, None] * length
        added = image_features.reshape(batch, -1, width)[used].to(x.dtype)
        return x.reshape(-1, width).index_add(0, rows[used], added).view(batch, length, width)

    def embed_rows(self, ids: Tensor, added: Tensor | None) -> Tensor:
        """Return token embeddings of an answer [B, T, D].

        Args:
            ids: [B, T].
            added: [B, T, D] float32, what is added to them (chosen parts of the image in MolmoPoint); None = nothing.
        """
        x: Tensor = self.decoder.embedding(ids)
        return x if added is None else x.float() + added

    def forward(
        self,
        embeddings: Tensor,
        positions: Tensor,
        *,
        mask: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Return logits [B, T, embedding_size] at every position; arguments as in `Decoder.forward`."""
        return self.decoder.logits(self.decoder(embeddings, positions, mask=mask, cache=cache))
