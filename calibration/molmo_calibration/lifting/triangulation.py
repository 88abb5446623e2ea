"""A point from two or more posed views of it, with outliers dropped and its covariance.

Start: the least squares meeting point of the rays. Then Gauss-Newton on the reprojection errors,
weighted by pixel and pose uncertainty, with Huber weights; then views that disagree are dropped.
Numpy alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from molmo_calibration.arrays import BoolArray, FloatArray, as_covariance, as_finite, symmetric
from molmo_calibration.cameras.camera import Camera
from molmo_calibration.errors import DegenerateError, InvalidArgumentError, TooFewViewsError
from molmo_calibration.geometry.transforms import Transform
from molmo_calibration.lifting.position import Position, chi_squared_quantile

__all__ = ["Triangulation", "View", "triangulate"]

_STEPS = 20
_SETTLED = 1e-9

# Pairs of views tried as a start.
_PAIRS = 20

# Residuals beyond this many sigmas count linearly (Huber's 95 % efficiency constant).
_HUBER = 1.345

# A view is dropped if its residual would occur once in ten thousand.
_OUTLIER = chi_squared_quantile(0.9999, 2)

# Two views have one residual that can tell whether they show one point: how far their rays pass
# each other, chi² of one degree; three views have three. Beyond the 95 % and 99 % quantiles they
# contradict each other: two views that do are wrong more often than unlucky.
_TWO_VIEWS = 3.84
_THREE_VIEWS = chi_squared_quantile(0.99, 3)

# Two points are different places if their distance would occur once in a hundred.
_APART = chi_squared_quantile(0.99, 3)

# With more views than this and only two that agree, some pair always agrees by chance.
_MOST_FOR_PAIRS = 6


@dataclass(frozen=True, eq=False)
class View:
    """One sighting of a point.

    Args:
        camera: the camera.
        world_from_camera: its pose when the picture was taken; its covariance counts.
        uv: (2,) pixel of the point.
        pixel_covariance: (2, 2) pixels²; 1 px² in each direction if left out.
    """

    camera: Camera
    world_from_camera: Transform
    uv: FloatArray
    pixel_covariance: FloatArray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "uv", as_finite(self.uv, "uv", (2,)))
        if self.pixel_covariance is not None:
            checked = as_covariance(self.pixel_covariance, "pixel_covariance", 2)
            object.__setattr__(self, "pixel_covariance", checked)


@dataclass(frozen=True, eq=False)
class Triangulation:
    """A triangulated point.

    Args:
        position: in the world frame, with covariance; `ambiguous` if the views contradict each
            other and nothing tells which of them are right.
        residuals_px: (n, 2) measured minus reprojected pixel of every view; where the position is
            ambiguous, from the point that fits best.
        used: (n,) bool, False for views dropped as outliers.
        parallax_rad: largest angle between two rays that were used.
        reason: why the position is ambiguous; empty if it is not.
    """

    position: Position
    residuals_px: FloatArray
    used: BoolArray
    parallax_rad: float
    reason: str = ""


def triangulate(views: Sequence[View], min_parallax_rad: float = 0.01) -> Triangulation:
    """Find the point that several views see.

    Two views that contradict each other, given their pixel and pose covariances, are `ambiguous`,
    and so are three or more of which no more than two agree in more than one way. An error along
    the line on which the other view's ray lies moves the point and leaves no residual: two views
    cannot tell it, three can.

    Args:
        views: two or more; all poses in the same world frame.
        min_parallax_rad: smallest acceptable angle between two rays; below about half a degree
            the distance is a guess.

    Raises:
        TooFewViewsError: fewer than two views.
        DegenerateError: parallax below `min_parallax_rad`, or the rays meet behind a camera or
            nowhere.
        InvalidArgumentError: poses in different world frames, or a pixel without a ray.
    """
    if len(views) < 2:
        raise TooFewViewsError(f"triangulation needs at least 2 views, got {len(views)}")
    worlds = {view.world_from_camera.to_frame for view in views}
    if len(worlds) > 1:
        raise InvalidArgumentError(
            f"all poses must be in one world frame, got {', '.join(sorted(worlds))}"
        )
    try:
        return _triangulated([_Sight(view) for view in views], worlds.pop(), min_parallax_rad)
    except np.linalg.LinAlgError as error:
        raise DegenerateError(
            "the rays of these views meet nowhere near the cameras; check the poses and that all "
            "views show the same point"
        ) from error


def _triangulated(sights: Sequence[_Sight], world: str, least: float) -> Triangulation:
    rays = _world_rays(sights)
    used = np.ones(len(sights), dtype=bool)
    _check_parallax(rays, used, least)
    point = _robust_start(sights, rays)
    for _ in range(len(sights)):
        point = _refine(sights, point, used)
        scores = np.array([sight.score(point) for sight in sights])
        worst = int(np.argmax(np.where(used, scores, -np.inf)))
        if used.sum() < 3 or (scores[worst] <= _OUTLIER and not _torn(scores, used)):
            break
        used[worst] = False
    reason = ""
    if used.sum() == 2 and len(sights) > 2:
        used, point, reason = _best_pair(sights, rays, least)
    elif 2 * used.sum() < len(sights):
        reason = f"only {int(used.sum())} of {len(sights)} views agree"
    parallax = _check_parallax(rays, used, least)
    residuals = np.array([sight.residual(point) for sight in sights])
    if not reason and not np.isfinite(residuals[used]).all():
        raise DegenerateError(
            "the rays meet behind a camera; check the poses (a transform may be inverted) and "
            "that all views show the same point"
        )
    if len(sights) == 2 and not _agree(sights, point):
        reason = (
            "the two views contradict each other: their rays pass farther from each other than "
            "their pixel and pose covariances allow; a third view would tell which is wrong"
        )
    if reason:
        return Triangulation(
            Position.unknown("ambiguous", world), residuals, used, parallax, reason
        )
    position = Position(point, _covariance(sights, point, used), "ok", world)
    return Triangulation(position, residuals, used, parallax)


def _agree(pair: Sequence[_Sight], point: FloatArray) -> bool:
    """Whether two views can show one point, given the point that fits them best."""
    # Where the pixel's error is not stated, 1 px² is only a guess, and doubts need more than that.
    guessed = any(sight.view.pixel_covariance is None for sight in pair)
    return sum(sight.score(point) for sight in pair) <= (_OUTLIER if guessed else _TWO_VIEWS)


def _torn(scores: FloatArray, used: BoolArray) -> bool:
    """Whether three views contradict each other together, though none of them stands out."""
    return int(used.sum()) == 3 and float(scores[used].sum()) > _THREE_VIEWS


def _best_pair(
    sights: Sequence[_Sight], rays: FloatArray, least: float
) -> tuple[BoolArray, FloatArray, str]:
    """Of three and more views that contradict each other, the two that agree, if only two do.

    Returns:
        Which views are used, the point, and why it is ambiguous or "".
    """
    both = np.ones(2, dtype=bool)
    origins = np.array([sight.origin for sight in sights])
    fits = []
    for i, j in combinations(range(len(sights)), 2):
        pair = [sights[i], sights[j]]
        try:
            _check_parallax(rays[[i, j]], both, least)
            point = _refine(pair, _meeting_point(origins[[i, j]], rays[[i, j]]), both)
            total = sum(sight.score(point) for sight in pair)
            covariance = _covariance(pair, point, both)
        except (DegenerateError, np.linalg.LinAlgError):
            continue
        fits.append((total, (i, j), point, covariance))
    fits.sort(key=lambda fit: fit[0])
    used = np.zeros(len(sights), dtype=bool)
    if not fits or not np.isfinite(fits[0][0]):
        raise DegenerateError(
            "no two of these views show one point in front of their cameras; check the poses and "
            "that all views show the same point"
        )
    total, chosen, point, covariance = fits[0]
    used[list(chosen)] = True
    if total > _TWO_VIEWS:
        return used, point, f"no two of the {len(sights)} views agree"
    others = [fit for fit in fits[1:] if fit[0] <= _TWO_VIEWS]
    apart = [fit for fit in others if _squared(fit[2] - point, fit[3] + covariance) > _APART]
    if apart or len(sights) > _MOST_FOR_PAIRS:
        return (
            used,
            point,
            f"no three of the {len(sights)} views agree, and more than one pair does, on "
            "different points",
        )
    return used, point, ""


def _squared(error: FloatArray, covariance: FloatArray) -> float:
    return float(error @ np.linalg.solve(covariance, error))


class _Sight:
    """A view with its pose taken apart once, because it is asked many times."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.rotation = view.world_from_camera.rotation
        self.origin = view.world_from_camera.translation
        self.pixel = np.eye(2) if view.pixel_covariance is None else view.pixel_covariance
        self.rough = np.linalg.inv(self.pixel)
        self.lens_root: FloatArray | None = None
        if view.camera.intrinsics_covariance is not None:
            values, vectors = np.linalg.eigh(view.camera.intrinsics_covariance)
            self.lens_root = vectors * np.sqrt(np.maximum(values, 0.0))

    def inner(self, point: FloatArray) -> FloatArray:
        """The point in the camera's frame."""
        return np.asarray((point - self.origin) @ self.rotation)

    def residual(self, point: FloatArray) -> FloatArray:
        """Measured minus reprojected pixel; NaN where the camera cannot see the point."""
        return np.asarray(self.view.uv - self.view.camera.project(self.inner(point)))

    def jacobian(self, point: FloatArray) -> FloatArray:
        """d(uv) / d(world point), (2, 3)."""
        return np.asarray(self.view.camera.jacobian(self.inner(point)) @ self.rotation.T)

    def weight(self, point: FloatArray) -> FloatArray:
        """Inverse covariance (2, 2) of the residual: pixel, pose and intrinsics."""
        pose, camera = self.view.world_from_camera, self.view.camera
        if pose.covariance is None and camera.intrinsics_covariance is None:
            return self.rough
        total = np.array(self.pixel)
        inner = self.inner(point)
        if pose.covariance is not None:
            swing = self.jacobian(point) @ pose.point_jacobian(inner)
            total += swing @ pose.covariance @ swing.T
        lens = self.lens(point)
        if lens is not None:
            total += lens @ lens.T
        return np.linalg.inv(total)

    def lens(self, point: FloatArray) -> FloatArray | None:
        """(2, 4 + n) pixels: what one sigma of each independent error of the lens does.

        None if the uncertainty of the intrinsics is not known.
        """
        if self.lens_root is None:
            return None
        return self.view.camera.intrinsics_jacobian(self.inner(point)) @ self.lens_root

    def score(self, point: FloatArray, weight: FloatArray | None = None) -> float:
        """Squared residual in sigmas, chi² of two degrees; infinite where it cannot be seen."""
        residual = self.residual(point)
        if not np.isfinite(residual).all():
            return float("inf")
        return float(residual @ (self.weight(point) if weight is None else weight) @ residual)


