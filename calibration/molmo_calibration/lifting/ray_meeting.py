"""The point nearest to several rays: least squares, a robust start, Gauss-Newton and the covariance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from molmo_calibration.arrays import BoolArray, FloatArray, symmetric
from molmo_calibration.errors import DegenerateError, InvalidArgumentError
from molmo_calibration.lifting.posed_view import PosedView
from molmo_calibration.lifting.position import chi_squared_quantile

_STEPS = 20
_SETTLED = 1e-9

# Pairs of views tried as a start.
_PAIRS = 20

# Residuals beyond this many sigmas count linearly (Huber's 95 % efficiency constant).
_HUBER = 1.345

# A view is dropped if its residual would occur once in ten thousand.
OUTLIER = chi_squared_quantile(0.9999, 2)


def world_rays(sights: Sequence[PosedView]) -> FloatArray:
    rays = np.array([s.rotation @ s.view.camera.ray(s.view.uv) for s in sights])
    lost = np.flatnonzero(~np.isfinite(rays).all(axis=1))
    if lost.size:
        raise InvalidArgumentError(
            f"view {int(lost[0])} has a pixel {sights[int(lost[0])].view.uv.tolist()} without a "
            "ray: it lies beyond the field of its lens"
        )
    return rays


def check_parallax(rays: FloatArray, used: BoolArray, least: float) -> float:
    kept = rays[used]
    sines = np.linalg.norm(np.cross(kept[:, None], kept[None]), axis=-1)
    angle = float(np.arctan2(sines, kept @ kept.T).max())
    if angle < least:
        raise DegenerateError(
            f"the views see the point under a parallax of {np.rad2deg(angle):.3f} degrees, less "
            f"than {np.rad2deg(least):.3f}; move the camera farther sideways"
        )
    return angle


def meeting_point(origins: FloatArray, rays: FloatArray) -> FloatArray:
    """The point with the least squared distances to all rays."""
    across = np.eye(3) - rays[:, :, None] * rays[:, None, :]
    return np.linalg.lstsq(
        across.sum(axis=0), (across @ origins[:, :, None]).sum(axis=0)[:, 0], rcond=None
    )[0]


def robust_start(sights: Sequence[PosedView], rays: FloatArray) -> FloatArray:
    """The meeting point, of all rays or of a pair, that most views agree with."""
    origins = np.array([sight.origin for sight in sights])
    starts = [meeting_point(origins, rays)]
    if len(sights) == 2:
        return starts[0]
    pairs = [(i, j) for i in range(len(sights)) for j in range(i)]
    # Wide pairs are the ones to trust; many views have more pairs than are worth trying.
    pairs.sort(key=lambda pair: float(abs(rays[pair[0]] @ rays[pair[1]])))
    starts += [meeting_point(origins[[i, j]], rays[[i, j]]) for i, j in pairs[:_PAIRS]]
    totals = [
        sum(min(sight.score(start, sight.rough), OUTLIER) for sight in sights) for start in starts
    ]
    return starts[int(np.argmin(totals))]


def point_covariance(
    sights: Sequence[PosedView], point: FloatArray, used: BoolArray
) -> FloatArray:
    """(3, 3) covariance of the point; views of one camera share the errors of its intrinsics.

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


def refine_point(sights: Sequence[PosedView], point: FloatArray, used: BoolArray) -> FloatArray:
    """Gauss-Newton with Huber weights; a view that does not see the point is skipped for that step."""
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
