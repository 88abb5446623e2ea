"""Seeds of images: training and evaluation use two disjoint ranges.

An image is a function of one integer. Training images have seeds below `HELD_OUT_START`, evaluation images at or above
it; the rendering code uses held-out backgrounds, fonts and icons only for the latter.
"""

from __future__ import annotations

import hashlib

from molmo_point.errors import UsageError

HELD_OUT_START = 1 << 48
"""First seed of the evaluation range [2^48, 2^49); training draws from [0, 2^48)."""

SEED_END = 1 << 49


def training_seed(run: int, stage: str, index: int) -> int:
    """Return the seed of image `index` of one stage of one run, in [0, 2^48).

    It is a hash, so that runs and stages do not use the same images in the same order.
    """
    if index < 0:
        raise UsageError(f"expected the index of an image to be 0 or more, got {index}")
    digest = hashlib.blake2b(f"{run}/{stage}/{index}".encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big") % HELD_OUT_START


def held_out_seed(index: int) -> int:
    """Return the seed of evaluation image `index`, in [2^48, 2^49)."""
    if not 0 <= index < SEED_END - HELD_OUT_START:
        raise UsageError(
            f"expected the index of an evaluation image in [0, {SEED_END - HELD_OUT_START}), got {index}"
        )
    return HELD_OUT_START + index


def is_held_out(seed: int) -> bool:
    """Whether a seed belongs to evaluation.

    Raises:
        UsageError: The seed is in neither range.
    """
    if not 0 <= seed < SEED_END:
        raise UsageError(f"expected a seed in [0, {SEED_END}), got {seed}")
    return seed >= HELD_OUT_START
