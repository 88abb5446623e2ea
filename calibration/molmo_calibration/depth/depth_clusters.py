"""Readings that belong to one surface, and readings that do not.

On a flat surface, 1/z is linear in the pixel, whatever the slant; so a surface is a plane fitted
to 1/z, and a step between two surfaces is what such a plane cannot explain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molmo_calibration.arrays import FloatArray

# Median absolute deviation to standard deviation, for normal noise.
_MAD_TO_SIGMA = 1.4826

# Of the readings in a window, this share must lie on the surface that is reported; less is
# enough if the others are scattered (holes and flying pixels) and make no surface of their own.
_SHARE = 0.75
_SHARE_ALONE = 0.5

# The steepest surface believed, in layer thicknesses per pixel: steeper is the ramp of flying
# pixels that many sensors draw between foreground and background.
_STEEPEST = 1.0

# A slope is believed if its square, in variances, is beyond this (chi² of two degrees, 1 in 1000).
_SLOPE_STRENGTH = 13.8

# Below this many readings a slope is noise; the surface is taken as facing the camera.
_SLOPE_SAMPLES = 8


@dataclass(frozen=True, eq=False)
class Surface:
    """A plane in 1/z through readings around a pixel.

    Args:
        plane: (3,) 1/z at the pixel in 1/m, and its change per pixel to the right and down.
        spread_m: robust sigma of the readings about it.
        samples: number of readings on it.
    """

    plane: FloatArray
    spread_m: float
    samples: int

    @property
    def z_m(self) -> float:
        """Depth at the pixel in metres."""
        return float(1.0 / self.plane[0])

    @property
    def slope(self) -> FloatArray:
        """(2,) dz/du and dz/dv at the pixel, metres per pixel."""
        return np.asarray(-self.plane[1:] / self.plane[0] ** 2)

    def at(self, offsets: FloatArray) -> FloatArray:
        """Depth at offsets (n, 2); infinite where the plane runs out of sight."""
        inverse = self.plane[0] + offsets @ self.plane[1:]
        with np.errstate(divide="ignore"):
            return np.where(inverse > 0, 1.0 / inverse, np.inf)

    def grown(self, offsets: FloatArray, z: FloatArray, thickness: float) -> Surface:
        """The same surface fitted again to all readings that continue it."""
        surface = self
        for _ in range(3):
            on = np.abs(z - surface.at(offsets)) <= thickness / 2
            if on.sum() < max(self.samples, _SLOPE_SAMPLES):
                return surface
            surface = _fit(offsets[on], z[on], sloped=True)
        return surface


def robust_sigma(values: FloatArray) -> float:
    """Standard deviation from the median absolute deviation, metres in, metres out."""
    return float(_MAD_TO_SIGMA * np.median(np.abs(values - np.median(values))))


def layers(z: FloatArray, thickness: float, min_samples: int) -> list[np.ndarray]:
    """Depths at which many readings crowd together, fullest first.

    A layer is the slice of the given thickness that holds most readings; they are taken out, and
    the next is looked for. Unlike chaining by gaps, a trail of flying pixels does not join the
    foreground to the background.

    Args:
        z: (n,) metres.
        thickness: metres.
        min_samples: readings a layer needs.

    Returns:
        Index arrays into `z`.
    """
    remaining = np.argsort(z)
    found = []
    while remaining.size >= max(1, min_samples):
        values = z[remaining]
        ends = np.searchsorted(values, values + thickness, side="right")
        counts = ends - np.arange(values.size)
        start = int(np.argmax(counts))
        if counts[start] < min_samples:
            break
        members = slice(start, int(ends[start]))
        found.append(remaining[members])
        remaining = np.delete(remaining, members)
    return found


def one_surface(
    offsets: FloatArray, z: FloatArray, thickness: float, min_samples: int
) -> Surface | None:
    """The surface that most readings of a window lie on, or None if there is no such.

    Args:
        offsets: (n, 2) pixels from the pointed pixel.
        z: (n,) metres.
        thickness: how far from the surface a reading may be, from side to side, metres.
        min_samples: readings the surface needs.
    """
    needed = max(min_samples, int(np.ceil(_SHARE * len(z))))
    flat = layers(z, thickness, min_samples)
    # A surface that faces the camera explains more than any slope made of noise.
    if flat and flat[0].size >= needed - _slack(flat[0], z, thickness, min_samples):
        chosen = flat[0]
        return _fit(offsets[chosen], z[chosen], sloped=chosen.size >= _SLOPE_SAMPLES)
    if len(z) < _SLOPE_SAMPLES:
        return None
    surface = _fit(offsets, z, sloped=True)
    on = np.abs(z - surface.at(offsets)) <= thickness / 2
    if on.sum() < needed:
        return None
    surface = _fit(offsets[on], z[on], sloped=True)
    steep = float(np.abs(surface.slope).max())
    return surface if steep <= _STEEPEST * thickness else None


def _slack(chosen: np.ndarray, z: FloatArray, thickness: float, min_samples: int) -> int:
    """How many readings may be missing from the share, because the others are scattered."""
    others = np.delete(z, chosen)
    rivals = layers(others, thickness, max(3, min_samples // 2))
    return 0 if rivals else int((_SHARE - _SHARE_ALONE) * len(z))


def _fit(offsets: FloatArray, z: FloatArray, sloped: bool) -> Surface:
    """Least squares plane in 1/z, or the median where a slope cannot be told from noise."""
    plane = np.array([1.0 / np.median(z), 0.0, 0.0])
    if sloped and np.linalg.matrix_rank(offsets - offsets.mean(axis=0)) == 2:
        design = np.column_stack([np.ones(len(z)), offsets])
        solved = np.linalg.lstsq(design, 1.0 / z, rcond=None)[0]
        if _significant(design, 1.0 / z, solved) and _believable(solved, z):
            plane = solved
    surface = Surface(plane, 0.0, len(z))
    residuals = z - surface.at(offsets)
    spread = _MAD_TO_SIGMA * float(np.median(np.abs(residuals)))
    return Surface(plane, spread, len(z))


def _significant(design: FloatArray, values: FloatArray, solved: FloatArray) -> bool:
    """Whether the slope is more than noise, which would grow with distance from the window."""
    residuals = values - design @ solved
    variance = float(residuals @ residuals) / max(len(values) - 3, 1)
    information = np.linalg.inv(np.linalg.inv(design.T @ design)[1:, 1:])
    strength = float(solved[1:] @ information @ solved[1:])
    return strength > _SLOPE_STRENGTH * variance


def _believable(plane: FloatArray, z: FloatArray) -> bool:
    """Whether the depth at the pixel is among the readings; else it is a fit to outliers."""
    return bool(plane[0] > 0 and z.min() <= 1.0 / plane[0] <= z.max())
