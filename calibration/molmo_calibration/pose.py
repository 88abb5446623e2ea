"""The pose of a board from its corners: PnP on rays, then least squares on pixels."""

from __future__ import annotations

import numpy as np

from molmo_calibration.arrays import FloatArray
from molmo_calibration.boards import opencv
from molmo_calibration.camera import Camera
from molmo_calibration.detection import Detection
from molmo_calibration.errors import DegenerateError, MissingExtraError
from molmo_calibration.rotations import matrix_from_rotation_vector
from molmo_calibration.transforms import Transform

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
    try:
        from scipy.optimize import least_squares
    except ImportError as error:
        raise MissingExtraError("SciPy", "finding a pose") from error
    rays = camera.ray(detection.pixels)
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
    start = np.concatenate([np.ravel(turn), np.ravel(shift)])

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
