"""How probable each place of an image is as a point: what MolmoPoint knows before it chooses one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from molmo_point.points import Point

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_NEAR = 0.05
"""Mass within this distance of a mode, in 0-1 of both sides, belongs to it."""


@dataclass(frozen=True, eq=False)
class PointMap:
    """The probabilities of the first point. Made by `LocalPointer.point_map`.

    Attributes:
        probabilities: [rows, columns] float64, of the cells of an even grid over the image; with `absent` they add up to 1.
        absent: Probability that there is no point, 0-1.
        query: As the caller wrote it.
        image_size: (width, height) in pixels.
    """

    probabilities: NDArray[np.float64]
    absent: float
    query: str
    image_size: tuple[int, int]

    def modes(self, most: int = 5, least: float = 0.01) -> tuple[Point, ...]:
        """Return the places around which the mass gathers, the likeliest first.

        Each is the mean of the mass near a peak; `score` is that mass, `covariance` its spread.

        Args:
            most: Largest number of modes.
            least: Smallest mass of a mode.
        """
        import numpy as np

        rows, columns = self.probabilities.shape
        left = self.probabilities.copy()
        y, x = ((np.arange(size) + 0.5) / size for size in (rows, columns))
        found: list[Point] = []
        while len(found) < most:
            row, column = divmod(int(left.argmax()), columns)
            near = (abs(y - y[row]) <= _NEAR)[:, None] & (abs(x - x[column]) <= _NEAR)[None, :]
            mass = np.where(near, left, 0.0)
            total = float(mass.sum())
            if total < least:
                break
            across, down = mass.sum(0) / total, mass.sum(1) / total
            mean_x, mean_y = float(across @ x), float(down @ y)
            xx = float(across @ (x - mean_x) ** 2) + 1 / (12 * columns**2)
            yy = float(down @ (y - mean_y) ** 2) + 1 / (12 * rows**2)
            xy = float((y - mean_y) @ mass @ (x - mean_x)) / total
            found.append(
                Point(
                    x=mean_x,
                    y=mean_y,
                    label=self.query,
                    score=min(1.0, total),
                    covariance=(xx, xy, yy),
                    index=len(found),
                )
            )
            left[near] = 0.0
        return tuple(found)
