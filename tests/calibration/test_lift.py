"""Pixels to points: depth, planes, meshes and fits."""

from __future__ import annotations

import pathlib
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from molmo_calibration import (
    Camera,
    ConstantNoise,
    DegenerateError,
    DepthImage,
    DepthOptions,
    FrameError,
    InvalidArgumentError,
    MissingExtraError,
    Plane,
    Position,
    StereoNoise,
    TimeOfFlightNoise,
    TooFewViewsError,
    Transform,
    deproject,
    depth_at,
    fit_plane,
    intersect_mesh,
    intersect_plane,
    lift,
    load_mesh,
    plane_from_depth,
)
from molmo_calibration.geometry.rotations import matrix_from_rotation_vector
from molmo_calibration.lifting.position import chi_squared_quantile
from scipy.stats import chi2

K = np.array([[611.0, 0.0, 322.5], [0.0, 607.0, 238.25], [0.0, 0.0, 1.0]])
CAMERA = Camera(640, 480, K, np.array([-0.1, 0.02, 1e-3, -5e-4, 0.0]), "plumb_bob", frame_id="cam")


class TestDepth:
    def test_project_undoes_deproject(self, camera: Camera, points: np.ndarray) -> None:
        uv = camera.project(points)
        np.testing.assert_allclose(deproject(camera, uv, points[:, 2]), points, atol=1e-9)
        ranges = np.linalg.norm(points, axis=1)
        np.testing.assert_allclose(deproject(camera, uv, ranges, radial=True), points, atol=1e-9)

    @settings(max_examples=60, deadline=None)
    @given(u=st.floats(0, 639), v=st.floats(0, 479), z=st.floats(0.05, 50))
    def test_lift_and_project(self, u: float, v: float, z: float) -> None:
        position = lift(CAMERA, [u, v], z)
        assert position.point[2] == pytest.approx(z)
        np.testing.assert_allclose(CAMERA.project(position.point), [u, v], atol=1e-8)

    @pytest.mark.parametrize("depth", [0.0, -1.0, np.nan, np.inf])
    def test_no_depth_is_nan(self, depth: float) -> None:
        assert np.isnan(deproject(CAMERA, [10.0, 10.0], depth)).all()
        position = lift(CAMERA, [10, 10], depth)
        assert (position.status, position.ok, position.frame_id) == ("none", False, "cam")
        assert np.isnan(position.point).all()
        assert np.isnan(position.covariance).all()

    def test_the_status_of_the_depth_is_passed_on(self) -> None:
        image = np.full((480, 640), 1.0)
        image[:, 320:] = 2.0
        result = depth_at(DepthImage(image), [319.5, 240], CAMERA)
        assert lift(CAMERA, [319.5, 240], result).status == "ambiguous"

    def test_a_pixel_beyond_the_lens_has_no_ray(self) -> None:
        folding = CAMERA.replace(distortion=np.array([-0.4, 0, 0, 0, 0.0]))
        assert lift(folding, [1200, 238], 1.0).status == "no_ray"
        assert intersect_plane(
            folding, [1200, 238], Plane.through([0, 0, 1], [0, 0, 1])
        ).status == ("no_ray")

    def test_unknown_uncertainty_stays_unknown(self) -> None:
        assert np.isnan(lift(CAMERA, [10, 10], 1.0, np.eye(2)).covariance).all()
        assert np.isnan(lift(CAMERA, [10, 10], 1.0, None, ConstantNoise(0.01)).covariance).all()
        ball = lift(CAMERA, [10, 10], 1.0).ellipsoid()
        assert np.isnan(ball.radii).all()

    def test_closed_form_at_the_centre(self) -> None:
        """sigma_x = z sigma_u / fx, sigma_y = z sigma_v / fy, sigma_z: robotics of one line."""
        camera = Camera(640, 480, K)
        position = lift(camera, [322.5, 238.25], 2.0, np.diag([9.0, 4.0]), ConstantNoise(0.02))
        expected = np.diag([(2 * 3 / 611) ** 2, (2 * 2 / 607) ** 2, 0.02**2])
        np.testing.assert_allclose(position.covariance, expected, atol=1e-12)

    def test_the_larger_of_noise_and_spread_counts(self) -> None:
        rng = np.random.default_rng(0)
        image = DepthImage(2.0 + rng.normal(0, 0.01, (480, 640)))
        result = depth_at(image, [320, 240], CAMERA)
        small = lift(CAMERA, [320, 240], result, np.eye(2), ConstantNoise(1e-5))
        large = lift(CAMERA, [320, 240], result, np.eye(2), ConstantNoise(0.1))
        assert small.covariance[2, 2] == pytest.approx(result.spread_m**2)
        assert large.covariance[2, 2] == pytest.approx(0.01)

    @pytest.mark.parametrize("strategy", ["cluster", "plane"])
    def test_a_slope_couples_pixel_and_depth(self, strategy: str) -> None:
        """A pixel beside the meant one reads another depth, and the error bar says so."""
        image = DepthImage(np.tile(1.0 + 0.004 * np.arange(640), (480, 1)))
        result = depth_at(image, [320, 240], CAMERA, options=DepthOptions(strategy))
        blind = depth_at(image, [320, 240], CAMERA, options=DepthOptions("median"))
        steep = lift(CAMERA, [320, 240], result, np.eye(2) * 9, ConstantNoise(0.001))
        assert result.slope[0] == pytest.approx(0.004, rel=0.01)
        readings = max(0.001, result.spread_m)
        assert steep.covariance[2, 2] == pytest.approx(readings**2 + 9 * 0.004**2, rel=0.02)
        assert np.isnan(blind.slope).all()

    def test_noise_models(self) -> None:
        stereo = StereoNoise(600.0, 0.05, 0.1)
        np.testing.assert_allclose(stereo.sigma(np.array([1.0, 2.0])), [1 / 300, 4 / 300])
        flight = TimeOfFlightNoise(0.002, 0.01)
        np.testing.assert_allclose(flight.sigma(np.array([0.0, 1.0])), [0.002, 0.012])
        assert np.isnan(ConstantNoise(0.1).sigma(np.array(np.nan)))
        with pytest.raises(InvalidArgumentError, match="baseline_m must be one finite number"):
            StereoNoise(600.0, 0.0)