def _world_rays(sights: Sequence[_Sight]) -> FloatArray:
    rays = np.array([s.rotation @ s.view.camera.ray(s.view.uv) for s in sights])
    lost = np.flatnonzero(~np.isfinite(rays).all(axis=1))
    if lost.size:
        raise InvalidArgumentError(
            f"view {int(lost[0])} has a pixel {sights[int(lost[0])].view.uv.tolist()} without a "
            "ray: it lies beyond the field of its lens"
        )
    return rays


def _check_parallax(rays: FloatArray, used: BoolArray, least: float) -> float:
    kept = rays[used]
    sines = np.linalg.norm(np.cross(kept[:, None], kept[None]), axis=-1)
    angle = float(np.arctan2(sines, kept @ kept.T).max())
    if angle < least:
        raise DegenerateError(
            f"the views see the point under a parallax of {np.rad2deg(angle):.3f} degrees, less "
            f"than {np.rad2deg(least):.3f}; move the camera farther sideways"
        )
    return angle


def _meeting_point(origins: FloatArray, rays: FloatArray) -> FloatArray:
    """The point with the least squared distances to all rays."""
    across = np.eye(3) - rays[:, :, None] * rays[:, None, :]
    return np.linalg.lstsq(
        across.sum(axis=0), (across @ origins[:, :, None]).sum(axis=0)[:, 0], rcond=None
    )[0]


