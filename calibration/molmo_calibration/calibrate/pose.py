"""The pose of a board from its corners: PnP on rays, then least squares on pixels."""

from __future__ import annotations

import numpy as np

from molmo_calibration.arrays import BoolArray, FloatArray, symmetric
from molmo_calibration.calibrate.detection import Detection
from molmo_calibration.cameras.camera import Camera
from molmo_calibration.errors import DegenerateError
from molmo_calibration.geometry.rotations import (
    matrix_from_rotation_vector,
    rotation_vector_from_matrix,
)
from molmo_calibration.geometry.transforms import Transform
from molmo_calibration.imports import import_library, opencv

# The mirrored pose is tried if its start reprojects within this of the corners, rms.
_MIRRORED_PX = 5.0

# Corners whose second extent is below this share of the first lie on one line.
_LEAST_AREA = 1e-6


def board_pose(camera: Camera, detection: Detection) -> Transform:
    """camera_from_board, with the covariance that the corners' residuals give it.

    A small or distant board fits two poses, tilted one way and the other: the better one is
    returned, and its covariance includes the other by its likelihood.

    Args:
        camera: any lens; corners are turned into rays first, so OpenCV sees a pinhole.
        detection: the board.

    Raises:
        DegenerateError: too few corners have a ray, they lie on one line, or no pose fits.
    """
    name = detection.name or "the board"
    start, good = _start(camera, detection, name)
    points, pixels = detection.board_points[good], detection.pixels[good]
    fits = _fits(camera, points, pixels, start)
    poses = [_pose(camera, solved) for _, solved in fits]
    variance = fits[0][0] / max(2 * len(points) - 6, 1)
    covariance = _covariance(camera, poses[0], points, variance)
    if len(fits) == 2:
        # The chance that the other pose is the true one, and how far it is.
        likelihood_ratio = np.exp(-min((fits[1][0] - fits[0][0]) / (2.0 * variance), 700.0))
        apart = _difference(poses[0], poses[1])
        chance = likelihood_ratio / (1.0 + likelihood_ratio)
        covariance = covariance + chance * np.outer(apart, apart)
    return Transform(poses[0].matrix, camera.frame_id, "board", covariance)


def _start(camera: Camera, detection: Detection, name: str) -> tuple[FloatArray, BoolArray]:
    """Rotation vector and translation (6,) from PnP, and which corners (n,) have a ray."""
    cv2 = opencv("finding a pose")
    rays = camera.ray(detection.pixels)
    turn_to = _towards(rays)
    rays = rays @ turn_to.T
    good = np.isfinite(rays).all(axis=1) & (rays[:, 2] > 0.05)
    if good.sum() < 4:
        raise DegenerateError(
            f"fewer than 4 corners of {name} have a ray in this camera; was the image taken with "
            "another camera or resolution?"
        )
    points = detection.board_points[good]
    _check_area(points, name)
    flat = np.ascontiguousarray(rays[good, :2] / rays[good, 2:])
    found, turn, shift = cv2.solvePnP(points, flat, np.eye(3), None)
    if not found:
        raise DegenerateError(f"no pose fits the corners of {name}")
    turned = turn_to.T @ matrix_from_rotation_vector(np.ravel(turn))
    start = np.concatenate([rotation_vector_from_matrix(turned), turn_to.T @ np.ravel(shift)])
    return start, good


def _fits(
    camera: Camera, points: FloatArray, pixels: FloatArray, start: FloatArray
) -> list[tuple[float, FloatArray]]:
    """Sum of squares in pixels and pose (6,) of the least squares fits, the better one first."""
    least_squares = import_library("scipy.optimize", "finding a pose").least_squares

    def residuals(pose: FloatArray) -> FloatArray:
        placed = points @ matrix_from_rotation_vector(pose[:3]).T + pose[3:]
        return np.nan_to_num((camera.project(placed) - pixels).ravel(), nan=1e3)

    def refined(begin: FloatArray) -> tuple[float, FloatArray]:
        solved = least_squares(residuals, begin, method="lm", x_scale="jac")
        return 2.0 * float(solved.cost), solved.x

    first = refined(start)
    mirrored = _mirrored(first[1], points)
    squares = float(np.sum(residuals(mirrored) ** 2))
    if squares > first[0] + len(points) * _MIRRORED_PX**2:
        return [first]
    return sorted([first, refined(mirrored)], key=lambda fit: fit[0])


def _pose(camera: Camera, solved: FloatArray) -> Transform:
    rotation = matrix_from_rotation_vector(solved[:3])
    return Transform.from_parts(rotation, solved[3:], camera.frame_id, "board")


def _difference(one: Transform, other: Transform) -> FloatArray:
    """(6,) shift and turn from one pose to another."""
    turn = rotation_vector_from_matrix(other.rotation @ one.rotation.T)
    return np.concatenate([other.translation - one.translation, turn])


def _check_area(points: FloatArray, name: str) -> None:
    sizes = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    if sizes[1] < _LEAST_AREA * sizes[0]:
        raise DegenerateError(
            f"the corners of {name} lie on one line, about which the board may turn "
            "freely; a pose needs corners of several rows"
        )


def _mirrored(pose: FloatArray, points: FloatArray) -> FloatArray:
    """The pose that tilts a board the other way, seen from the camera.

    Far from the camera, perspective is weak and both look alike.
    """
    rotation, middle = matrix_from_rotation_vector(pose[:3]), points.mean(axis=0)
    place = rotation @ middle + pose[3:]
    sight = place / np.linalg.norm(place)
    half_turn = 2.0 * np.outer(sight, sight) - np.eye(3)
    turned = half_turn @ rotation @ np.diag([-1.0, -1.0, 1.0])
    return np.concatenate([rotation_vector_from_matrix(turned), place - turned @ middle])


def _towards(rays: FloatArray) -> FloatArray:
    """A rotation (3, 3) that turns the middle of the rays to the front.

    A fisheye sees boards beside and behind its image plane, where a pinhole has no image.
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
        (n,) pixels²; infinite for a corner where the lens has no ray or the board no image. A
        mean over the others would call a lens good that cannot see the rim.
    """
    residuals = detection.pixels - camera.project(pose.apply(detection.board_points))
    seen = np.isfinite(camera.ray(detection.pixels)).all(axis=1)
    squares = (residuals**2).sum(axis=1)
    return np.where(seen & np.isfinite(squares), squares, np.inf)


def _covariance(
    camera: Camera, pose: Transform, points: FloatArray, variance: float
) -> FloatArray:
    jacobian = (camera.jacobian(pose.apply(points)) @ pose.point_jacobian(points)).reshape(-1, 6)
    # Metres and radians differ in size; scaling keeps the inverse accurate.
    scale = 1.0 / np.maximum(np.linalg.norm(jacobian, axis=0), 1e-300)
    scaled = jacobian * scale
    inverse = np.linalg.pinv(scaled.T @ scaled, rcond=1e-13, hermitian=True)
    return symmetric(variance * inverse * scale[:, None] * scale)