class TestPosition:
    def test_moving_keeps_the_status_and_checks_the_frame(self) -> None:
        position = lift(CAMERA, [10, 10], 1.0, np.eye(2), ConstantNoise(0.01))
        move = Transform.from_parts(
            matrix_from_rotation_vector([0, 0, 1]), [1, 2, 3], "base", "cam"
        )
        moved = position.transformed(move)
        assert moved.frame_id == "base"
        np.testing.assert_allclose(moved.point, move.apply(position.point))
        back = moved.transformed(move.inverse())
        np.testing.assert_allclose(back.covariance, position.covariance, atol=1e-12)
        lost = Position.unknown("none", "cam").transformed(move)
        assert (lost.status, lost.frame_id) == ("none", "base")
        with pytest.raises(FrameError, match="pass a transform from 'base'"):
            moved.transformed(move)

    def test_ellipsoid(self) -> None:
        position = Position(np.zeros(3), np.diag([4.0, 1.0, 9.0]))
        ball = position.ellipsoid(0.9)
        np.testing.assert_allclose(ball.radii, np.array([3, 2, 1]) * np.sqrt(chi2.ppf(0.9, 3)))
        assert np.linalg.det(ball.axes) == pytest.approx(1.0)

    @pytest.mark.parametrize("degrees", [2, 3])
    @pytest.mark.parametrize("probability", [0.01, 0.5, 0.9, 0.99, 0.9999])
    def test_quantiles_are_those_of_scipy(self, degrees: int, probability: float) -> None:
        assert chi_squared_quantile(probability, degrees) == pytest.approx(
            chi2.ppf(probability, degrees), rel=1e-9
        )

    def test_bad_values(self) -> None:
        with pytest.raises(InvalidArgumentError, match="status must be one of"):
            Position(np.zeros(3), np.eye(3), "fine")
        with pytest.raises(InvalidArgumentError, match="probability between 0 and 1"):
            chi_squared_quantile(1.0, 3)


