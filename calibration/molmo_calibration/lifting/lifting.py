"""Pixel and depth to a point in metres, with its covariance."""

from __future__ import annotations

import numpy as np

from molmo_calibration.arrays import ArrayLike, FloatArray, as_covariance, as_finite, as_points
from molmo_calibration.cameras.camera import Camera
from molmo_calibration.depth.depth_result import DepthResult
from molmo_calibration.depth.noise import DepthNoise
from molmo_calibration.errors import InvalidArgumentError
from molmo_calibration.lifting.lift_covariance import lift_covariance
from molmo_calibration.lifting.position import Position

# Lower bound of the depth's sigma: a depth image in whole millimetres is not more accurate than this.
_ROUNDING_SIGMA_M = 0.3e-3


def deproject(
    camera: Camera, uv: ArrayLike, depth_m: ArrayLike, radial: bool = False
) -> FloatArray:
    """Pixels with depths to points; the inverse of `Camera.project`.

    Args:
        camera: the camera.
        uv: (..., 2) pixels.
        depth_m: (...) metres along the optical axis, or along the ray if `radial`.
        radial: see `depth_m`.

    Returns:
        (..., 3) metres in the optical frame; NaN where the depth is not finite and positive, or
        the pixel has no ray (or none forward, for depth along the axis).
    """
    depth = np.asarray(depth_m, dtype=np.float64)
    pixels = as_points(uv, "uv", 2)
    if depth.shape != pixels.shape[:-1]:
        raise InvalidArgumentError(
            f"depth_m must have one depth per pixel, {pixels.shape[:-1]}, got {depth.shape}"
        )
    rays = camera.ray(pixels)
    with np.errstate(invalid="ignore", divide="ignore"):
        good = (depth > 0) & np.isfinite(depth)
        if not radial:
            good &= rays[..., 2] > 1e-9
            rays = rays / rays[..., 2:]
        return np.where(good[..., None], rays * depth[..., None], np.nan)


def lift(
    camera: Camera,
    uv: ArrayLike,
    depth: DepthResult | float,
    pixel_covariance: ArrayLike | None = None,
    noise: DepthNoise | None = None,
    radial: bool = False,
) -> Position:
    """A pointed pixel with its depth to a position.

    Args:
        camera: colour camera; its `intrinsics_covariance` counts if it is known.
        uv: (2,) pixel.
        depth: what `depth_at` found, or metres.
        pixel_covariance: (2, 2) pixels² of the pointing; the covariance is NaN without it.
        noise: depth noise of the sensor. The larger of it and the spread of the readings counts;
            without either, the covariance is NaN.
        radial: whether a plain number is a range along the ray.

    Returns:
        Position in the camera's frame. Its status is that of the depth, or `no_ray`.

    Raises:
        InvalidArgumentError: not a pixel or a covariance, or `radial` with a `DepthResult`, which
            is along the axis whatever the image was.
    """
    pixel = as_finite(uv, "uv", (2,))
    if radial and isinstance(depth, DepthResult):
        raise InvalidArgumentError(
            "a DepthResult is depth along the axis already, also from a radial image; leave "
            "radial= out"
        )
    result = depth if isinstance(depth, DepthResult) else _plain(float(depth))
    if result.status != "ok":
        return Position.unknown(result.status, camera.frame_id)
    point = deproject(camera, pixel, result.z_m, radial)
    if not np.isfinite(point).all():
        return Position.unknown("no_ray", camera.frame_id)
    covariance = np.full((3, 3), np.nan)
    sigma = _sigma(result, noise)
    if pixel_covariance is not None and np.isfinite(sigma):
        gradient = point / np.linalg.norm(point) if radial else np.array([0.0, 0.0, 1.0])
        slope = np.array(result.slope)
        covariance = lift_covariance(
            camera,
            point,
            gradient,
            as_covariance(pixel_covariance, "pixel_covariance", 2),
            np.asarray(sigma**2),
            slope if np.isfinite(slope).all() else None,
        )
    return Position(point, covariance, "ok", camera.frame_id)


def _plain(depth_m: float) -> DepthResult:
    known = np.isfinite(depth_m) and depth_m > 0
    return DepthResult(depth_m, float("nan"), int(known), "ok" if known else "none")


def _sigma(result: DepthResult, noise: DepthNoise | None) -> float:
    """The larger of model and readings: readings of one frame share errors they do not show."""
    model = float(noise.sigma(np.asarray(result.z_m))) if noise is not None else float("nan")
    seen = max(result.spread_m, _ROUNDING_SIGMA_M) if np.isfinite(result.spread_m) else model
    return float(np.nanmax([model, seen])) if np.isfinite([model, seen]).any() else float("nan")
