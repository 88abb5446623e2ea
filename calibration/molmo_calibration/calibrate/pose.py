"""The pose of a board from its corners: PnP on rays, then least squares on pixels."""

from __future__ import annotations

import numpy as np

from molmo_calibration.arrays import FloatArray
from molmo_calibration.calibrate.detection import Detection
from molmo_calibration.cameras.camera import Camera
from molmo_calibration.errors import DegenerateError
from molmo_calibration.geometry.rotations import (
    matrix_from_rotation_vector,
    rotation_vector_from_matrix,
)
from molmo_calibration.geometry.transforms import Transform
from molmo_calibration.imports import import_library, opencv

__all__ = ["board_pose", "squared_errors"]


def board_pose(camera: Camera, detection: Detection) -> Transform:
    """camera_from_board, with the covariance that the corners' residuals give it.

    Args:
        camera: any lens; corners are turned into rays first, so OpenCV sees a pinhole.
        detection: the board.

    Raises:
        DegenerateError: too few corners have a ray, or no pose fits.
    """
    cv2 = opencv("finding a pose")
    least_squares = import_library("scipy.optimize", "finding a pose").least_squares
    rays = camera.ray(detection.pixels)
    turn_to = _towards(rays)
    rays = rays @ turn_to.T
    good = np.isfinite(rays).all(axis=1) & (rays[:, 2] > 0.05)
    if good.sum() < 4:
        raise DegenerateError(
            f"fewer than 4 corners of {detection.name or 'the board'} have a ray in this camera; "
            "was the picture taken with another camera or resolution?"
        )
    points, pixels = detection.board_points[good], detection.pixels[good]
    flat = np.ascontiguousarray(rays[good, :2] / rays[good, 2:])
    found, turn, shift = cv2.solvePnP(points, flat, np.eye(3), None)
    if not found:
        raise DegenerateError(f"no pose fits the corners of {detection.name or 'the board'}")
    turned = turn_to.T @ matrix_from_rotation_vector(np.ravel(turn))
    start = np.concatenate([rotation_vector_from_matrix(turned), turn_to.T @ np.ravel(shift)])

    def residuals(pose: FloatArray) -> FloatArray:
        placed = points @ matrix_from_rotation_vector(pose[:3]).T + pose[3:]
        return np.nan_to_num((camera.project(placed) - pixels).ravel(), nan=1e3)

    solved = least_squares(residuals, start, method="lm", x_scale="jac")
    rotation = matrix_from_rotation_vector(solved.x[:3])
    pose = Transform.from_parts(rotation, solved.x[3:], camera.frame_id, "board")
    return Transform(
        pose.matrix,
        camera.frame_id,
        "board",
        _covariance(camera, pose, points, residuals(solved.x)),
    )


def _towards(rays: FloatArray) -> FloatArray:
    """A rotation (3, 3) that turns the middle of the rays to the front.

    A fisheye sees boards beside and behind its image plane, where a pinhole has no picture.
    """
    middle = np.nanmean(rays, axis=0) if np.isfinite(rays).any() else np.array([0, 0, 1.0])
    length = float(np.linalg.norm(middle))
    if length < 1e-6:
        return np.eye(3)
    x, y, z = middle / length
    angle = float(np.arctan2(np.hypot(x, y), z))
    across = max(float(np.hypot(x, y)), 1e-12)
    return matrix_from_rotation_vector(np.array([y, -x, 0.0]) / across * angle)


def squared_errors(camera: Camera, detection: Detection, pose: Transform) -> FloatArray:
    """Squared distances between corners found and reprojected.

    Args:
        camera: any lens.
        detection: the board.
        pose: camera_from_board.

    Returns:
        (n,) pixels²; infinite for a corner where the lens has no ray or the board no picture. A
        mean over the others would call a lens good that cannot see the rim.
    """
    residuals = detection.pixels - camera.project(pose.apply(detection.board_points))
    seen = np.isfinite(camera.ray(detection.pixels)).all(axis=1)
    squares = (residuals**2).sum(axis=1)
    return np.where(seen & np.isfinite(squares), squares, np.inf)


def _covariance(
    camera: Camera, pose: Transform, points: FloatArray, residuals: FloatArray
) -> FloatArray:
    jacobian = (camera.jacobian(pose.apply(points)) @ pose.point_jacobian(points)).reshape(-1, 6)
    variance = float(residuals @ residuals) / max(len(residuals) - 6, 1)
    return np.asarray(variance * np.linalg.inv(jacobian.T @ jacobian))
