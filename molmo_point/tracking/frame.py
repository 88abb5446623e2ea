"""One image of a camera at working size, with a pyramid from which many places are read at once."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from molmo_point.tracking.opencv import cv2

Floats: TypeAlias = "NDArray[np.floating[Any]]"
Bools = NDArray[np.bool_]

LEVELS = 4
"""Of the pyramid: patches are looked at in full, half, quarter or eighth resolution, the finest that has texture."""

SMALLEST_SIDE = 42
"""A level is added while the last one's shorter side is at least this many pixels: two patch sides."""


class Frame:
    """One image of the camera, in grey, at working size.

    Args:
        image: (H, W, 3) uint8 RGB or (H, W) uint8.
        long_side: Images that are larger are made smaller; flow does not need more.

    Attributes:
        grey: (h, w) uint8.
        size: (w, h).
    """

    def __init__(self, image: np.ndarray[Any, np.dtype[np.uint8]], long_side: int = 640) -> None:
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image
        scale = long_side / max(grey.shape)
        if scale < 1:
            size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
            grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        self.grey: np.ndarray[Any, np.dtype[np.uint8]] = np.ascontiguousarray(grey)
        self.size = (int(grey.shape[1]), int(grey.shape[0]))
        self._mosaic: Any = None
        self._sizes: Floats = np.empty((0, 2), np.float32)
        self._tops: Floats = np.empty(0, np.float32)

    def release(self) -> None:
        """Drop the pyramid; the grey image stays."""
        self._mosaic = None

    def levels(self) -> int:
        """Return how many levels the pyramid has; small images have fewer."""
        self._build()
        return len(self._tops)

    def sample(self, level: Any, places: Floats) -> tuple[Floats, Bools]:
        """Read grey values between pixels, bilinear.

        Args:
            level: (N,) level of each row.
            places: (N, P, 2) float32, uv in pixels of that level.

        Returns:
            (N, P) float32 grey values, and (N, P) bool: which places lie in the image.
        """
        self._build()
        most = (self._sizes[level] - 1)[:, None]
        nearest: Floats = np.minimum(np.maximum(places, 0), most).astype(np.float32)
        inside: Bools = (nearest == places).all(axis=-1)
        rows = nearest[..., 1] + self._tops[level][:, None]
        columns = np.ascontiguousarray(nearest[..., 0])
        values: Any = cv2.remap(self._mosaic, columns, rows, cv2.INTER_LINEAR)
        return values, inside

    def _build(self) -> None:
        """Put all levels of the pyramid below each other in one image, so that one call reads from all of them."""
        if self._mosaic is not None:
            return
        levels: list[Any] = [self.grey]
        while len(levels) < LEVELS and min(levels[-1].shape) >= SMALLEST_SIDE:
            levels.append(cv2.pyrDown(levels[-1]))
        heights = [level.shape[0] for level in levels]
        self._tops = np.cumsum([0, *heights[:-1]]).astype(np.float32)
        sizes: Any = [level.shape[::-1] for level in levels]
        self._sizes = np.array(sizes).astype(np.float32)
        self._mosaic = np.zeros((sum(heights), self.size[0]), np.float32)
        for top, level in zip(self._tops, levels, strict=True):
            self._mosaic[int(top) : int(top) + level.shape[0], : level.shape[1]] = level
