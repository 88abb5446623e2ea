"""Triangulation: exact, noisy, with outliers, and refused where it cannot work."""

from __future__ import annotations

import json
import pathlib

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
from molmo_calibration.geometry.rotations import matrix_from_rotation_vector

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


def simulated(
    seed: int, count: int, wrong: int, base: float = 0.15
) -> tuple[np.ndarray, list[View]]:
    """Views of a point 1 to 2.5 m away with 1.5 px of noise, the first `wrong` of them 40 px off."""
    rng = np.random.default_rng(seed)
    camera = Camera(640, 480, K, LENSES["plumb_bob"], "plumb_bob")
    point = np.array([*rng.normal(0, 0.2, 2), rng.uniform(1, 2.5)])
    result: list[View] = []
    while len(result) < count:
        shift = rng.normal(0, base, 3) * [1, 1, 0.3]
        pose = Transform.from_parts(matrix_from_rotation_vector(rng.normal(0, 0.1, 3)), shift)
        uv = camera.project(pose.inverse().apply(point))
        if not np.isfinite(uv).all() or not ((uv >= 0) & (uv < [640, 480])).all():
            continue
        off = rng.choice([-1, 1], 2) * 40.0 if len(result) < wrong else 0.0
        measured = uv + rng.normal(0, 1.5, 2) + off
        result.append(View(camera, pose, measured, np.eye(2) * 1.5**2))
    return point, result


def outcomes(runs: int, count: int, wrong: int) -> dict[str, int]:
    """How often the right views, a wrong one, or no answer came out."""
    counts = {"right": 0, "wrong": 0, "none": 0}
    for seed in range(runs):
        try:
            found = triangulate(simulated(seed, count, wrong)[1])
        except DegenerateError:
            counts["none"] += 1
            continue
        word = (
            "none" if not found.position.ok else "wrong" if found.used[:wrong].any() else "right"
        )
        counts[word] += 1
    return counts


class TestContradictions:
    def test_two_views_of_which_one_is_wrong(self) -> None:
        assert outcomes(80, 2, 1)["wrong"] <= 7

    def test_two_good_views_are_seldom_doubted(self) -> None:
        assert outcomes(60, 2, 0)["right"] >= 52

    def test_three_views_of_which_one_is_wrong(self) -> None:
        counts = outcomes(40, 3, 1)
        assert counts["wrong"] <= 1
        assert counts["right"] >= 28

    def test_an_ambiguous_answer_has_no_point_and_a_reason(self) -> None:
        camera = Camera(640, 480, K)
        left = View(camera, Transform.from_parts(np.eye(3), [-0.1, 0, 0]), np.array([380, 238.25]))
        right = View(camera, Transform.from_parts(np.eye(3), [0.1, 0, 0]), np.array([260, 258.25]))
        found = triangulate([left, right])
        assert found.position.status == "ambiguous"
        assert np.isnan(found.position.point).all()
        assert np.isnan(found.position.covariance).all()
        assert "third view" in found.reason
        np.testing.assert_allclose(np.abs(found.residuals_px[:, 1]), 10, atol=1.0)
        vague = [
            View(v.camera, v.world_from_camera, v.uv, np.eye(2) * 100.0) for v in (left, right)
        ]
        assert triangulate(vague).position.ok

    def test_most_views_must_agree(self) -> None:
        camera, point = Camera(640, 480, K), np.array([0.0, 0.0, 1.0])
        rng = np.random.default_rng(0)
        where = poses(7, rng)
        off = np.vstack(
            [np.zeros((2, 2)), rng.uniform(60, 150, (5, 2)) * rng.choice([-1, 1], (5, 2))]
        )
        found = triangulate(views(camera, point, where, off))
        assert found.position.status == "ambiguous"
        assert "views agree" in found.reason

    def test_a_start_on_rays_that_never_meet(self) -> None:
        """The wrong view of these three leads the first fit to infinity, where matrices are singular."""
        data = pathlib.Path(__file__).parent / "data" / "triangulate_singular.json"
        matrix = np.array([[600.0, 0, 319.5], [0, 610, 239.5], [0, 0, 1]])
        camera = Camera(640, 480, matrix, np.array([-0.25, 0.08, 0.001, -0.0007, 0]), "plumb_bob")
        sightings = [
            View(camera, Transform(np.array(v["T"])), np.array(v["uv"]), np.eye(2) * 1.5**2)
            for v in json.loads(data.read_text())
        ]
        assert triangulate(sightings).used.tolist() == [False, True, True]

    def test_singular_matrices_are_our_error(self) -> None:
        """A view without any information, as a covariance beyond all bounds makes it."""
        camera = Camera(640, 480, K)
        where = [Transform.from_parts(np.eye(3), [x, 0, 0]) for x in (-0.1, 0.1)]
        sightings = views(camera, np.array([0, 0, 1.0]), where)
        blind = [View(v.camera, v.world_from_camera, v.uv, np.zeros((2, 2))) for v in sightings]
        with pytest.raises(DegenerateError, match="meet nowhere"):
            triangulate(blind)


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
