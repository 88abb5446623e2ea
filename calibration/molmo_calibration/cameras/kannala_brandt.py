"""The equidistant fisheye of ROS, Kalibr, OpenCV's `fisheye` and COLMAP's OPENCV_FISHEYE.

A ray at angle t from the optical axis lands at radius t (1 + k1 t² + k2 t⁴ + k3 t⁶ + k4 t⁸) in
normalized image coordinates (Kannala and Brandt 2006). The angle comes from atan2(r, z), so rays
beyond 90 degrees from the axis are ordinary rays here.
"""

from __future__ import annotations

import numpy as np

from molmo_calibration.arrays import BoolArray, FloatArray, frozen
from molmo_calibration.cameras.radial import first_fold, inverse_scale, polynomial

Columns = tuple[FloatArray, FloatArray]

_TINY = 1e-12

# Newton's error after a step is about the square of that step: below 1e-8 it is rounding.
_CONVERGED = 1e-8
_HALVINGS = 60


class KannalaBrandt:
    """A fisheye lens with four coefficients.

    Attributes:
        coefficients: (4,) float64, read-only.
        limit: largest angle from the axis, in radians, up to which the image moves outwards; at
            most pi.
    """

    def __init__(self, coefficients: FloatArray) -> None:
        self.coefficients = frozen(coefficients)
        self._profile = np.concatenate([[1.0], self.coefficients])
        one = np.array([1.0])
        self.limit = min(first_fold(self._profile, one, farthest=np.pi), float(np.pi))
        self._guess, self._guess_limit = inverse_scale(self._profile, one, self.limit)
        self._radius_limit = self.limit * float(
            polynomial(self._profile, np.array([self.limit**2]))[0]
        )

    def image(self, x: FloatArray, y: FloatArray, z: FloatArray) -> Columns:
        """Rays of any length to normalized image coordinates, (n,) each."""
        r = np.sqrt(x * x + y * y)
        angle = np.arctan2(r, z)
        bent = angle * polynomial(self._profile, angle * angle)
        centre = r < _TINY * np.abs(z)
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = np.where(centre, 1.0 / z, bent / r)
        return x * scale, y * scale

    def ray(self, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Normalized image coordinates to unit rays; the inverse of `image`.

        Returns:
            x, y, z, each (n,); NaN for a point beyond the lens's limit.
        """
        radius = np.sqrt(x * x + y * y)
        angle = self._angle(radius)
        sine = np.sin(angle)
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = np.where(radius < _TINY, 1.0, sine / radius)
        return x * scale, y * scale, np.cos(angle)

    def valid(self, x: FloatArray, y: FloatArray, z: FloatArray) -> BoolArray:
        """Rays inside the limit, (n,) bool; the zero vector is not a ray."""
        r = np.sqrt(x * x + y * y)
        return np.asarray((np.arctan2(r, z) < self.limit) & ((r > 0) | (z > 0)))

    def jacobian(self, x: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
        """d(image) / d(x, y, z), (n, 2, 3)."""
        r2 = x * x + y * y
        r = np.sqrt(r2)
        length2 = r2 + z * z
        angle = np.arctan2(r, z)
        squared = angle * angle
        bent = angle * polynomial(self._profile, squared)
        slope = self._slope(squared)
        centre = r < 1e-9 * np.abs(z)
        safe = np.where(centre, 1.0, r)
        scale = np.where(centre, 1.0 / np.where(z == 0, 1.0, z), bent / safe)
        # d(scale)/dr at fixed z, and d(bent)/dz at fixed r
        along_r = np.where(centre, 0.0, (slope * z / length2 - scale) / safe)
        along_z = -slope / length2
        ux, uy = np.where(centre, 0.0, x / safe), np.where(centre, 0.0, y / safe)
        first = np.stack([scale + along_r * ux * x, along_r * uy * x, along_z * x], -1)
        second = np.stack([along_r * ux * y, scale + along_r * uy * y, along_z * y], -1)
        return np.stack([first, second], -2)

    def coefficient_jacobian(self, x: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
        """d(image) / d(coefficients), (n, 2, 4)."""
        r = np.sqrt(x * x + y * y)
        angle = np.arctan2(r, z)
        safe = np.where(r > 0, r, 1.0)
        powers = angle[:, None] ** np.array([3, 5, 7, 9])
        return np.stack([(x / safe)[:, None] * powers, (y / safe)[:, None] * powers], -2)

    def _slope(self, squared: FloatArray) -> FloatArray:
        return polynomial(self._profile * np.array([1.0, 3.0, 5.0, 7.0, 9.0]), squared)

    def _angle(self, radius: FloatArray) -> FloatArray:
        """Invert the profile by Newton's method; NaN beyond the limit."""
        angle = radius * polynomial(self._guess, np.minimum(radius * radius, self._guess_limit))
        step = np.full_like(angle, np.inf)
        for _ in range(3):
            squared = angle * angle
            step = (radius - angle * polynomial(self._profile, squared)) / self._slope(squared)
            angle = angle + step
            if (np.abs(step) < _CONVERGED).all():
                break
        inside = radius < self._radius_limit
        doubtful = inside & ~((np.abs(step) < _CONVERGED) & (angle < self.limit))
        if doubtful.any():
            angle[doubtful] = self._bisect(radius[doubtful])
        angle[~inside] = np.nan
        return angle

    def _bisect(self, radius: FloatArray) -> FloatArray:
        """Invert by bisection, which always converges: the profile grows from 0 to the limit."""
        low, high = np.zeros_like(radius), np.full_like(radius, self.limit)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            below = middle * polynomial(self._profile, middle * middle) < radius
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return np.asarray((low + high) / 2)
