"""Depth strategies: which of the readings around a pixel make its depth.

Each strategy is one function in `STRATEGIES`, the one place that names them: options, command line
and robot parameters take their choices from it. The default, `cluster`, takes the smallest window
with enough readings, checks that they are one surface, and refuses to choose between two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from molmo_calibration.arrays import FloatArray, as_positive
from molmo_calibration.depth.depth_clusters import Surface, layers, one_surface, robust_sigma
from molmo_calibration.depth.depth_result import DepthCandidate, DepthResult, no_depth
from molmo_calibration.depth.depth_samples import DepthSamples
from molmo_calibration.errors import InvalidArgumentError

DEFAULT_STRATEGY = "cluster"


@dataclass(frozen=True)
class DepthOptions:
    """How to read the depth at a pixel.

    Args:
        strategy: a name in `STRATEGIES`.
        window_px: farthest reading to use, in colour pixels; windows are squares.
        min_samples: readings a surface needs.
        layer_ratio: two readings further apart than this share of their depth are not on one
            surface unless a slope explains it.
        layer_m: the same in metres, for near things; the larger one counts.
        guard_px: a nearer surface this close to the pixel makes the answer ambiguous.
        min_m: readings nearer than this do not count.
        max_m: readings farther than this do not count.
    """

    strategy: str = DEFAULT_STRATEGY
    window_px: float = 7.0
    min_samples: int = 5
    layer_ratio: float = 0.03
    layer_m: float = 0.015
    guard_px: float = 7.0
    min_m: float = 0.05
    max_m: float = 20.0

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise InvalidArgumentError(
                f"strategy must be one of {', '.join(STRATEGIES)}, got {self.strategy!r}"
            )
        for name in (
            "window_px",
            "guard_px",
            "layer_ratio",
            "layer_m",
            "min_m",
            "max_m",
            "min_samples",
        ):
            as_positive(getattr(self, name), name)
        if self.min_m >= self.max_m:
            raise InvalidArgumentError(
                f"min_m must be below max_m, got {self.min_m} and {self.max_m} metres"
            )


@dataclass(frozen=True, eq=False)
class Readings:
    """Readings in range around a pixel, at least one.

    Args:
        offsets: (n, 2) from the pixel to each reading, colour pixels.
        z: (n,) metres along the optical axis.
        reach: (n,) the larger of the two offsets' sizes: half width of the window that holds it.
        unit: colour pixels from one reading to the next, at least 1.
    """

    offsets: FloatArray
    z: FloatArray
    reach: FloatArray
    unit: float


def choose_depth(samples: DepthSamples, options: DepthOptions) -> DepthResult:
    """The depth that the strategy of the options finds in readings around a pixel."""
    inside = (samples.z_m >= options.min_m) & (samples.z_m <= options.max_m)
    if not inside.any():
        return no_depth("out_of_range" if len(samples.z_m) else "none")
    offsets = samples.offsets_px[inside]
    reach = np.abs(offsets).max(axis=1)
    unit = max(1.0, samples.spacing_px)
    readings = Readings(offsets, samples.z_m[inside], reach, unit)
    return STRATEGIES[options.strategy](readings, options)


def _pixel(readings: Readings, options: DepthOptions) -> DepthResult:
    """The nearest reading, if it is at the pixel."""
    z, reach, unit = readings.z, readings.reach, readings.unit
    nearest = int(np.argmin(reach))
    if reach[nearest] > 0.5 * unit + 1e-9:
        return no_depth("none")
    return DepthResult(float(z[nearest]), float("nan"), 1, "ok")


def _median(readings: Readings, options: DepthOptions) -> DepthResult:
    """The median of the window."""
    z = readings.z[readings.reach <= options.window_px * readings.unit]
    if len(z) == 0:
        return no_depth("none")
    spread = robust_sigma(z) if len(z) > 1 else float("nan")
    return DepthResult(float(np.median(z)), spread, len(z), "ok")


def _cluster(readings: Readings, options: DepthOptions) -> DepthResult:
    """The surface at the pixel, from the smallest window that decides it."""
    return _surface(readings, options, refit=False)


def _plane(readings: Readings, options: DepthOptions) -> DepthResult:
    """The same surface, fitted again to all its readings."""
    return _surface(readings, options, refit=True)


def _surface(readings: Readings, options: DepthOptions, refit: bool) -> DepthResult:
    """Grow the window until it holds enough readings, then check that they are one surface."""
    offsets, z, reach, unit = readings.offsets, readings.z, readings.reach, readings.unit
    found: Surface | None = None
    inner: np.ndarray | None = None
    for radius in _radii(options.window_px, unit):
        window = reach <= radius
        if window.sum() < options.min_samples:
            continue
        inner = window if inner is None else inner
        thickness = _thickness(z[window], options)
        found = one_surface(offsets[window], z[window], thickness, options.min_samples)
        if found is not None:
            break
    # A wider window may decide what the first one left open, but not by outvoting it.
    if (
        found is not None
        and inner is not None
        and not _covers_inner_window(found, offsets, z, inner, options)
    ):
        found = None
    candidates = _candidates(offsets, z, reach, options)
    if found is None:
        return no_depth("ambiguous" if reach.size >= options.min_samples else "none", candidates)
    guard = reach <= options.guard_px * unit
    grown = found.grown(offsets, z, _thickness(z, options))
    if _occluded_by(grown, offsets[guard], z[guard], options):
        return no_depth("ambiguous", candidates)
    # A wrong pixel on a slanted surface also reads another depth, so the slope belongs to every
    # answer; the grown surface knows it best.
    slope = (float(grown.slope[0]), float(grown.slope[1]))
    if refit:
        found = grown
    return DepthResult(found.z_m, found.spread_m, found.samples, "ok", slope)


def _radii(window_px: float, unit: float) -> list[float]:
    """Half widths of the windows to try, just over whole pixels: 3x3, 5x5, 7x7 and so on."""
    steps = [r for r in (1.0, 2.0, 3.0, 5.0) if r < window_px] + [window_px]
    return [(r + 0.01) * unit for r in steps]


def _thickness(z: FloatArray, options: DepthOptions) -> float:
    return max(options.layer_m, options.layer_ratio * float(np.median(z)))


def _covers_inner_window(
    found: Surface, offsets: FloatArray, z: FloatArray, inner: np.ndarray, options: DepthOptions
) -> bool:
    """Whether the surface is more than half of the first window that held enough readings."""
    on = np.abs(z[inner] - found.at(offsets[inner])) <= _thickness(z[inner], options) / 2
    return bool(on.mean() > 0.5)


def _occluded_by(
    found: Surface, offsets: FloatArray, z: FloatArray, options: DepthOptions
) -> bool:
    """Whether something nearer than the surface is so close that it may have been meant."""
    thickness = _thickness(z, options)
    nearer = z < found.at(offsets) - thickness
    best = layers(z[nearer], thickness, 1)
    # Half of what a surface needs is enough for doubt: small things lose their rim to flying
    # pixels, and a wrong number is worse than a question.
    return bool(best) and best[0].size >= max(2, options.min_samples // 2)


def _candidates(
    offsets: FloatArray, z: FloatArray, reach: FloatArray, options: DepthOptions
) -> tuple[DepthCandidate, ...]:
    found = [
        DepthCandidate(
            z_m=float(np.median(z[members])),
            spread_m=robust_sigma(z[members]),
            samples=int(members.size),
            distance_px=float(np.linalg.norm(offsets[members], axis=1).min()),
        )
        for members in layers(z, _thickness(z, options), options.min_samples)
    ]
    return tuple(sorted(found, key=lambda candidate: candidate.z_m))


Strategy = Callable[[Readings, DepthOptions], DepthResult]

STRATEGIES: dict[str, Strategy] = {
    # The nearest reading.
    "pixel": _pixel,
    # Median of the window.
    "median": _median,
    # The surface at the pixel.
    "cluster": _cluster,
    # The same, fitted to all its readings: less noise, but a curved surface is flattened.
    "plane": _plane,
}
