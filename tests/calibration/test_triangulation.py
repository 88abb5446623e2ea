"""Triangulation: exact, noisy, with outliers, and refused where it cannot work."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from molmo_calibration import (
    Camera,
    DegenerateError,
    InvalidArgumentError,
    TooFewViewsError,
    Transform,
    View,
    triangulate,
)
from molmo_calibration.rotations import matrix_from_rotation_vector

K = np.array([[611.0, 0.0, 322.5], [0.0, 607.0, 238.25], [0.0, 0.0, 1.0]])
LENSES = {
    "plumb_bob": np.array([-0.1, 0.02, 1e-3, -5e-4, 0.0]),
    "equidistant": np.array([0.05, -0.01, 0.002, -0.001]),
}


def poses(count: int, rng: np.random.Generator) -> list[Transform]:
    """Cameras around the point (0, 0, 1), about 1 m from it and looking at it."""
    result = []
    for _ in range(count):
        turn = matrix_from_rotation_vector(rng.uniform(-0.4, 0.4, 3))
        target = np.array([0.0, 0.0, 1.0])
        result.append(
            Transform.from_parts(
                turn,
                target - turn @ rng.uniform([-0.1] * 2 + [0.8], [0.1] * 2 + [1.2]),
                "map",
                "camera",
            )
        )
    return result


def views(
    camera: Camera, point: np.ndarray, where: list[Transform], noise: np.ndarray | float = 0.0
) -> list[View]:
    pixels = np.array([camera.project(pose.inverse().apply(point)) for pose in where]) + noise
    return [View(camera, pose, uv) for pose, uv in zip(where, pixels, strict=True)]


class TestExact:
    @settings(max_examples=40, deadline=None)
    @given(
        seed=st.integers(0, 10**6), count=st.integers(2, 6), model=st.sampled_from(sorted(LENSES))
    )
    def test_it_finds_the_point(self, seed: int, count: int, model: str) -> None:
        rng = np.random.default_rng(seed)
        camera = Camera(640, 480, K, LENSES[model], model)
        point = np.array([0, 0, 1.0]) + rng.uniform(-0.15, 0.15, 3)
        try:
            found = triangulate(views(camera, point, poses(count, rng)))
        except DegenerateError:
            return
        np.testing.assert_allclose(found.position.point, point, atol=1e-6)
        np.testing.assert_allclose(found.residuals_px, 0, atol=1e-5)
        assert found.used.all()
        assert found.position.frame_id == "map"

    def test_parallax_and_covariance_of_a_known_pair(self) -> None:
        """Two cameras 0.2 m apart, 1 m away: sigma_z = z² sigma_d / (f B), as in every book."""
        camera = Camera(640, 480, K)
        left = Transform.from_parts(np.eye(3), [-0.1, 0, 0])
        right = Transform.from_parts(np.eye(3), [0.1, 0, 0])
        found = triangulate(views(camera, np.array([0, 0, 1.0]), [left, right]))
        assert found.parallax_rad == pytest.approx(2 * np.arctan(0.1))
        sigma_z = np.sqrt(found.position.covariance[2, 2])
        assert sigma_z == pytest.approx(np.sqrt(2) / (611 * 0.2), rel=0.02)


class TestRobust:
    @pytest.mark.parametrize("seed", range(8))
    def test_a_wrong_view_is_dropped(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        camera = Camera(640, 480, K)
        point = np.array([0.05, -0.03, 1.0])
        sightings = views(camera, point, poses(6, rng), rng.normal(0, 0.5, (6, 2)))
        wrong = View(camera, sightings[2].world_from_camera, sightings[2].uv + np.array([60, -45]))
        sightings[2] = wrong
        found = triangulate(sightings)
        assert found.used.tolist() == [True, True, False, True, True, True]
        assert np.linalg.norm(found.position.point - point) < 0.01
        assert np.linalg.norm(found.residuals_px[2]) > 40

    def test_surer_pixels_count_more(self) -> None:
        rng = np.random.default_rng(3)
        camera, point = Camera(640, 480, K), np.array([0.0, 0.0, 1.0])
        where = poses(3, rng)
        sightings = views(camera, point, where)
        off = View(camera, where[0], sightings[0].uv + np.array([8, 0]), np.eye(2) * 400)
        trusting = View(camera, where[0], sightings[0].uv + np.array([8, 0]))
        vague = np.linalg.norm(triangulate([off, *sightings[1:]]).position.point - point)
        sure = triangulate([trusting, *sightings[1:]])
        assert vague < 1e-3
        assert not sure.used.all() or np.linalg.norm(sure.position.point - point) > 3 * vague

    def test_pose_and_lens_uncertainty_widen_the_answer(self) -> None:
        rng = np.random.default_rng(4)
        camera, where = Camera(640, 480, K), poses(3, rng)
        point = np.array([0.0, 0.0, 1.0])
        narrow = triangulate(views(camera, point, where)).position.covariance
        shaky = [
            Transform(p.matrix, "map", "camera", np.diag([1e-4] * 3 + [1e-4] * 3)) for p in where
        ]
        wide = triangulate(views(camera, point, shaky)).position.covariance
        assert np.trace(wide) > 4 * np.trace(narrow)
        vague = camera.replace(intrinsics_covariance=np.diag([25.0, 25.0, 25.0, 25.0]))
        lens = triangulate(views(vague, point, where)).position.covariance
        assert np.trace(lens) > 4 * np.trace(narrow)


class TestRefused:
    def test_too_few_or_too_close(self) -> None:
        camera = Camera(640, 480, K)
        sighting = View(camera, Transform.identity(), np.array([322.5, 238.25]))
        with pytest.raises(TooFewViewsError, match="at least 2 views, got 1"):
            triangulate([sighting])
        with pytest.raises(DegenerateError, match="move the camera farther sideways"):
            triangulate([sighting, sighting])

    def test_rays_that_meet_behind(self) -> None:
        camera = Camera(640, 480, K)
        left = View(camera, Transform.from_parts(np.eye(3), [-0.1, 0, 0]), np.array([200, 238.25]))
        right = View(camera, Transform.from_parts(np.eye(3), [0.1, 0, 0]), np.array([440, 238.25]))
        with pytest.raises(DegenerateError, match="behind a camera"):
            triangulate([left, right])

    def test_frames_pixels_and_lenses(self) -> None:
        camera = Camera(640, 480, K, np.array([-0.4, 0, 0, 0, 0.0]), "plumb_bob")
        one = View(camera, Transform.identity("map", "c"), np.array([300.0, 200.0]))
        other = View(camera, Transform.identity("odom", "c"), np.array([300.0, 200.0]))
        with pytest.raises(InvalidArgumentError, match="one world frame, got map, odom"):
            triangulate([one, other])
        with pytest.raises(InvalidArgumentError, match="uv must be finite"):
            View(camera, Transform.identity(), np.array([np.nan, 1]))
        lost = View(camera, Transform.identity("map", "c"), np.array([1500.0, 200.0]))
        with pytest.raises(InvalidArgumentError, match="view 1 has a pixel"):
            triangulate([one, lost])