class TestPlane:
    @settings(max_examples=80, deadline=None)
    @given(
        u=st.floats(20, 620),
        v=st.floats(20, 460),
        z=st.floats(0.2, 5),
        a=st.floats(-0.8, 0.8),
        b=st.floats(-0.8, 0.8),
    )
    def test_the_point_is_on_the_plane_and_under_the_pixel(
        self, u: float, v: float, z: float, a: float, b: float
    ) -> None:
        plane = Plane.through([0, 0, z], [a, b, -1.0])
        position = intersect_plane(CAMERA, [u, v], plane)
        if position.ok:
            assert plane.distance(position.point) == pytest.approx(0, abs=1e-9)
            np.testing.assert_allclose(CAMERA.project(position.point), [u, v], atol=1e-7)

    def test_a_table_in_the_frame_of_the_robot(self) -> None:
        """A camera 1 m above the table, looking straight down."""
        base_from_camera = Transform.from_parts(
            np.diag([1.0, -1.0, -1.0]), [0.5, 0.0, 1.7], "base", "cam"
        )
        table = Plane.horizontal(0.7, "base")
        position = intersect_plane(
            CAMERA, [400, 300], table, base_from_camera.inverse(), np.eye(2)
        )
        on_table = position.transformed(base_from_camera)
        assert on_table.point[2] == pytest.approx(0.7)
        assert on_table.frame_id == "base"
        # Errors run along an exact plane, never out of it.
        assert on_table.covariance[2, 2] == pytest.approx(0, abs=1e-12)
        assert on_table.covariance[0, 0] > 1e-7

    def test_parallel_and_behind(self) -> None:
        ground = Plane.through([0, 1.5, 0], [0, -1, 0])
        assert intersect_plane(CAMERA, [322.5, 238.25], ground).status == "parallel"
        assert intersect_plane(CAMERA, [322.5, 100], ground).status == "behind"
        below = intersect_plane(CAMERA, [322.5, 400], ground)
        assert below.ok
        assert np.isnan(below.covariance).all()

    @settings(max_examples=60, deadline=None)
    @given(seed=st.integers(0, 10**6))
    def test_moving_a_plane_moves_its_points(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        plane = Plane.through(rng.normal(size=3), rng.normal(size=3))
        move = Transform.from_parts(
            matrix_from_rotation_vector(rng.normal(size=3)), rng.normal(size=3)
        )
        points = rng.normal(size=(5, 3))
        np.testing.assert_allclose(
            plane.transformed(move).distance(move.apply(points)), plane.distance(points), atol=1e-9
        )

    def test_frames_must_fit(self) -> None:
        with pytest.raises(FrameError, match="pass camera_from_plane="):
            intersect_plane(CAMERA, [1, 1], Plane.horizontal(0.7, "base"))
        with pytest.raises(FrameError, match="pass a transform from 'base'"):
            intersect_plane(
                CAMERA, [1, 1], Plane.horizontal(0.7, "base"), Transform.identity("cam", "map")
            )
        with pytest.raises(InvalidArgumentError, match="normal must not be zero"):
            Plane(np.zeros(3), 1.0)


class TestPlaneFit:
    def cloud(self, outliers: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        normal = np.array([0.2, -0.7, -0.6])
        normal /= np.linalg.norm(normal)
        tangents = np.linalg.svd(normal[None])[2][1:]
        points = rng.uniform(-0.5, 0.5, (600, 2)) @ tangents + [0.1, 0.3, 1.5]
        points += rng.normal(0, 0.002, (600, 1)) * normal
        wild = rng.random(600) < outliers
        points[wild] += rng.uniform(-1, 1, (wild.sum(), 3))
        return points, normal

    @pytest.mark.parametrize("outliers", [0.0, 0.3, 0.6])
    def test_it_finds_the_plane(self, outliers: float) -> None:
        points, normal = self.cloud(outliers, np.random.default_rng(0))
        fit = fit_plane(points, 0.008)
        assert abs(fit.plane.normal @ normal) > np.cos(np.deg2rad(0.3))
        assert fit.plane.offset_m <= 0
        assert fit.rms_m == pytest.approx(0.002, rel=0.4)
        assert fit.inliers.mean() == pytest.approx(1 - outliers, abs=0.06)

    def test_its_covariance_is_the_scatter_of_fits(self) -> None:
        rng = np.random.default_rng(1)
        base, _ = self.cloud(0.0, np.random.default_rng(0))
        fits = [fit_plane(base + rng.normal(0, 0.002, base.shape), 0.05).plane for _ in range(150)]
        drawn = np.array([[*fit.normal, fit.offset_m] for fit in fits])
        expected = np.sqrt(np.diag(np.cov(drawn.T)))
        # The base cloud's own noise is in the residuals but not in the scatter.
        mine = np.sqrt(np.diag(fits[0].covariance)) / np.sqrt(2)
        np.testing.assert_allclose(mine, expected, rtol=0.25)

    def test_from_a_depth_image(self) -> None:
        camera = Camera(640, 480, K)
        rows, columns = np.mgrid[:480, :640].astype(float)
        rays = camera.ray(np.stack([columns, rows], -1))
        rays = rays / rays[..., 2:]
        normal = np.array([0.0, -0.8, -0.6])
        with np.errstate(divide="ignore"):
            depth = -0.9 / (rays @ normal)
        depth[(depth < 0) | (depth > 4)] = np.nan
        fit = plane_from_depth(camera, DepthImage(depth))
        np.testing.assert_allclose(fit.plane.normal, normal, atol=1e-6)
        assert fit.plane.offset_m == pytest.approx(-0.9)
        part = plane_from_depth(camera, DepthImage(depth), (100, 300, 200, 100))
        np.testing.assert_allclose(part.plane.normal, normal, atol=1e-6)

    def test_bad_clouds(self) -> None:
        line = np.outer(np.linspace(0, 1, 50), [1, 2, 3.0])
        with pytest.raises(DegenerateError, match="line"):
            fit_plane(line)
        with pytest.raises(TooFewViewsError, match="at least 3 points"):
            fit_plane([[0, 0, 1], [np.nan, 0, 0], [1, 0, 1]])
        with pytest.raises(DegenerateError, match="no plane holds"):
            fit_plane(np.random.default_rng(0).uniform(-1, 1, (300, 3)))
        with pytest.raises(InvalidArgumentError, match=r"shape \(n, 3\)"):
            fit_plane([1.0, 2.0, 3.0])
        with pytest.raises(InvalidArgumentError, match="does not meet the image"):
            plane_from_depth(Camera(10, 10, K), DepthImage(np.ones((10, 10))), (50, 50, 3, 3))


class TestMesh:
    def test_a_box(self, tmp_path: object) -> None:
        trimesh = pytest.importorskip("trimesh", reason="trimesh is not installed")
        pytest.importorskip("rtree", reason="rtree, which trimesh's rays need, is not installed")
        box = trimesh.creation.box((0.4, 0.4, 0.4))
        path = f"{tmp_path}/box.stl"
        box.export(path)
        move = Transform.from_parts(np.eye(3), [0.0, 0.0, 1.2])
        hit = intersect_mesh(CAMERA, [330, 240], load_mesh(path), move, np.eye(2))
        assert hit.point[2] == pytest.approx(1.0)
        assert hit.covariance[2, 2] == pytest.approx(0, abs=1e-12)
        flat = intersect_plane(CAMERA, [330, 240], Plane.through([0, 0, 1], [0, 0, 1]))
        np.testing.assert_allclose(hit.point, flat.point, atol=1e-6)
        assert intersect_mesh(CAMERA, [5, 5], box, move).status == "miss"
        box.apply_scale(1000.0).export(path)
        drawn_in_mm = load_mesh(path, metres_per_unit=0.001)
        again = intersect_mesh(CAMERA, [330, 240], drawn_in_mm, move)
        np.testing.assert_allclose(again.point, hit.point, atol=1e-6)
        box.apply_scale(0.001)
        behind = Transform.from_parts(np.eye(3), [0.0, 0.0, -1.2])
        assert intersect_mesh(CAMERA, [330, 240], box, behind).status == "miss"

    def test_files_that_are_no_mesh(self, tmp_path: object) -> None:
        pytest.importorskip("trimesh", reason="trimesh is not installed")
        path = pathlib.Path(str(tmp_path)) / "points.ply"
        path.write_text(
            "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\n"
            "property float z\nend_header\n0 0 0\n"
        )
        with pytest.raises(InvalidArgumentError, match="must hold triangles, it has none"):
            load_mesh(str(path))
        with pytest.raises(InvalidArgumentError, match="cannot be read as a mesh"):
            load_mesh(str(path.with_name("nothing.stl")))

    def test_the_missing_library_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "trimesh", None)
        with pytest.raises(MissingExtraError, match="run: pip install trimesh rtree"):
            load_mesh("box.stl")

    def test_something_else(self) -> None:
        with pytest.raises(InvalidArgumentError, match=r"must be a trimesh\.Trimesh, got str"):
            intersect_mesh(CAMERA, [1, 1], "box.stl")
