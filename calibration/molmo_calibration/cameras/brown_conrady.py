"""The Brown-Conrady lens: OpenCV's 4, 5, 8, 12 and 14 coefficients, forwards and backwards.

Coefficients in OpenCV's order: k1 k2 p1 p2 | k3 | k4 k5 k6 | s1 s2 s3 s4 | tau_x tau_y (radial,
tangential, rational denominator, thin prism, tilted sensor). ROS calls the first five `plumb_bob`
and the first eight `rational_polynomial`. Formulas: OpenCV's calib3d documentation.

Everything here lives in normalized coordinates x = X/Z, y = Y/Z and works on columns, (n,) each,
because that is what keeps a million points in cache.
"""

from __future__ import annotations

import numpy as np

from molmo_calibration.arrays import BoolArray, FloatArray, frozen
from molmo_calibration.cameras.radial import FARTHEST, first_fold, inverse_scale, polynomial

Columns = tuple[FloatArray, FloatArray]

# Newton's error after a step is about the square of that step: below 1e-8 it is rounding.
_CONVERGED = 1e-8

# Steps from the centre to a point next to the fold, where Newton alone may go astray.
_WALK = 32

# The least area, in units of that in the middle, that the lens may shrink to near the fold.
_LEAST_AREA = 0.02

# Where tangential and prism terms are looked at for a fold: directions, radii, rounds of them.
_DIRECTIONS = 48
_RADII = 64
_ROUNDS = 3


