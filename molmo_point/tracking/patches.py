"""Square patches of images as arrays (N, pixels): their grid, weights, normalization, texture, warps and motion."""

from __future__ import annotations

import numpy as np

from molmo_point.tracking.frame import Bools, Floats

SIDE = 21
"""Side of a patch, pixels of its level."""


_STEPS = np.arange(SIDE) - SIDE // 2
GRID = np.stack(np.meshgrid(_STEPS, _STEPS), axis=-1).reshape(-1, 2).astype(np.float64)
_WIDE_STEPS = np.arange(SIDE + 2) - SIDE // 2 - 1
WIDE_GRID = (
    np.stack(np.meshgrid(_WIDE_STEPS, _WIDE_STEPS), axis=-1).reshape(-1, 2).astype(np.float64)
)
_QUARTERS = [((GRID[:, 0] * x > 0) & (GRID[:, 1] * y > 0)) for x in (-1, 1) for y in (-1, 1)]
# The middle counts most: it is the point, the rim may belong to the background.
WEIGHT = np.exp(-(GRID**2).sum(axis=1) / (2 * (SIDE / 3) ** 2))
WEIGHT = (WEIGHT / WEIGHT.sum()).astype(np.float32)


def worst_quarter(now: Floats, look: Floats, weight: Floats) -> Floats:
    """Return the weighted mean squared difference in the worst of each patch's four quarters, (M,)."""
    squared = (now - look) ** 2 * weight
    weights = np.broadcast_to(weight, squared.shape)
    share = [
        squared[:, quarter].sum(axis=1) / np.maximum(weights[:, quarter].sum(axis=1), 1e-6)
        for quarter in _QUARTERS
    ]
    worst: Floats = np.max(share, axis=0)
    return worst


def spread(patch: Floats, weight: Floats) -> Floats:
    """Return the weighted deviations of patches, (N, 1)."""
    mean = (patch * weight).sum(axis=1, keepdims=True)
    # Never 0: a patch without any texture must not divide by it.
    deviation: Floats = np.sqrt(((patch - mean) ** 2 * weight).sum(axis=1, keepdims=True)) + 1e-3
    return deviation


def normalize(patch: Floats, weight: Floats) -> Floats:
    """Return patches of weighted mean 0 and deviation 1, (N, P): brightness and contrast may change from frame to frame."""
    mean = (patch * weight).sum(axis=1, keepdims=True)
    centred = patch - mean
    spread = np.sqrt((centred * centred * weight).sum(axis=1, keepdims=True)) + 1e-3
    normalized: Floats = centred / spread
    return normalized


def invert(matrix: Floats) -> Floats:
    """Return the inverses of (N, 2, 2) matrices; of those that nearly have none, the identity."""
    a, b, c, d = matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 1, 0], matrix[:, 1, 1]
    det = a * d - b * c
    fine = np.abs(det) > 0.2
    safe = np.where(fine, det, 1.0)
    inverse = np.stack([d, -b, -c, a], axis=-1).reshape(-1, 2, 2) / safe[:, None, None]
    result: Floats = np.where(fine[:, None, None], inverse, np.eye(2))
    return result


def weaker_gradient(gx: Floats, gy: Floats) -> Floats:
    """Return (N,): the root of the smaller eigenvalue of each patch's structure tensor, grey levels per pixel."""
    xx, yy, xy = ((a * b * WEIGHT).sum(axis=1) for a, b in ((gx, gx), (gy, gy), (gx, gy)))
    smaller = (xx + yy) / 2 - np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    weaker: Floats = np.sqrt(np.maximum(smaller, 0.0))
    return weaker


def is_plausible(warp: Floats) -> Bools:
    """Return which warps a camera can cause, (N,) bool: neither mirrored nor squeezed to a line."""
    det = np.linalg.det(warp)
    norm = np.linalg.norm(warp, axis=(1, 2))
    sane: Bools = (det > 0.2) & (det < 5.0) & (norm < 4.0)
    return sane


def common_motion(moves: Floats, of: int) -> Floats:
    """Return the motion, (2,), that most of the `of` patches share; zero where those recognized are too few or disagree."""
    if len(moves) < max(3, of / 3):
        return np.zeros(2)
    middle: Floats = np.median(moves, axis=0)
    agree = np.linalg.norm(moves - middle, axis=1) <= 2.0 + 0.1 * np.linalg.norm(middle)
    return middle if agree.mean() > 0.5 else np.zeros(2)