def _robust_start(sights: Sequence[_Sight], rays: FloatArray) -> FloatArray:
    """Of the meeting points of all rays and of pairs, the one most views agree with."""
    origins = np.array([sight.origin for sight in sights])
    starts = [_meeting_point(origins, rays)]
    if len(sights) == 2:
        return starts[0]
    pairs = [(i, j) for i in range(len(sights)) for j in range(i)]
    # Wide pairs are the ones to trust; many views have more pairs than are worth trying.
    pairs.sort(key=lambda pair: float(abs(rays[pair[0]] @ rays[pair[1]])))
    starts += [_meeting_point(origins[[i, j]], rays[[i, j]]) for i, j in pairs[:_PAIRS]]
    totals = [
        sum(min(sight.score(start, sight.rough), _OUTLIER) for sight in sights) for start in starts
    ]
    return starts[int(np.argmin(totals))]


def _covariance(sights: Sequence[_Sight], point: FloatArray, used: BoolArray) -> FloatArray:
    """Of the point, where views of one camera share the errors of its intrinsics.

    The point is a weighted mean of what the views say, x = P sum(J' W r), P = (sum J' W J)^-1. Errors
    of pixels and poses differ from view to view, and P counts them right; those of a lens are the
    same in all its views, so their pulls on the point are added up before they are squared.
    """
    information, spread = np.zeros((3, 3)), np.zeros((3, 3))
    pulls: dict[tuple[str, bytes, bytes], FloatArray] = {}
    for sight, keep in zip(sights, used, strict=True):
        if not keep:
            continue
        jacobian, weight = sight.jacobian(point), sight.weight(point)
        gain = jacobian.T @ weight
        information += gain @ jacobian
        own, lens = np.linalg.inv(weight), sight.lens(point)
        if lens is not None:
            own = own - lens @ lens.T
            camera = sight.view.camera
            key = camera.frame_id, camera.matrix.tobytes(), camera.distortion.tobytes()
            pulls[key] = pulls.get(key, 0.0) + gain @ lens
        spread += gain @ own @ gain.T
    for pull in pulls.values():
        spread += pull @ pull.T
    inverse = np.linalg.inv(information)
    return symmetric(inverse @ spread @ inverse)


def _refine(sights: Sequence[_Sight], point: FloatArray, used: BoolArray) -> FloatArray:
    """Gauss-Newton with Huber weights; views that lose sight of the point sit a step out."""
    kept = [sight for sight, keep in zip(sights, used, strict=True) if keep]
    weights: list[FloatArray] = []
    for step_number in range(_STEPS):
        if step_number in (0, 2):
            # Pose and lens errors change the weights a little with the point, not with each step.
            weights = [sight.weight(point) for sight in kept]
        left, right = np.zeros((3, 3)), np.zeros(3)
        for sight, weight in zip(kept, weights, strict=True):
            residual = sight.residual(point)
            if not np.isfinite(residual).all():
                continue
            jacobian = sight.jacobian(point)
            size = float(np.sqrt(residual @ weight @ residual))
            eased = weight if size <= _HUBER or len(kept) < 3 else weight * (_HUBER / size)
            left += jacobian.T @ eased @ jacobian
            right += jacobian.T @ eased @ residual
        if np.linalg.matrix_rank(left) < 3:
            return point
        step = np.linalg.solve(left, right)
        point = point + step
        if np.linalg.norm(step) < _SETTLED * (1.0 + np.linalg.norm(point)):
            break
    return point