class BrownConrady:
    """A lens with 14 coefficients; the last ones may be zero.

    Attributes:
        coefficients: (14,) float64, read-only.
        limit: largest undistorted radius sqrt(x² + y²) up to which the image moves outwards with
            the ray in every direction; beyond it the image folds over itself somewhere. inf
            where it never does.
    """

    def __init__(self, coefficients: FloatArray) -> None:
        self.coefficients = frozen(
            np.concatenate([coefficients, np.zeros(14 - len(coefficients))])
        )
        k1, k2, _, _, k3, k4, k5, k6 = self.coefficients[:8]
        self._numerator = np.array([1.0, k1, k2, k3])
        self._denominator = np.array([1.0, k4, k5, k6])
        self._rational = bool(np.any(self._denominator[1:]))
        self._prism = bool(np.any(self.coefficients[8:12]))
        self.limit = first_fold(self._numerator, self._denominator)
        if self._prism or np.any(self.coefficients[2:4]):
            self.limit = self._first_fold_askew(self.limit)
        # Inside this radius no other root is near; outside, points are solved with care.
        self._safe = 0.8 * self.limit
        self._guess, self._guess_limit = inverse_scale(
            self._numerator, self._denominator, self.limit
        )
        self._tilt = _tilt_matrix(*self.coefficients[12:]) if any(self.coefficients[12:]) else None

    def distort(self, x: FloatArray, y: FloatArray) -> Columns:
        """Undistorted to distorted normalized coordinates, (n,) each."""
        xd, yd = self._distort(x, y)
        return (xd, yd) if self._tilt is None else _homography(self._tilt, xd, yd)

    def undistort(self, x: FloatArray, y: FloatArray) -> Columns:
        """Distorted to undistorted normalized coordinates, (n,) each; the inverse of `distort`.

        Returns:
            x, y; NaN for a point that no ray inside `limit` reaches.
        """
        if self._tilt is not None:
            x, y = _homography(np.linalg.inv(self._tilt), x, y)
        r2 = x * x + y * y
        # A point outside the image of the fold has no inverse, but it may come close with
        # tangential terms: the guess is taken at the rim and Newton decides.
        scale = polynomial(self._guess, np.minimum(r2, self._guess_limit))
        u: FloatArray = x * scale
        v: FloatArray = y * scale
        # Two steps are enough for an ordinary lens; a third is for strong tangential terms.
        u, v, _ = self._newton(u, v, x, y)
        u, v, step = self._newton(u, v, x, y)
        if not (step < _CONVERGED).all():
            u, v, step = self._newton(u, v, x, y)
        # A root outside the valid region is the wrong one, if there is another.
        doubtful = ~((step < _CONVERGED) & (u * u + v * v < self._safe**2))
        if doubtful.any():
            self._solve_hard_points(u, v, x, y, doubtful)
        return u, v

    def jacobian(self, x: FloatArray, y: FloatArray) -> FloatArray:
        """d(distorted) / d(undistorted), (n, 2, 2)."""
        _, _, a, b, c, d = self._distort_with_slopes(x, y)
        inner = np.stack([np.stack([a, b], -1), np.stack([c, d], -1)], -2)
        if self._tilt is None:
            return inner
        xd, yd = self._distort(x, y)
        return np.asarray(_homography_jacobian(self._tilt, xd, yd) @ inner)

    def coefficient_jacobian(self, x: FloatArray, y: FloatArray, count: int) -> FloatArray:
        """d(distorted) / d(the first `count` coefficients), (n, 2, count)."""
        r2 = x * x + y * y
        below = polynomial(self._denominator, r2)
        radial = polynomial(self._numerator, r2) / below
        zero = np.zeros_like(x)
        powers = [r2, r2 * r2, r2 * r2 * r2]
        up = [(x * p / below, y * p / below) for p in powers]
        down = [(-x * radial * p / below, -y * radial * p / below) for p in powers]
        tangential = [(2 * x * y, r2 + 2 * y * y), (r2 + 2 * x * x, 2 * x * y)]
        prism = [(r2, zero), (powers[1], zero), (zero, r2), (zero, powers[1])]
        pairs = [*up[:2], *tangential, up[2], *down, *prism]
        columns = np.stack([np.stack(pair, -1) for pair in pairs], -1)
        if count == 14:
            columns = self._through_tilt(x, y, columns)
        return columns[..., :count]

    def _through_tilt(self, x: FloatArray, y: FloatArray, columns: FloatArray) -> FloatArray:
        """The columns seen through the tilted sensor, and those of the two tilts themselves."""
        xd, yd = self._distort(x, y)
        tilts = self.coefficients[12:]
        inner = _homography_jacobian(_tilt_matrix(*tilts), xd, yd) @ columns
        # A difference, because the closed form is a page of sines; exact to 1e-10.
        step = 1e-5
        for axis in np.eye(2) * step:
            ahead = np.stack(_homography(_tilt_matrix(*(tilts + axis)), xd, yd), -1)
            behind = np.stack(_homography(_tilt_matrix(*(tilts - axis)), xd, yd), -1)
            inner = np.concatenate([inner, ((ahead - behind) / (2 * step))[..., None]], -1)
        return np.asarray(inner)

    def valid(self, x: FloatArray, y: FloatArray) -> BoolArray:
        """Where the lens has an inverse: inside `limit`, (n,) bool."""
        return np.asarray(x * x + y * y < self.limit**2)

    def _first_fold_askew(self, farthest: float) -> float:
        """The least radius at which any direction folds, when the lens is not round."""
        angles = np.linspace(0.0, 2.0 * np.pi, _DIRECTIONS, endpoint=False)[:, None]
        low, high = 0.0, min(farthest, FARTHEST)
        for round_ in range(_ROUNDS):
            radii = np.linspace(low, high, _RADII)
            if round_ == 0:
                # Even steps of the viewing angle are dense where images are.
                radii = np.tan(np.linspace(0.0, np.arctan(high), _RADII))
            _, _, a, b, c, d = self._distort_with_slopes(
                radii * np.cos(angles), radii * np.sin(angles)
            )
            bad = np.flatnonzero((a * d - b * c <= _LEAST_AREA).any(axis=0))
            if bad.size == 0:
                return farthest
            low, high = float(radii[max(bad[0] - 1, 0)]), float(radii[bad[0]])
        return low

    def _distort(self, x: FloatArray, y: FloatArray) -> Columns:
        k1, k2, p1, p2, k3 = self.coefficients[:5]
        x2, y2 = x * x, y * y
        r2 = x2 + y2
        radial = ((k3 * r2 + k2) * r2 + k1) * r2 + 1.0
        if self._rational:
            radial /= polynomial(self._denominator, r2)
        xy2 = 2.0 * x * y
        xd = x * radial + p1 * xy2 + p2 * (r2 + 2.0 * x2)
        yd = y * radial + p2 * xy2 + p1 * (r2 + 2.0 * y2)
        if self._prism:
            s1, s2, s3, s4 = self.coefficients[8:12]
            xd += (s2 * r2 + s1) * r2
            yd += (s4 * r2 + s3) * r2
        return xd, yd

    def _distort_with_slopes(self, x: FloatArray, y: FloatArray) -> tuple[FloatArray, ...]:
        """Distorted x, y and the four entries of the Jacobian, row by row."""
        k1, k2, p1, p2, k3 = self.coefficients[:5]
        x2, y2, xy = x * x, y * y, x * y
        r2 = x2 + y2
        radial = ((k3 * r2 + k2) * r2 + k1) * r2 + 1.0
        slope = (3.0 * k3 * r2 + 2.0 * k2) * r2 + k1
        if self._rational:
            _, k4, k5, k6 = self._denominator
            below = polynomial(self._denominator, r2)
            radial /= below
            slope = (slope - radial * ((3.0 * k6 * r2 + 2.0 * k5) * r2 + k4)) / below
        slope2 = 2.0 * slope
        cross = slope2 * xy + 2.0 * (p1 * x + p2 * y)
        lean = 2.0 * (p1 * y + p2 * x)
        a = radial + slope2 * x2 + lean + 4.0 * p2 * x
        d = radial + slope2 * y2 + lean + 4.0 * p1 * y
        xd = x * radial + 2.0 * p1 * xy + p2 * (r2 + 2.0 * x2)
        yd = y * radial + 2.0 * p2 * xy + p1 * (r2 + 2.0 * y2)
        if not self._prism:
            return xd, yd, a, cross, cross, d
        s1, s2, s3, s4 = self.coefficients[8:12]
        px, py = 2.0 * (s1 + 2.0 * s2 * r2), 2.0 * (s3 + 2.0 * s4 * r2)
        xd, yd = xd + (s2 * r2 + s1) * r2, yd + (s4 * r2 + s3) * r2
        return xd, yd, a + px * x, cross + px * y, cross + py * x, d + py * y

    def _newton(
        self, u: FloatArray, v: FloatArray, x: FloatArray, y: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        xd, yd, a, b, c, d = self._distort_with_slopes(u, v)
        ex, ey = x - xd, y - yd
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = 1.0 / (a * d - b * c)
        du, dv = (d * ex - b * ey) * scale, (a * ey - c * ex) * scale
        return u + du, v + dv, np.abs(du) + np.abs(dv)

    def _homotopy_solve(self, x: FloatArray, y: FloatArray) -> Columns:
        """Walk from the centre of the image to the point, correcting the ray at every step.

        Near the fold several rays may land on one pixel; the walk finds the one that the lens
        moves outwards, which is the one `valid` admits.
        """
        u, v, step = np.zeros_like(x), np.zeros_like(x), np.full_like(x, np.inf)
        shares = np.concatenate([np.linspace(0.0, 1.0, _WALK + 1)[1:].repeat(2), np.ones(_WALK)])
        for share in shares:
            u, v, step = self._newton(u, v, x * share, y * share)
            # A step beyond the fold would converge to another root, or not at all.
            back = np.minimum(1.0, self.limit / np.maximum(np.hypot(u, v), 1e-300))
            u, v = u * back, v * back
        lost = ~(step < _CONVERGED * (1.0 + np.abs(u) + np.abs(v)))
        u[lost] = v[lost] = np.nan
        return u, v

    def _solve_hard_points(
        self, u: FloatArray, v: FloatArray, x: FloatArray, y: FloatArray, which: BoolArray
    ) -> None:
        """Solve some points again with care, in place; NaN where no valid ray lands on them."""
        some_u, some_v = self._homotopy_solve(x[which], y[which])
        lost = ~self.valid(some_u, some_v)
        some_u[lost] = some_v[lost] = np.nan
        u[which], v[which] = some_u, some_v


def _tilt_matrix(tau_x: float, tau_y: float) -> FloatArray:
    """OpenCV's `computeTiltProjectionMatrix`: the homography of a tilted sensor, (3, 3)."""
    cx, sx, cy, sy = np.cos(tau_x), np.sin(tau_x), np.cos(tau_y), np.sin(tau_y)
    about_x = np.array([[1.0, 0.0, 0.0], [0.0, cx, sx], [0.0, -sx, cx]])
    about_y = np.array([[cy, 0.0, -sy], [0.0, 1.0, 0.0], [sy, 0.0, cy]])
    turn = about_y @ about_x
    project = np.array(
        [[turn[2, 2], 0.0, -turn[0, 2]], [0.0, turn[2, 2], -turn[1, 2]], [0.0, 0.0, 1.0]]
    )
    return np.asarray(project @ turn)


def _homography(h: FloatArray, x: FloatArray, y: FloatArray) -> Columns:
    w = h[2, 0] * x + h[2, 1] * y + h[2, 2]
    return (h[0, 0] * x + h[0, 1] * y + h[0, 2]) / w, (h[1, 0] * x + h[1, 1] * y + h[1, 2]) / w


def _homography_jacobian(h: FloatArray, x: FloatArray, y: FloatArray) -> FloatArray:
    w = h[2, 0] * x + h[2, 1] * y + h[2, 2]
    u, v = _homography(h, x, y)
    rows = [
        [(h[0, 0] - u * h[2, 0]) / w, (h[0, 1] - u * h[2, 1]) / w],
        [(h[1, 0] - v * h[2, 0]) / w, (h[1, 1] - v * h[2, 1]) / w],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)
