"""Are the error bars honest? Simulated errors, drawn from what the covariances claim.

Each test draws pixel, depth, plane, pose and lens errors, computes a position and its covariance
from the erroneous input, as a user would, and asks how often the 90 % ellipsoid holds the truth.
"""

from __future__ import annotations

import numpy as np
import pytest
from molmo_calibration import (
    Camera,
    DepthImage,
    DepthOptions,
    Plane,
    StereoNoise,
    TimeOfFlightNoise,
    Transform,
    View,
    depth_at,
    intersect_plane,
    lift,
    mahalanobis_squared,
    triangulate,
)
from molmo_calibration.geometry.rotations import matrix_from_rotation_vector
from scipy.stats import chi2

K = np.array([[611.0, 0.0, 322.5], [0.0, 607.0, 238.25], [0.0, 0.0, 1.0]])
LENS = np.array([-0.1, 0.02, 1e-3, -5e-4, 0.0])
LENS_COVARIANCE = np.diag([1.5**2] * 2 + [1.0] * 2 + [1e-4, 1e-3, 1e-7, 1e-7, 1e-3])
PIXEL = np.array([[4.0, 1.0], [1.0, 2.25]])
POSE = np.diag([0.003**2] * 3 + [0.004**2] * 3)
TRIALS = 1200
TRUE_CAMERA = Camera(640, 480, K, LENS, "plumb_bob")


def honest(errors: np.ndarray, covariances: np.ndarray, degrees: int = 3) -> None:
    """90 % ellipsoids hold 90 +- 2 %, and the mean of e' C^-1 e is inside its 99 % interval."""
    scores = mahalanobis_squared(errors, covariances)
    covered = float((scores <= chi2.ppf(0.9, degrees)).mean())
    assert 0.88 <= covered <= 0.92
    low, high = chi2.ppf([0.005, 0.995], degrees * len(scores)) / len(scores)
    assert low <= scores.mean() <= high


def drawn_camera(rng: np.random.Generator) -> Camera:
    """The camera that a calibration with errors has found."""
    error = rng.multivariate_normal(np.zeros(9), LENS_COVARIANCE)
    matrix = K.copy()
    matrix[[0, 1], [0, 1]] += error[:2]
    matrix[:2, 2] += error[2:4]
    return Camera(
        640, 480, matrix, LENS + error[4:], "plumb_bob", intrinsics_covariance=LENS_COVARIANCE
    )


def drawn_pose(truth: Transform, rng: np.random.Generator) -> Transform:
    """The pose a localization with errors reports."""
    error = rng.multivariate_normal(np.zeros(6), POSE)
    return Transform.from_parts(
        matrix_from_rotation_vector(error[3:]) @ truth.rotation,
        truth.translation + error[:3],
        covariance=POSE,
    )


@pytest.mark.parametrize("noise", [StereoNoise(600.0, 0.05, 0.2), TimeOfFlightNoise(0.004, 0.004)])
def test_depth(noise: StereoNoise | TimeOfFlightNoise) -> None:
    rng = np.random.default_rng(0)
    base_from_camera = Transform.from_parts(
        matrix_from_rotation_vector([2.0, -0.3, 0.5]), [0.4, -0.2, 1.1]
    )
    errors, covariances = [], []
    for _ in range(TRIALS):
        believed = drawn_camera(rng)
        point = rng.uniform([-0.4, -0.3, 0.6], [0.4, 0.3, 2.0])
        uv = TRUE_CAMERA.project(point) + rng.multivariate_normal([0, 0], PIXEL)
        z = point[2] + rng.normal(0, noise.sigma(point[2]))
        pose = drawn_pose(base_from_camera, rng)
        position = lift(believed, uv, float(z), PIXEL, noise).transformed(pose)
        errors.append(position.point - base_from_camera.apply(point))
        covariances.append(position.covariance)
    honest(np.array(errors), np.array(covariances))


