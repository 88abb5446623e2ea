"""A plane from points, most of which lie on it: RANSAC, then least squares on its inliers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molmo_calibration.arrays import ArrayLike, BoolArray, FloatArray, as_points, as_positive
from molmo_calibration.cameras.camera import Camera
from molmo_calibration.depth.depth_image import DepthImage
from molmo_calibration.errors import DegenerateError, InvalidArgumentError, TooFewViewsError
from molmo_calibration.lifting.lifting import deproject
from molmo_calibration.lifting.plane import Plane

# 200 triples find a plane that holds 30 % of the points with probability 99.5 %.
_TRIALS = 200

# More points than this add time, not accuracy, to the search (not to the final fit).
_SEARCH_POINTS = 4000


@dataclass(frozen=True, eq=False)
class PlaneFit:
    """A fitted plane.

    Args:
        plane: with its covariance from the residuals; the normal points towards the origin, which
            is the camera for points in an optical frame.
        inliers: bool, one per point.
        rms_m: of the inliers' distances, metres.
    """

    plane: Plane
    inliers: BoolArray
    rms_m: float


def fit_plane(
    points: ArrayLike,
    threshold_m: float = 0.01,
    min_share: float = 0.3,
    seed: int = 0,
    frame_id: str = "",
) -> PlaneFit:
    """Fit the plane that holds most points.

    Args:
        points: (n, 3) metres; NaN rows count as outliers.
        threshold_m: farthest distance of an inlier.
        min_share: share of the finite points the plane must hold.
        seed: of the random triples, so that the result is reproducible.
        frame_id: frame of the points.

    Raises:
        TooFewViewsError: fewer than 3 finite points.
        DegenerateError: the points lie on a line, or no plane holds `min_share` of them.
    """
    array = as_points(points, "points", 3)
    if array.ndim != 2:
        raise InvalidArgumentError(f"points must have shape (n, 3), got {array.shape}")
    threshold = as_positive(threshold_m, "threshold_m", "metres")
    known = np.isfinite(array).all(axis=1)
    cloud = array[known]
    if len(cloud) < 3:
        raise TooFewViewsError(
            f"a plane needs at least 3 points that are not NaN, got {len(cloud)}"
        )
    best = _search(cloud, threshold, np.random.default_rng(seed))
    share = float(best.mean())
    if share < min_share or best.sum() < 3:
        raise DegenerateError(
            f"no plane holds {min_share:.0%} of the points within {threshold} m, the best holds "
            f"{share:.0%}; look at a smaller region or raise threshold_m"
        )
    for _ in range(3):
        normal, offset = _least_squares(cloud[best])
        best = np.abs(cloud @ normal - offset) <= threshold
    inliers = np.zeros(len(array), dtype=bool)
    inliers[known] = best
    distances = cloud[best] @ normal - offset
    plane = Plane(normal, offset, frame_id, _covariance(cloud[best], normal, offset, distances))
    return PlaneFit(plane, inliers, float(np.sqrt(np.mean(distances**2))))


def plane_from_depth(
    camera: Camera,
    depth: DepthImage,
    region: tuple[int, int, int, int] | None = None,
    threshold_m: float = 0.01,
    step_px: int = 4,
) -> PlaneFit:
    """The dominant plane of a registered depth image.

    Args:
        camera: camera of the depth image.
        depth: depth image of `camera`'s size.
        region: (x, y, width, height) in pixels to look at; all of it if left out.
        threshold_m: farthest distance of an inlier, metres.
        step_px: sample every `step_px`-th pixel of every `step_px`-th row.

    Returns:
        Plane in the optical frame; `inliers` are in row order of the pixels looked at.
    """
    if depth.size != camera.image_size:
        raise InvalidArgumentError(
            f"depth must have the camera's size {camera.image_size}, got {depth.size}"
        )
    x, y, width, height = region or (0, 0, *depth.size)
    columns = np.arange(max(x, 0), min(x + width, depth.size[0]), step_px)
    rows = np.arange(max(y, 0), min(y + height, depth.size[1]), step_px)
    grid = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)
    if len(grid) == 0:
        raise InvalidArgumentError(f"region {region} does not meet the image of {depth.size}")
    readings = depth.metres[grid[:, 1], grid[:, 0]]
    points = deproject(camera, grid.astype(float), readings, depth.radial)
    return fit_plane(points, threshold_m, frame_id=camera.frame_id)


def _search(cloud: FloatArray, threshold: float, rng: np.random.Generator) -> BoolArray:
    few = cloud
    if len(cloud) > _SEARCH_POINTS:
        few = cloud[rng.choice(len(cloud), _SEARCH_POINTS, replace=False)]
    triples = few[rng.integers(0, len(few), size=(_TRIALS, 3))]
    normals = np.cross(triples[:, 1] - triples[:, 0], triples[:, 2] - triples[:, 0])
    lengths = np.linalg.norm(normals, axis=1)
    # Triples of equal or collinear points have no usable normal.
    extent = float(np.linalg.norm(np.ptp(few, axis=0)))
    good = lengths > 1e-6 * max(extent, 1e-12) ** 2
    if not good.any():
        raise DegenerateError("the points lie on a line or in one spot; a plane needs an area")
    normals = normals[good] / lengths[good, None]
    offsets = (normals * triples[good, 0]).sum(axis=1)
    counts = [
        int((np.abs(few @ n - d) <= threshold).sum())
        for n, d in zip(normals, offsets, strict=True)
    ]
    winner = int(np.argmax(counts))
    return np.asarray(np.abs(cloud @ normals[winner] - offsets[winner]) <= threshold)


def _least_squares(points: FloatArray) -> tuple[FloatArray, float]:
    centre = points.mean(axis=0)
    _, spreads, axes = np.linalg.svd(points - centre, full_matrices=False)
    if spreads[1] < 1e-9 * max(spreads[0], 1e-300):
        raise DegenerateError("the points lie on a line; a plane needs an area")
    normal = axes[2]
    if normal @ centre > 0:
        normal = -normal
    return normal, float(normal @ centre)


def _covariance(
    points: FloatArray, normal: FloatArray, offset: float, distances: FloatArray
) -> FloatArray | None:
    """Covariance of (n, d) from residuals: two tilts and a shift, each with its leverage."""
    if len(points) < 4:
        return None
    tangents = np.linalg.svd(normal[None])[2][1:]
    design = np.column_stack([points @ tangents.T, -np.ones(len(points))])
    variance = float(distances @ distances) / (len(points) - 3)
    inner = variance * np.linalg.inv(design.T @ design)
    jacobian = np.zeros((4, 3))
    jacobian[:3, :2] = tangents.T
    jacobian[3, 2] = 1.0
    return np.asarray(jacobian @ inner @ jacobian.T)
