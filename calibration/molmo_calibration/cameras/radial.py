"""Radial distortion profiles: where they fold over, and a first guess of their inverse.

A profile maps a radius (or an angle) r to r * N(r²) / D(r²). It has an inverse only up to the first
radius at which it stops growing; beyond that, two rays land on one pixel.
"""

from __future__ import annotations

import numpy as np

from molmo_calibration.arrays import BoolArray, FloatArray

# Where the profile has flattened to a twentieth of its slope in the middle, one pixel covers
# twenty times the angle and the inverse multiplies every error by twenty: the fold in practice.
FLAT = 0.05

# Where it has grown twenty times as steep, the denominator is about to vanish: no glass does that,
# it is a fit beyond the data that it was made from, and its inverse would be noise.
STEEP = 20.0

# No image holds a ray with |x/z| beyond this (89 degrees); a fold behind it does not matter.
FARTHEST = 60.0

_SEARCH_STEPS = 2000
_SEARCH_ROUNDS = 4

_SAMPLES = 200
_GUESS_DEGREE = 7
_GUESS_RADIUS = 1.5


def first_fold(
    numerator: FloatArray, denominator: FloatArray, farthest: float = FARTHEST
) -> float:
    """The radius at which r N(r²)/D(r²) stops growing, or grows out of all bounds (a pole of D).

    Args:
        numerator: (4,) coefficients of N from the constant upwards, or more.
        denominator: (4,) coefficients of D.
        farthest: largest radius to search.

    Returns:
        Radius > 0, in the unit of r; inf if the profile grows up to `farthest`.
    """
    n, d = numerator[::-1], denominator[::-1]
    n_slope, d_slope = np.polyder(n), np.polyder(d)

    def grows(r: FloatArray) -> BoolArray:
        # d/dr [r N/D] = (N D + 2 s (N' D - N D')) / D²  with s = r²
        s = r * r
        above, below = np.polyval(n, s), np.polyval(d, s)
        change = np.polyval(n_slope, s) * below - above * np.polyval(d_slope, s)
        slope, unit = above * below + 2.0 * s * change, below * below
        return np.asarray((slope > FLAT * unit) & (slope < STEEP * unit) & (below > 0))

    # Sampling cannot be upset by tiny or huge coefficients, as a search for roots can. Even
    # steps of the viewing angle are dense where images are.
    r = np.tan(np.linspace(0.0, np.arctan(farthest), _SEARCH_STEPS))
    stuck = np.flatnonzero(~grows(r))
    if stuck.size == 0:
        return float("inf")
    low, high = float(r[max(stuck[0] - 1, 0)]), float(r[stuck[0]])
    for _ in range(_SEARCH_ROUNDS):
        between = np.linspace(low, high, _SEARCH_STEPS // 10)
        index = max(int(np.argmin(grows(between))), 1)
        low, high = float(between[index - 1]), float(between[index])
    return low


def inverse_scale(
    numerator: FloatArray, denominator: FloatArray, limit: float
) -> tuple[FloatArray, float]:
    """A polynomial g with r ≈ rd g(rd²), to start Newton's method from.

    Args:
        numerator: as in `first_fold`.
        denominator: as in `first_fold`.
        limit: the fold, or inf.

    Returns:
        Coefficients of g from the constant upwards, and the largest rd² it was fitted for.
    """
    r = np.linspace(0.0, min(limit, _GUESS_RADIUS), _SAMPLES)[1:]
    s = r * r
    scale = np.polyval(numerator[::-1], s) / np.polyval(denominator[::-1], s)
    squared = (r * scale) ** 2
    farthest = float(squared[-1])
    if not 0.0 < farthest < np.inf:
        # A lens that folds at its centre: no ray beside the axis, nothing to fit.
        return np.ones(1), 0.0
    # Fitted on 0..1, where powers are of one size, and stretched afterwards.
    powers = np.vander(squared / farthest, _GUESS_DEGREE + 1, increasing=True)
    coefficients = np.linalg.lstsq(powers, 1.0 / scale, rcond=None)[0]
    return coefficients / farthest ** np.arange(_GUESS_DEGREE + 1), farthest


def polynomial(rising: FloatArray, x: FloatArray) -> FloatArray:
    """Polynomial with coefficients from the constant upwards, at x."""
    total = np.full_like(x, rising[-1])
    for coefficient in rising[-2::-1]:
        total *= x
        total += coefficient
    return total