@pytest.mark.parametrize("strategy", ["cluster", "plane"])
def test_depth_image_of_a_slanted_table(strategy: str) -> None:
    """The whole road: a pixel beside the meant one, a noisy depth image, the depth found in it.

    Averaging many readings makes the answer surer than one reading, and the error bar keeps that of
    one reading, because readings of a frame share errors that a simulation does not have. So the
    ellipsoid may hold more than 90 %, but never less.
    """
    rng = np.random.default_rng(3)
    camera = Camera(320, 240, np.array([[300.0, 0, 159.5], [0, 300, 119.5], [0, 0, 1]]))
    rows, columns = np.mgrid[:240, :320].astype(float)
    rays = camera.ray(np.stack([columns, rows], -1))
    table = Plane.through([0, 0, 1.0], [0.15, 0.8, -0.6])
    # The horizon is in the image: nothing is read beyond 3 m.
    with np.errstate(divide="ignore"):
        exact = table.offset_m / (rays @ table.normal) * rays[..., 2]
    exact[(exact < 0.3) | (exact > 3)] = np.nan
    noise, options = TimeOfFlightNoise(0.001, 0.001), DepthOptions(strategy)
    covered = []
    for _ in range(40):
        image = DepthImage(exact + rng.normal(0, 1, exact.shape) * noise.sigma(exact))
        for meant in rng.uniform([40, 110], [280, 220], (10, 2)):
            truth = intersect_plane(camera, meant, table)
            uv = meant + rng.multivariate_normal([0, 0], PIXEL)
            found = depth_at(image, uv, camera, options=options)
            assert found.status == "ok"
            position = lift(camera, uv, found, PIXEL, noise)
            score = mahalanobis_squared(position.point - truth.point, position.covariance)
            covered.append(score <= chi2.ppf(0.9, 3))
    assert 0.88 <= np.mean(covered) <= 0.99


def test_plane() -> None:
    """The plane itself is uncertain too, and so is where the camera stands to it."""
    rng = np.random.default_rng(1)
    camera_from_base = Transform.from_parts(
        matrix_from_rotation_vector([2.4, 0.2, -0.1]), [0.1, 0.05, 1.0]
    )
    tilt = np.diag([0.004**2, 0.004**2, 0.0, 0.003**2])
    errors, covariances = [], []
    for _ in range(TRIALS):
        believed = drawn_camera(rng)
        on_table = np.array([*rng.uniform(-0.25, 0.25, 2), 0.1])
        uv = TRUE_CAMERA.project(camera_from_base.apply(on_table)) + rng.multivariate_normal(
            [0, 0], PIXEL
        )
        wrong = rng.multivariate_normal(np.zeros(4), tilt)
        normal = np.array([0, 0, 1.0]) + wrong[:3]
        plane = Plane(normal, 0.1 + wrong[3], covariance=tilt)
        pose = drawn_pose(camera_from_base, rng)
        position = intersect_plane(believed, uv, plane, pose, PIXEL)
        assert position.ok
        errors.append(position.point - camera_from_base.apply(on_table))
        covariances.append(position.covariance)
    honest(np.array(errors), np.array(covariances))


@pytest.mark.parametrize(("count", "lens_known"), [(2, True), (3, True), (3, False)])
def test_triangulation(count: int, lens_known: bool) -> None:
    """With errors of pixels and poses; and with one wrong lens, seen through in every view.

    Unlucky views contradict each other: of good pairs 1 in 20 is refused, of good threes fewer. What is answered is honest.
    """
    rng = np.random.default_rng(2)
    errors, covariances = [], []
    for _ in range(TRIALS // 2):
        believed = TRUE_CAMERA if lens_known else drawn_camera(rng)
        point = np.array([0, 0, 1.0]) + rng.uniform(-0.1, 0.1, 3)
        views = []
        for index in range(count):
            turn = matrix_from_rotation_vector([0.1 * index, 0.45 * index - 0.4, 0.2])
            truth = Transform.from_parts(turn, np.array([0, 0, 1.0]) - turn @ [0, 0, 1.1])
            uv = TRUE_CAMERA.project(truth.inverse().apply(point))
            uv = uv + rng.multivariate_normal([0, 0], PIXEL)
            views.append(View(believed, drawn_pose(truth, rng), uv, PIXEL))
        found = triangulate(views)
        if found.position.ok:
            errors.append(found.position.point - point)
            covariances.append(found.position.covariance)
    assert len(errors) >= (0.92 if count == 2 else 0.97) * (TRIALS // 2)
    honest(np.array(errors), np.array(covariances))
