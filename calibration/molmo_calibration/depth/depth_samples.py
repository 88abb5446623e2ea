"""Depth readings around one pixel of the colour image, whatever camera they come from.

Sources: depth registered to the image, registered at another resolution, and unregistered depth
from a second camera. All give `DepthSamples`, so that the strategies do not depend on the source.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molmo_calibration.arrays import BoolArray, FloatArray
from molmo_calibration.cameras.camera import Camera
from molmo_calibration.cameras.pixels import same_shape, scale_uv
from molmo_calibration.depth.depth_image import DepthImage
from molmo_calibration.errors import InvalidArgumentError
from molmo_calibration.geometry.transforms import Transform

# Depths to try along the epipolar line before the step is refined to half a depth pixel.
_COARSE_STEPS = 64
_MAX_LINE_SAMPLES = 4096

# A reading stands for a square this many spacings to each side, so that those next to each other
# leave no gap even where the view stretches; what is farther by this share is hidden behind it.
_COVERS = 1.0
_BEHIND = 0.05


@dataclass(frozen=True, eq=False)
class DepthSamples:
    """Readings near a pixel.

    Args:
        offsets_px: (n, 2) from the pixel to each reading, in pixels of the colour image.
        z_m: (n,) metres along the colour camera's optical axis; no NaN.
        spacing_px: colour pixels from one reading to the next.
        looked: number of depth pixels looked at, with and without a reading.
    """

    offsets_px: FloatArray
    z_m: FloatArray
    spacing_px: float
    looked: int


def registered_samples(
    depth: DepthImage,
    uv: FloatArray,
    radius_px: float,
    image_size: tuple[int, int] | None = None,
    camera: Camera | None = None,
) -> DepthSamples:
    """Readings of a depth image that shows what the colour image shows.

    Args:
        depth: the depth image.
        uv: (2,) finite pixel of the colour image.
        radius_px: how far to look, in colour pixels.
        image_size: (width, height) of the colour image; depth of another size covers the same
            view at another resolution. That of `depth` if left out.
        camera: colour camera; needed for radial depth.

    Raises:
        InvalidArgumentError: radial depth without a camera, or depth of another shape than the
            image, which cannot be registered to it.
    """
    if depth.radial and camera is None:
        raise InvalidArgumentError("radial depth needs camera= to become depth along the axis")
    size = image_size or (camera.image_size if camera is not None else depth.size)
    if not same_shape(depth.size, size):
        raise InvalidArgumentError(
            f"depth of {depth.size[0]} x {depth.size[1]} cannot be registered to an image of "
            f"{size[0]} x {size[1]}, which has another shape; use the driver's aligned depth, or "
            "pass depth_camera= and camera_from_depth="
        )
    scale = np.array(depth.size, float) / np.array(size, float)
    middle = scale_uv(uv, scale)
    reach = radius_px * scale
    columns = _span(middle[0], reach[0], depth.size[0])
    rows = _span(middle[1], reach[1], depth.size[1])
    if columns.size == 0 or rows.size == 0:
        return DepthSamples(np.empty((0, 2)), np.empty(0), float(1 / scale.min()), 0)
    grid = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)
    where = scale_uv(grid, 1.0 / scale)
    z = depth.metres[grid[:, 1], grid[:, 0]].astype(np.float64)
    if depth.radial:
        assert camera is not None
        z = z * camera.ray(where)[:, 2]
    return _keep(where - uv, z, radius_px, float(1 / scale.min()), len(grid))


def unregistered_samples(
    depth: DepthImage,
    depth_camera: Camera,
    camera: Camera,
    camera_from_depth: Transform,
    uv: FloatArray,
    radius_px: float,
    range_m: tuple[float, float],
) -> DepthSamples:
    """Readings of a depth camera beside the colour camera.

    The ray of the colour pixel is a curve in the depth image, its epipolar line. Every depth pixel
    near that line is lifted, moved into the colour camera and kept if it lands near `uv`. This is
    the registration of the whole image (depth_image_proc's register.cpp), done only where needed,
    and without its holes and overwritten pixels. Readings that the colour camera cannot see,
    because a nearer one lands in the same place, are dropped.

    Args:
        depth: image of `depth_camera`, z or radial.
        depth_camera: where it was taken.
        camera: colour camera.
        camera_from_depth: depth optical frame to colour optical frame.
        uv: (2,) finite pixel of the colour image.
        radius_px: how far around it to look, in colour pixels.
        range_m: (nearest, farthest) depth in the colour camera.
    """
    if depth.size != depth_camera.image_size:
        raise InvalidArgumentError(
            f"depth image must have the depth camera's size {depth_camera.image_size}, "
            f"got {depth.size}"
        )
    ratio = abs(depth_camera.image_matrix[0, 0] / camera.image_matrix[0, 0])
    line = _epipolar_line(depth_camera, camera, camera_from_depth, uv, range_m)
    pixels = _around(line, radius_px * ratio + 1.0, depth.size)
    if len(pixels) == 0:
        return DepthSamples(np.empty((0, 2)), np.empty(0), 1 / ratio, 0)
    reading = depth.metres[pixels[:, 1], pixels[:, 0]].astype(np.float64)
    rays = depth_camera.ray(pixels.astype(np.float64))
    if not depth.radial:
        rays = rays / rays[:, 2:]
    points = camera_from_depth.apply(rays * reading[:, None])
    offsets = camera.project(points) - uv
    near = _keep(offsets, points[:, 2], radius_px + 2 / ratio, 1 / ratio, len(pixels))
    seen = ~_occluded(near)
    return _keep(near.offsets_px[seen], near.z_m[seen], radius_px, 1 / ratio, len(pixels))


def _occluded(samples: DepthSamples) -> BoolArray:
    """Readings behind another one that covers the same place of the colour image."""
    offsets, z = samples.offsets_px, samples.z_m
    apart = np.abs(offsets[:, None] - offsets[None]).max(axis=2)
    covered = apart <= _COVERS * samples.spacing_px
    behind = z[:, None] > z[None] * (1 + _BEHIND)
    return np.asarray((covered & behind).any(axis=1))


def _epipolar_line(
    depth_camera: Camera,
    camera: Camera,
    camera_from_depth: Transform,
    uv: FloatArray,
    range_m: tuple[float, float],
) -> FloatArray:
    """Where the colour pixel's ray passes through the depth image, about every half pixel."""
    ray = camera.ray(uv)
    if not np.isfinite(ray).all() or ray[2] <= 0:
        return np.empty((0, 2))
    depth_from_camera = camera_from_depth.inverse()

    def seen(inverse_z: FloatArray) -> FloatArray:
        points = (ray / ray[2])[None] / inverse_z[:, None]
        return depth_camera.project(depth_from_camera.apply(points))

    # Even steps in 1/z are nearly even steps along the line.
    ends = 1.0 / range_m[1], 1.0 / range_m[0]
    line = seen(np.linspace(*ends, _COARSE_STEPS))
    known = line[np.isfinite(line).all(axis=1)]
    if len(known) < 2:
        return known
    length = float(np.linalg.norm(np.diff(known, axis=0), axis=1).sum())
    count = int(np.clip(2 * length, _COARSE_STEPS, _MAX_LINE_SAMPLES))
    line = seen(np.linspace(*ends, count))
    return np.asarray(line[np.isfinite(line).all(axis=1)])


def _around(line: FloatArray, radius: float, size: tuple[int, int]) -> np.ndarray:
    """Whole pixels (n, 2) of an image within a square `radius` of a curve, each once."""
    near = line[((line > -radius - 1) & (line < np.array(size) + radius)).all(axis=1)]
    if len(near) == 0:
        return np.empty((0, 2), dtype=np.int64)
    reach = int(np.ceil(radius))
    steps = np.arange(-reach, reach + 1)
    square = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    centres = np.unique(np.round(near).astype(np.int64), axis=0)
    mask = np.zeros((size[1], size[0]), dtype=bool)
    pixels = (centres[:, None] + square).reshape(-1, 2)
    inside = ((pixels >= 0) & (pixels < np.array(size))).all(axis=1)
    mask[pixels[inside, 1], pixels[inside, 0]] = True
    return np.argwhere(mask)[:, ::-1]


def _span(middle: float, reach: float, count: int) -> np.ndarray:
    """Whole pixels from middle - reach to middle + reach, at least the nearest one."""
    low = min(int(np.ceil(middle - reach)), int(np.round(middle)))
    high = max(int(np.floor(middle + reach)), int(np.round(middle)))
    return np.arange(max(low, 0), min(high, count - 1) + 1)


def _keep(
    offsets: FloatArray, z: FloatArray, radius_px: float, spacing: float, looked: int
) -> DepthSamples:
    reach = max(radius_px, 0.75 * spacing)
    with np.errstate(invalid="ignore"):
        good = (np.abs(offsets).max(axis=1) <= reach) & (z > 0) & np.isfinite(z)
    return DepthSamples(offsets[good], z[good], spacing, looked)
