"""A fisheye camera from boards that reach beside and behind its image plane.

OpenCV's `fisheye.calibrate` places boards on that plane, where rays beyond 90 degrees have no
image. Here poses start from rays, and all parameters are refined together on pixels
(Levenberg-Marquardt), with the derivatives of the camera model itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from molmo_calibration.arrays import FloatArray
from molmo_calibration.calibrate.detection import Detection
from molmo_calibration.calibrate.pose import board_pose
from molmo_calibration.cameras.camera import Camera
from molmo_calibration.errors import CalibrationError, DegenerateError
from molmo_calibration.geometry.rotations import matrix_from_rotation_vector
from molmo_calibration.geometry.transforms import Transform

# Half fields of view along the longer side that are tried as a start, degrees.
_HALF_FIELDS = (60.0, 75.0, 90.0, 105.0, 120.0)

_ROUNDS = 100
_SETTLED = 1e-10
_DAMPING, _MOST_DAMPING = 1e-3, 1e9


def fit_fisheye(detections: Sequence[Detection], frame_id: str) -> tuple[Camera, list[Transform]]:
    """The equidistant camera that fits best, and camera_from_board of each image.

    Raises:
        DegenerateError: no start led to a camera.
    """
    starts = [start for half in _HALF_FIELDS if (start := _start(detections, half, frame_id))]
    if not starts:
        raise DegenerateError("no pose of a board fits any fisheye lens")
    _, camera, poses = min(starts, key=lambda start: start[0])
    return _refined(camera, poses, detections)


def _start(
    detections: Sequence[Detection], half_field_deg: float, frame_id: str
) -> tuple[float, Camera, list[Transform]] | None:
    width, height = detections[0].image_size
    focal = max(width, height) / 2 / np.deg2rad(half_field_deg)
    matrix = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]])
    camera = Camera(width, height, matrix, np.zeros(4), "equidistant", frame_id=frame_id)
    try:
        poses = [board_pose(camera, detection) for detection in detections]
    except CalibrationError:
        return None
    cost = _cost(camera, poses, detections)
    return (cost, camera, poses) if np.isfinite(cost) else None


def _refined(
    camera: Camera, poses: list[Transform], detections: Sequence[Detection]
) -> tuple[Camera, list[Transform]]:
    cost, damping = _cost(camera, poses, detections), _DAMPING
    for _ in range(_ROUNDS):
        normal, right = _equations(camera, poses, detections)
        while damping < _MOST_DAMPING:
            damped = normal + damping * np.diag(np.maximum(np.diag(normal), 1e-12))
            step = np.linalg.solve(damped, right)
            moved = _moved(camera, poses, step)
            after = _cost(*moved, detections) if moved is not None else np.inf
            if moved is not None and after < cost:
                settled = cost - after < _SETTLED * cost
                (camera, poses), cost, damping = moved, after, max(damping / 10, 1e-12)
                break
            damping *= 10
        else:
            break
        if settled:
            break
    return camera, poses


def _residuals(camera: Camera, pose: Transform, detection: Detection) -> FloatArray:
    return np.asarray(detection.pixels - camera.project(pose.apply(detection.board_points)))


def _cost(camera: Camera, poses: list[Transform], detections: Sequence[Detection]) -> float:
    total = sum(
        float((_residuals(camera, pose, detection) ** 2).sum())
        for pose, detection in zip(poses, detections, strict=True)
    )
    return total if np.isfinite(total) else float("inf")


def _equations(
    camera: Camera, poses: list[Transform], detections: Sequence[Detection]
) -> tuple[FloatArray, FloatArray]:
    """Normal matrix and right side; 8 parameters of the lens, then 6 of each pose."""
    count = 8 + 6 * len(poses)
    normal, right = np.zeros((count, count)), np.zeros(count)
    for index, (pose, detection) in enumerate(zip(poses, detections, strict=True)):
        points = pose.apply(detection.board_points)
        lens = camera.intrinsics_jacobian(points)
        moves = pose.point_jacobian(detection.board_points)
        both = np.concatenate([lens, camera.jacobian(points) @ moves], axis=-1).reshape(-1, 14)
        where = np.r_[0:8, 8 + 6 * index : 14 + 6 * index]
        normal[np.ix_(where, where)] += both.T @ both
        right[where] += both.T @ _residuals(camera, pose, detection).ravel()
    return normal, right


def _moved(
    camera: Camera, poses: list[Transform], step: FloatArray
) -> tuple[Camera, list[Transform]] | None:
    """Camera and poses after a step; None where it leads to no camera."""
    fx, fy, cx, cy = step[:4]
    matrix = camera.matrix + np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 0]])
    try:
        changed = camera.replace(
            matrix=matrix, projection=None, distortion=camera.distortion + step[4:8]
        )
    except CalibrationError:
        return None
    turned = [
        Transform.from_parts(
            matrix_from_rotation_vector(s[3:]) @ pose.rotation,
            pose.translation + s[:3],
            pose.to_frame,
            pose.from_frame,
        )
        for pose, s in zip(poses, step[8:].reshape(-1, 6), strict=True)
    ]
    return changed, turned
