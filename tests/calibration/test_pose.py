"""The pose of a board: two of them where it is small or far, none where its corners lie on a line."""

from __future__ import annotations

import numpy as np
import pytest
from molmo_calibration import Board, Camera, DegenerateError, Detection, Transform, board_pose
from molmo_calibration.geometry.rotations import (
    matrix_from_rotation_vector,
    rotation_vector_from_matrix,
)

CAMERA = Camera(640, 480, np.array([[600.0, 0, 319.5], [0, 600, 239.5], [0, 0, 1]]))
SMALL = Board(5, 4, 0.02)


def seen(
    board: Board, distance_m: float, sigma_px: float, seed: int
) -> tuple[Transform, Detection]:
    """A tilted board in front of the camera, and its corners with noise."""
    rng = np.random.default_rng(seed)
    rotation = matrix_from_rotation_vector(rng.uniform(-0.5, 0.5, 3))
    across = rng.uniform(-0.2, 0.2, 2) * distance_m
    place = np.array([*across, distance_m]) - rotation @ board.points.mean(axis=0)
    truth = Transform.from_parts(rotation, place)
    uv = CAMERA.project(truth.apply(board.points))
    uv = uv + rng.normal(0, sigma_px, uv.shape)
    return truth, Detection(board.points, uv, (640, 480), f"{seed}.png")


@pytest.mark.parametrize(("distance_m", "sigma_px"), [(1.0, 0.3), (2.0, 0.1), (2.0, 0.3)])
def test_a_small_board_is_not_tilted_the_other_way_with_confidence(
    distance_m: float, sigma_px: float
) -> None:
    """The first fit alone is wrong, far beyond its covariance, in a quarter of these."""
    wrong = 0
    for seed in range(40):
        truth, detection = seen(SMALL, distance_m, sigma_px, seed)
        pose = board_pose(CAMERA, detection)
        assert pose.covariance is not None
        off = rotation_vector_from_matrix(pose.rotation @ truth.rotation.T)
        sigma = float(np.sqrt(np.trace(pose.covariance[3:, 3:])))
        wrong += float(np.linalg.norm(off)) > max(4.0 * sigma, np.deg2rad(3.0))
    assert wrong <= 1


def test_a_large_near_board_has_one_pose() -> None:
    truth, detection = seen(Board(10, 7, 0.025), 0.6, 0.1, 0)
    pose = board_pose(CAMERA, detection)
    assert pose.difference(truth)[1] < np.deg2rad(0.5)
    assert pose.covariance is not None
    assert np.sqrt(np.trace(pose.covariance[3:, 3:])) < np.deg2rad(0.5)


def test_corners_on_one_line_have_no_pose() -> None:
    board = Board(10, 7, 0.025)
    _, detection = seen(board, 0.6, 0.0, 1)
    row = Detection(board.points[:6], detection.pixels[:6], (640, 480), "row.png")
    with pytest.raises(DegenerateError, match=r"corners of row\.png lie on one line"):
        board_pose(CAMERA, row)


def test_corners_in_one_spot_have_a_covariance_that_says_so() -> None:
    rng = np.random.default_rng(2)
    spot = np.array([300.0, 200.0]) + rng.normal(0, 1e-3, SMALL.points[:, :2].shape)
    spot += SMALL.points[:, :2] * 0.1
    pose = board_pose(CAMERA, Detection(SMALL.points, spot, (640, 480), "spot.png"))
    assert pose.covariance is not None
    np.testing.assert_allclose(pose.covariance, pose.covariance.T)
