"""A digest of a network's weights, by which a calibration is known to be of this checkpoint."""

from __future__ import annotations

import hashlib

import torch

from molmo_point.model.molmo import Molmo


def weights_digest(model: Molmo) -> str:
    """Return 16 hex digits of weights that training changes and no quantization does; the same in float32 and bfloat16.

    They are the vision tower's positions and the decoder's last norm, rounded to bfloat16: a few megabytes of the largest models.
    """
    digest = hashlib.blake2b(digest_size=8)
    for weights in (model.vision.positional_embedding, model.decoder.norm.weight):
        rounded = weights.detach().to(torch.bfloat16).cpu().contiguous()
        digest.update(rounded.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
