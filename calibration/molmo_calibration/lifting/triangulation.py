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

from molmo_calibration.arrays import BoolArray, FloatArray
from molmo_calibration.errors import DegenerateError, InvalidArgumentError, TooFewViewsError
from molmo_calibration.lifting.posed_view import PosedView, View
from molmo_calibration.lifting.position import Position, chi_squared_quantile
from molmo_calibration.lifting.ray_meeting import (
    OUTLIER,
    check_parallax,
    meeting_point,
    point_covariance,
    refine_point,
    robust_start,
    world_rays,
)

# Two views have one residual that can tell whether they show one point: how far their rays pass
# each other, chi² of one degree; three views have three. Beyond the 95 % and 99 % quantiles they
# contradict each other: this is an error more often than chance.
_TWO_VIEWS = 3.84
_THREE_VIEWS = chi_squared_quantile(0.99, 3)

# Two points are different places if their distance would occur once in a hundred.
_APART = chi_squared_quantile(0.99, 3)

# With more views than this and only two that agree, some pair always agrees by chance.
_MOST_FOR_PAIRS = 6


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
    and so are three or more views if only pairs agree, and more than one pair does. A pixel error
    along the epipolar line moves the point without a residual: two views cannot detect it, three
    can.

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
        return _triangulated([PosedView(view) for view in views], worlds.pop(), min_parallax_rad)
    except np.linalg.LinAlgError as error:
        raise DegenerateError(
            "the rays of these views meet nowhere near the cameras; check the poses and that all "
            "views show the same point"
        ) from error


def _triangulated(sights: Sequence[PosedView], world: str, least: float) -> Triangulation:
    rays = world_rays(sights)
    used = np.ones(len(sights), dtype=bool)
    check_parallax(rays, used, least)
    point = robust_start(sights, rays)
    for _ in range(len(sights)):
        point = refine_point(sights, point, used)
        scores = np.array([sight.score(point) for sight in sights])
        worst = int(np.argmax(np.where(used, scores, -np.inf)))
        if used.sum() < 3 or (scores[worst] <= OUTLIER and not _torn(scores, used)):
            break
        used[worst] = False
    reason = ""
    if used.sum() == 2 and len(sights) > 2:
        used, point, reason = _best_pair(sights, rays, least)
    elif 2 * used.sum() < len(sights):
        reason = f"only {int(used.sum())} of {len(sights)} views agree"
    parallax = check_parallax(rays, used, least)
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
    position = Position(point, point_covariance(sights, point, used), "ok", world)
    return Triangulation(position, residuals, used, parallax)


def _agree(pair: Sequence[PosedView], point: FloatArray) -> bool:
    """Whether two views can show one point, given the point that fits them best."""
    # Where the pixel's error is not stated, 1 px² is only a guess, and doubts need more than that.
    guessed = any(sight.view.pixel_covariance is None for sight in pair)
    return sum(sight.score(point) for sight in pair) <= (OUTLIER if guessed else _TWO_VIEWS)


def _torn(scores: FloatArray, used: BoolArray) -> bool:
    """Whether three views contradict each other together, though none of them stands out."""
    return int(used.sum()) == 3 and float(scores[used].sum()) > _THREE_VIEWS


def _best_pair(
    sights: Sequence[PosedView], rays: FloatArray, least: float
) -> tuple[BoolArray, FloatArray, str]:
    """The only pair of views that agrees, among three or more that contradict each other.

    Returns:
        Which views are used, the point, and why it is ambiguous or "".
    """
    both = np.ones(2, dtype=bool)
    origins = np.array([sight.origin for sight in sights])
    fits = []
    for i, j in combinations(range(len(sights)), 2):
        pair = [sights[i], sights[j]]
        try:
            check_parallax(rays[[i, j]], both, least)
            point = refine_point(pair, meeting_point(origins[[i, j]], rays[[i, j]]), both)
            total = sum(sight.score(point) for sight in pair)
            covariance = point_covariance(pair, point, both)
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
