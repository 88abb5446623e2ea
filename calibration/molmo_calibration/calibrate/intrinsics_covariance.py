"""Uncertainty of a calibrated camera, from its residuals, the same way for every lens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from molmo_calibration.arrays import FloatArray, symmetric
from molmo_calibration.calibrate.detection import Detection
from molmo_calibration.cameras.camera import Camera
from molmo_calibration.geometry.transforms import Transform


def intrinsics_covariance(
    camera: Camera, detections: Sequence[Detection], poses: list[Transform], residuals: FloatArray
) -> FloatArray:
    """Covariance of the intrinsics with all poses free: the Schur complement of the normal matrix.

    The variance of a corner is taken from the residuals, less the degrees of freedom used up.
    """
    count = 4 + len(camera.distortion)
    normal = np.zeros((count, count))
    for detection, pose in zip(detections, poses, strict=True):
        points = pose.apply(detection.board_points)
        lens = camera.intrinsics_jacobian(points).reshape(-1, count)
        moves = pose.point_jacobian(detection.board_points)
        place = (camera.jacobian(points) @ moves).reshape(-1, 6)
        coupling = lens.T @ place
        normal += lens.T @ lens - coupling @ np.linalg.solve(place.T @ place, coupling.T)
    freedom = residuals.size - count - 6 * len(poses)
    variance = float((residuals**2).sum()) / max(freedom, 1)
    # Parameters differ by a factor of a million; scaling keeps the inverse accurate.
    scale = 1.0 / np.sqrt(np.maximum(np.diag(normal), 1e-300))
    inverse = np.linalg.pinv(normal * scale[:, None] * scale[None], rcond=1e-13)
    return symmetric(variance * inverse * scale[:, None] * scale[None])
