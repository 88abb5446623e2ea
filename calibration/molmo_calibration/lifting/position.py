"""A 3D point with its covariance, frame and status."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from molmo_calibration.arrays import ArrayLike, FloatArray, as_points, frozen
from molmo_calibration.errors import FrameError, InvalidArgumentError
from molmo_calibration.geometry.transforms import Transform

STATUSES = (
    "ok",
    "none",
    "ambiguous",
    "out_of_range",
    "no_ray",
    "parallel",
    "behind",
    "miss",
)


@dataclass(frozen=True, eq=False)
class Ellipsoid:
    """The region that holds the true point with a given probability.

    Args:
        centre: (3,) metres.
        axes: (3, 3) unit vectors in columns, a right-handed rotation (for RViz markers).
        radii: (3,) half lengths along them in metres, longest first.
    """

    centre: FloatArray
    axes: FloatArray
    radii: FloatArray


@dataclass(frozen=True, eq=False)
class Position:
    """Position of a pointed object.

    Args:
        point: (3,) metres; NaN unless the status is `ok`.
        covariance: (3, 3) metres²; NaN if it is not known, never zeros.
        status: `ok`; from depth `none`, `ambiguous`, `out_of_range`; from planes and meshes
            `parallel`, `behind`, `miss`; `no_ray` where the lens has no ray for the pixel.
        frame_id: frame of the point.
    """

    point: FloatArray
    covariance: FloatArray
    status: str = "ok"
    frame_id: str = ""

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise InvalidArgumentError(
                f"status must be one of {', '.join(STATUSES)}, got {self.status!r}"
            )
        object.__setattr__(self, "point", frozen(np.asarray(self.point, dtype=np.float64)))
        object.__setattr__(
            self, "covariance", frozen(np.asarray(self.covariance, dtype=np.float64))
        )

    @classmethod
    def unknown(cls, status: str, frame_id: str = "") -> Position:
        """No position, for a reason."""
        return cls(np.full(3, np.nan), np.full((3, 3), np.nan), status, frame_id)

    @property
    def ok(self) -> bool:
        """Whether there is a position."""
        return self.status == "ok"

    def transformed(self, a_from_b: Transform) -> Position:
        """The position in another frame, with the transform's uncertainty added.

        Raises:
            FrameError: the transform starts from another frame than this position's.
        """
        if self.frame_id and a_from_b.from_frame and self.frame_id != a_from_b.from_frame:
            raise FrameError(
                f"the position is in frame {self.frame_id!r}, but the transform takes points "
                f"of {a_from_b.from_frame!r}; pass a transform from {self.frame_id!r}"
            )
        if not self.ok:
            return replace(self, frame_id=a_from_b.to_frame)
        return Position(
            a_from_b.apply(self.point),
            a_from_b.apply_covariance(self.point, self.covariance),
            self.status,
            a_from_b.to_frame,
        )

    def ellipsoid(self, probability: float = 0.9) -> Ellipsoid:
        """The confidence ellipsoid; NaN radii if the covariance is not known."""
        if not np.isfinite(self.covariance).all():
            return Ellipsoid(self.point, np.eye(3), np.full(3, np.nan))
        values, vectors = np.linalg.eigh(self.covariance)
        axes = vectors[:, ::-1].copy()
        if np.linalg.det(axes) < 0:
            axes[:, 2] = -axes[:, 2]
        scale = chi_squared_quantile(probability, 3)
        radii = np.sqrt(np.maximum(values[::-1], 0.0) * scale)
        return Ellipsoid(self.point, axes, np.asarray(radii))


def mahalanobis_squared(errors: ArrayLike, covariance: ArrayLike) -> FloatArray:
    """e' C^-1 e for errors (..., n) and covariances (..., n, n): NEES, chi² of n degrees."""
    matrix = np.asarray(covariance, dtype=np.float64)
    vectors = as_points(errors, "errors", matrix.shape[-1])
    solved = np.linalg.solve(matrix, vectors[..., None])[..., 0]
    return np.asarray((vectors * solved).sum(axis=-1))


def chi_squared_quantile(probability: float, degrees: int) -> float:
    """The value that a chi² variable of 2 or 3 degrees of freedom stays below.

    Raises:
        InvalidArgumentError: a probability outside 0..1, or other degrees of freedom.
    """
    if not 0.0 < probability < 1.0 or degrees not in (2, 3):
        raise InvalidArgumentError(
            "expected a probability between 0 and 1 and 2 or 3 degrees of freedom, "
            f"got {probability} and {degrees}"
        )
    if degrees == 2:
        return -2.0 * math.log1p(-probability)
    low, high = 0.0, 200.0
    for _ in range(80):
        middle = (low + high) / 2
        tail = math.sqrt(2 * middle / math.pi) * math.exp(-middle / 2)
        below = math.erf(math.sqrt(middle / 2)) - tail < probability
        low, high = (middle, high) if below else (low, middle)
    return high
