"""The depth at a pointed pixel, or an honest word about why there is none.

A pointed pixel is rarely in the middle of its object, and depth images have holes, noise and
"flying" pixels between foreground and background. The default strategy, `cluster`, looks at the
smallest window with enough readings, asks whether they are one surface, and refuses to choose
between two. `benchmarks/calibration_depth.py` measures all strategies.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from molmo_calibration.arrays import ArrayLike, FloatArray, as_positive
from molmo_calibration.cameras.camera import Camera
from molmo_calibration.depth.depth_clusters import Surface, layers, one_surface, robust_sigma
from molmo_calibration.depth.depth_image import DepthImage
from molmo_calibration.depth.depth_samples import (
    DepthSamples,
    registered_samples,
    unregistered_samples,
)
from molmo_calibration.errors import InvalidArgumentError
from molmo_calibration.geometry.transforms import Transform

__all__ = ["DepthCandidate", "DepthOptions", "DepthResult", "choose_depth", "depth_at"]

STRATEGIES = ("pixel", "median", "cluster", "plane")

_NOT_KNOWN = float("nan")


@dataclass(frozen=True)
class DepthOptions:
    """How to read the depth at a pixel.

    Args:
        strategy: `pixel` (the nearest reading), `median` (of the window), `cluster` (the surface
            at the pixel, from the smallest window that settles it; the default) or `plane` (the
            same surface, fitted again to all its readings: less noise, but a bent one is
            flattened).
        window_px: farthest reading to use, in colour pixels; windows are squares.
        min_samples: readings a surface needs.
        layer_ratio: two readings further apart than this share of their depth are not on one
            surface unless a slope explains it.
        layer_m: the same in metres, for near things; the larger one counts.
        guard_px: a nearer surface this close to the pixel makes the answer ambiguous.
        min_m: readings nearer than this do not count.
        max_m: readings farther than this do not count.
    """

    strategy: str = "cluster"
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


@dataclass(frozen=True)
class DepthCandidate:
    """One of the surfaces found near a pixel.

    Args:
        z_m: median depth in metres.
        spread_m: robust sigma of its readings in metres.
        samples: number of readings.
        distance_px: from the pixel to the nearest of them.
    """

    z_m: float
    spread_m: float
    samples: int
    distance_px: float


@dataclass(frozen=True)
class DepthResult:
    """The depth at a pixel.

    Args:
        z_m: metres along the colour camera's optical axis; NaN unless the status is `ok`.
        spread_m: robust sigma of the readings about the surface, metres; NaN if there is one
            reading, or none.
        samples: number of readings used.
        status: `ok`; `none` (no readings, or too few); `ambiguous` (several surfaces, see
            `candidates`); `out_of_range` (readings, but none between min_m and max_m).
        slope: dz/du, dz/dv of the surface in metres per colour pixel, 0 where it cannot be told
            from noise; NaN from `pixel` and `median`, which know no surface.
        candidates: surfaces near the pixel, nearest to the camera first, if there were several.
    """

    z_m: float
    spread_m: float
    samples: int
    status: str
    slope: tuple[float, float] = (_NOT_KNOWN, _NOT_KNOWN)
    candidates: tuple[DepthCandidate, ...] = field(default=())


def depth_at(
    depth: DepthImage,
    uv: ArrayLike,
    camera: Camera | None = None,
    *,
    options: DepthOptions | None = None,
    image_size: tuple[int, int] | None = None,
    depth_camera: Camera | None = None,
    camera_from_depth: Transform | None = None,
) -> DepthResult:
    """The depth at a pixel of the colour picture.

    Args:
        depth: a depth image; registered to the picture unless `depth_camera` is given. Registered
            depth may have another resolution.
        uv: (2,) pixel.
        camera: colour camera; needed for radial or unregistered depth.
        options: how to read; `DepthOptions()` if left out.
        image_size: (width, height) of the colour picture; that of `camera`, or else of `depth`.
        depth_camera: camera of unregistered depth, with `camera_from_depth`.
        camera_from_depth: depth optical frame to colour optical frame.

    Raises:
        InvalidArgumentError: a pixel that is not finite, arguments that belong together and did
            not come together, or depth of another shape than the picture.
    """
    options = options or DepthOptions()
    radius = max(options.window_px, options.guard_px)
    if depth_camera is None and camera_from_depth is None:
        return choose_depth(registered_samples(depth, uv, radius, image_size, camera), options)
    if depth_camera is None or camera_from_depth is None or camera is None:
        raise InvalidArgumentError(
            "unregistered depth needs camera=, depth_camera= and camera_from_depth= together"
        )
    limits = (options.min_m, options.max_m)
    samples = unregistered_samples(
        depth, depth_camera, camera, camera_from_depth, uv, radius, limits
    )
    return choose_depth(samples, options)


def choose_depth(samples: DepthSamples, options: DepthOptions) -> DepthResult:
    """Apply a strategy to readings around a pixel."""
    inside = (samples.z_m >= options.min_m) & (samples.z_m <= options.max_m)
    offsets, z = samples.offsets_px[inside], samples.z_m[inside]
    reach = np.abs(offsets).max(axis=1) if len(offsets) else np.empty(0)
    unit = max(1.0, samples.spacing_px)
    if len(z) == 0:
        status = "out_of_range" if len(samples.z_m) else "none"
        return _nothing(status)
    if options.strategy == "pixel":
        return _pixel(z, reach, unit)
    if options.strategy == "median":
        return _median(z[reach <= options.window_px * unit])
    return _surface(offsets, z, reach, unit, options)


def _nothing(status: str, candidates: tuple[DepthCandidate, ...] = ()) -> DepthResult:
    return DepthResult(_NOT_KNOWN, _NOT_KNOWN, 0, status, candidates=candidates)


def _pixel(z: FloatArray, reach: FloatArray, unit: float) -> DepthResult:
    nearest = int(np.argmin(reach))
    if reach[nearest] > 0.5 * unit + 1e-9:
        return _nothing("none")
    return DepthResult(float(z[nearest]), _NOT_KNOWN, 1, "ok")


def _median(z: FloatArray) -> DepthResult:
    if len(z) == 0:
        return _nothing("none")
    spread = robust_sigma(z) if len(z) > 1 else _NOT_KNOWN
    return DepthResult(float(np.median(z)), spread, len(z), "ok")


def _surface(
    offsets: FloatArray, z: FloatArray, reach: FloatArray, unit: float, options: DepthOptions
) -> DepthResult:
    """Grow the window until it holds enough readings, and see whether they are one surface."""
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
    # A wider window may settle what the first one left open, but not by outvoting it.
    if (
        found is not None
        and inner is not None
        and not _covers_inner_window(found, offsets, z, inner, options)
    ):
        found = None
    candidates = _candidates(offsets, z, reach, options)
    if found is None:
        return _nothing("ambiguous" if reach.size >= options.min_samples else "none", candidates)
    guard = reach <= options.guard_px * unit
    grown = found.grown(offsets, z, _thickness(z, options))
    if _occluded_by(grown, offsets[guard], z[guard], options):
        return _nothing("ambiguous", candidates)
    # A wrong pixel on a slanted surface also reads another depth, so the slope belongs to every
    # answer; the grown surface knows it best.
    slope = (float(grown.slope[0]), float(grown.slope[1]))
    if options.strategy == "plane":
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
