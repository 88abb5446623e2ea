"""Where the patches of image tokens lie in their images (molmo2.md 7.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from molmo_point.preprocess.arrays import Ints, Points

THIRD = 0.33
"""Distance of locations within a patch, in patches: the released code has 0.33, not 1/3."""


@dataclass(frozen=True, eq=False)
class PatchPlaces:
    """Places of the patches of P windows of C patches each.

    Attributes:
        image: [P, C] int32, number of the image from 0; -1 where there is no patch, or one of a low-resolution view, which does
            not count as a place.
        corner: [P, C, 2] left upper corner (x, y), norm; size: [P, C, 2] (width, height), norm; NaN where there is no patch.
        shapes: (rows, columns) of patches of each image.
    """

    image: Ints
    corner: Points
    size: Points
    shapes: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, windows: Ints, grids: Sequence[Ints]) -> PatchPlaces:
        """Return the places.

        Args:
            windows: [P, C] patch numbers, -1 = none; grids: for each image [rows, columns], the patch number at each place.
        """
        # One more row, which the number -1 finds.
        table = np.full((1 + max(int(grid.max()) for grid in grids) + 1, 5), np.nan)
        table[:, 0] = -1
        for number, grid in enumerate(grids):
            rows, columns = grid.shape
            y, x = np.divmod(np.arange(grid.size), columns)
            of_one = [np.full(grid.size, number), x / columns, y / rows]
            sides = [np.full(grid.size, 1 / columns), np.full(grid.size, 1 / rows)]
            table[grid.reshape(-1)] = np.stack([*of_one, *sides], axis=1)
        known = np.where(windows < len(table) - 1, windows, -1)
        found = table[known]
        return cls(
            found[..., 0].astype(np.int32),
            found[..., 1:3],
            found[..., 3:5],
            tuple((grid.shape[0], grid.shape[1]) for grid in grids),
        )

    def locate(self, patch: int, part: int, location: int) -> tuple[int, float, float] | None:
        """Return (image, x, y) of a location 0-8 in a patch of a window, norm; None where there is no such place."""
        windows, parts = self.image.shape
        inside = 0 <= patch < windows and 0 <= part < parts and 0 <= location < 9
        if not inside or self.image[patch, part] < 0:
            return None
        offset = (np.array([location // 3, location % 3]) + 0.5) * THIRD
        x, y = self.corner[patch, part] + offset * self.size[patch, part]
        return int(self.image[patch, part]), float(x), float(y)

    @property
    def centres(self) -> Points:
        """[P, C, 2] centres of the patches, norm; NaN where there is none."""
        return self.corner + self.size / 2
