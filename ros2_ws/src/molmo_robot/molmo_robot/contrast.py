"""Grey images of 16 bits (infrared, thermal, microscopes) as the 8 bits a model sees."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from molmo_point.images import Array

CONTRASTS = ("percentile", "minmax", "none")

PERCENTILES = (1.0, 99.0)
"""The darkest and brightest 1 % are ignored: dead pixels, a lamp, the sun."""

Grey16 = npt.NDArray[np.uint16]


def grey8(grey: Grey16, contrast: str) -> Array:
    """Return (H, W) uint8.

    Args:
        grey: (H, W) uint16. Sensors of 10 to 14 bits fill a part of it only.
        contrast: `percentile` stretches the 1st to the 99th percentile over 0..255, `minmax` the darkest to the brightest
            pixel, `none` takes the upper byte.
    """
    values: Any = grey
    low, high = 0.0, 0.0
    if contrast == "minmax":
        low, high = float(values.min()), float(values.max())
    elif contrast == "percentile":
        low, high = (float(v) for v in np.percentile(values, PERCENTILES))
        if high <= low:
            # Only a small bright object on an even background differs.
            low, high = float(values.min()), float(values.max())
    if high <= low:
        return np.asarray(values >> 8, np.uint8)
    stretched = (values.astype(np.float32) - low) * np.float32(255.0 / (high - low))
    return np.asarray(np.clip(np.rint(stretched), 0, 255), np.uint8)


def repeated(grey: Array) -> Array:
    """Return (H, W, 3) of (H, W): grey as RGB."""
    return np.repeat(grey[..., None], 3, axis=2)
