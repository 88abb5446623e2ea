"""Depth images of every encoding, and the depth at a pixel by every strategy."""

from __future__ import annotations

import array
import importlib.util
import pathlib
import types

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from molmo_calibration import (
    Camera,
    DepthImage,
    DepthOptions,
    InvalidArgumentError,
    Transform,
    arrays,
    deproject,
    depth_at,
    depth_from_array,
    depth_from_bytes,
    depth_from_message,
    lift,
)
from molmo_calibration.depth.depth_result import DepthResult
from molmo_calibration.depth.strategies import STRATEGIES, Readings
from molmo_calibration.geometry.rotations import matrix_from_rotation_vector

K = np.array([[300.0, 0.0, 159.5], [0.0, 300.0, 119.5], [0.0, 0.0, 1.0]])


def _benchmark() -> types.ModuleType:
    path = pathlib.Path(__file__).parents[2] / "benchmarks" / "calibration_depth.py"
    spec = importlib.util.spec_from_file_location("calibration_depth_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestEncodings:
    @settings(max_examples=60, deadline=None)
    @given(
        encoding=st.sampled_from(["16UC1", "mono16", "32FC1", "64FC1"]),
        big=st.booleans(),
        padding=st.integers(0, 9),
        width=st.integers(1, 6),
        height=st.integers(1, 5),
        trimmed=st.booleans(),
    )
    def test_bytes(
        self, encoding: str, big: bool, padding: int, width: int, height: int, trimmed: bool
    ) -> None:
        kinds = {"16UC1": "u2", "mono16": "u2", "32FC1": "f4", "64FC1": "f8"}
        kind = np.dtype(kinds[encoding]).newbyteorder(">" if big else "<")
        readings = (np.arange(width * height).reshape(height, width) + 1).astype(kind)
        step = width * kind.itemsize + padding
        rows = b"".join(row.tobytes() + b"\x7f" * padding for row in readings)
        data = rows[: len(rows) - padding] if trimmed else rows
        depth = depth_from_bytes(data, width, height, encoding, step, big)
        unit = 0.001 if kind.kind == "u" else 1.0
        np.testing.assert_allclose(depth.metres, readings.astype(float) * unit, rtol=1e-6)
        assert depth.size == (width, height)

    def test_messages_of_rclpy_and_rosbags(self) -> None:
        readings = np.array([[0, 1500], [700, 65535]], dtype=np.uint16)
        fields = {"width": 2, "height": 2, "encoding": "16UC1", "step": 4, "is_bigendian": 0}
        for data in (array.array("B", readings.tobytes()), readings.view(np.uint8).ravel()):
            message = types.SimpleNamespace(**fields, data=data)
            metres = depth_from_message(message).metres
            assert np.isnan(metres[0, 0])
            np.testing.assert_allclose(metres[[0, 1, 1], [1, 0, 1]], [1.5, 0.7, 65.535])

    def test_every_kind_of_nothing_is_nan(self) -> None:
        metres = depth_from_array(np.array([[0.0, np.nan, np.inf, -np.inf, -1.0, 2.0]])).metres
        assert np.isnan(metres[0, :5]).all()
        assert metres[0, 5] == 2.0

    def test_units(self) -> None:
        raw = np.array([[1000]], dtype=np.int32)
        assert depth_from_array(raw, metres_per_unit=1e-4).metres[0, 0] == pytest.approx(0.1)
        with pytest.raises(InvalidArgumentError, match="pass metres_per_unit="):
            depth_from_array(raw)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"encoding": "rgb8"}, "is this the colour image"),
            ({"encoding": "16SC1"}, "64FC1, got '16SC1'$"),
            ({"step": 1}, "rows of at least 4 bytes, got step 1"),
            ({"data": b"1234"}, "and 4 bytes"),
            ({"width": 0}, "a 0 x 2 image"),
        ],
    )
    def test_bad_messages(self, change: dict, words: str) -> None:
        fields = {
            "width": 2,
            "height": 2,
            "encoding": "16UC1",
            "step": 4,
            "is_bigendian": 0,
            "data": b"12345678",
        }
        with pytest.raises(InvalidArgumentError, match=words):
            depth_from_message(types.SimpleNamespace(**(fields | change)))

    def test_bad_images(self) -> None:
        with pytest.raises(InvalidArgumentError, match="lacks width, height"):
            depth_from_message(object())
        with pytest.raises(InvalidArgumentError, match="not empty"):
            DepthImage(np.empty((0, 0)))
        with pytest.raises(InvalidArgumentError, match="takes float metres"):
            DepthImage(np.ones((2, 2), dtype=np.uint16))
        with pytest.raises(InvalidArgumentError, match=r"\(height, width\)"):
            DepthImage(np.ones((2, 2, 3)))


class TestStrategies:
    @pytest.mark.parametrize("strategy", ["pixel", "median", "cluster", "plane"])
    def test_a_wall(self, strategy: str) -> None:
        result = depth_at(
            DepthImage(np.full((30, 40), 1.25)), [20, 15], options=DepthOptions(strategy)
        )
        assert result.status == "ok"
        assert result.z_m == pytest.approx(1.25)
        assert result.samples >= 1
        assert np.isnan(result.spread_m) == (strategy == "pixel")

    @pytest.mark.parametrize("strategy", ["pixel", "median", "cluster", "plane"])
    def test_nothing_stays_nothing(self, strategy: str) -> None:
        options = DepthOptions(strategy)
        result = depth_at(DepthImage(np.full((30, 40), np.nan)), [20, 15], options=options)
        assert (result.status, result.samples) == ("none", 0)
        assert np.isnan(result.z_m)
        outside = depth_at(DepthImage(np.ones((30, 40))), [200, 15], options=options)
        assert outside.status == "none"
        far = depth_at(DepthImage(np.full((30, 40), 50.0)), [20, 15], options=options)
        assert far.status == "out_of_range"
        assert np.isnan(far.z_m)

    def test_two_surfaces_are_a_question(self) -> None:
        depth = np.full((30, 40), 1.0)
        depth[:, 20:] = 2.0
        result = depth_at(DepthImage(depth), [19.5, 15])
        assert result.status == "ambiguous"
        assert np.isnan(result.z_m)
        assert [round(c.z_m, 3) for c in result.candidates] == [1.0, 2.0]
        assert result.candidates[0].samples > 10
        assert result.candidates[0].distance_px == pytest.approx(0.5)

    def test_well_inside_either_side_is_no_question(self) -> None:
        depth = np.full((60, 80), 1.0)
        depth[:, 40:] = 2.0
        assert depth_at(DepthImage(depth), [36, 30]).z_m == pytest.approx(1.0)
        assert depth_at(DepthImage(depth), [50, 30]).z_m == pytest.approx(2.0)

    def test_the_wall_right_beside_something_nearer_is_a_question(self) -> None:
        depth = np.full((60, 80), 1.0)
        depth[:, 40:] = 2.0
        assert depth_at(DepthImage(depth), [44, 30]).status == "ambiguous"

    def test_one_hole_is_bridged(self) -> None:
        depth = np.full((60, 80), 1.0)
        depth[28:33, 38:43] = np.nan
        result = depth_at(DepthImage(depth), [40, 30])
        assert (result.status, result.z_m) == ("ok", pytest.approx(1.0))
        assert (
            depth_at(DepthImage(depth), [40, 30], options=DepthOptions("pixel")).status == "none"
        )

    def test_a_steep_table_is_one_surface(self) -> None:
        """80 degrees from facing: depth runs 9 mm per pixel, the depth at the pixel is exact."""
        camera = Camera(320, 240, K)
        rows, columns = np.mgrid[:240, :320].astype(float)
        rays = np.stack([(columns - 159.5) / 300, (rows - 119.5) / 300, np.ones((240, 320))], -1)
        normal = np.array([0.0, np.sin(np.deg2rad(80)), -np.cos(np.deg2rad(80))])
        with np.errstate(divide="ignore"):
            depth = -0.12 / -(rays @ normal)
        depth[depth < 0] = np.nan
        noisy = depth + np.random.default_rng(0).normal(0, 0.001, depth.shape)
        for uv in ([160, 230], [200, 210], [100, 220]):
            result = depth_at(DepthImage(noisy), uv, camera, options=DepthOptions("plane"))
            assert result.status == "ok"
            assert result.z_m == pytest.approx(depth[uv[1], uv[0]], abs=0.002)
            slope = (depth[uv[1] + 1, uv[0]] - depth[uv[1] - 1, uv[0]]) / 2
            assert result.slope[1] == pytest.approx(slope, rel=0.15, abs=1e-4)

    def test_flying_pixels_are_not_a_surface(self) -> None:
        depth = np.full((60, 80), np.nan)
        rng = np.random.default_rng(0)
        depth[25:36, 35:46] = rng.uniform(1.0, 3.0, (11, 11))
        result = depth_at(DepthImage(depth), [40, 30])
        assert result.status in ("ambiguous", "none")

    def test_benchmark_promises(self) -> None:
        """Discs of 8 pixels and more: at most 2 % wrong. Smaller ones: a question, not a number."""
        study = _benchmark()
        for radius in (3, 5, 8, 12):
            for offset in (0, 4, 5.7):
                right, wrong, _ = study.rates(DepthOptions(), radius, offset, 60, seed=1)
                assert wrong <= 0.02
                if radius >= 8 and offset <= 4:
                    assert right >= 0.97
        _, naive, _ = study.rates(DepthOptions("median", window_px=7), 5, 4, 60, seed=1)
        assert naive > 0.9

    def test_bad_options(self) -> None:
        with pytest.raises(InvalidArgumentError, match="strategy must be one of"):
            DepthOptions("guess")
        with pytest.raises(InvalidArgumentError, match="guard_px must be one finite number"):
            DepthOptions(guard_px=float("nan"))
        with pytest.raises(InvalidArgumentError, match="min_m must be below max_m"):
            DepthOptions(min_m=3, max_m=2)
        with pytest.raises(InvalidArgumentError, match="uv must be finite"):
            depth_at(DepthImage(np.ones((3, 3))), [np.nan, 1])
        with pytest.raises(InvalidArgumentError, match="together"):
            depth_at(DepthImage(np.ones((3, 3))), [1, 1], depth_camera=Camera(3, 3, K))
        with pytest.raises(InvalidArgumentError, match="radial depth needs camera="):
            depth_at(DepthImage(np.ones((3, 3)), radial=True), [1, 1])


class TestGeometry:
    def test_radial_depth_becomes_depth_along_the_axis(self) -> None:
        camera = Camera(320, 240, K)
        rows, columns = np.mgrid[:240, :320].astype(float)
        rays = camera.ray(np.stack([columns, rows], -1))
        wall = 2.0 / rays[..., 2]
        result = depth_at(DepthImage(wall, radial=True), [10, 10], camera)
        assert result.z_m == pytest.approx(2.0)
        assert lift(camera, [10, 10], result).point[2] == pytest.approx(2.0)
        with pytest.raises(InvalidArgumentError, match="along the axis already"):
            lift(camera, [10, 10], result, radial=True)
        along = float(wall[10, 10])
        assert lift(camera, [10, 10], along, radial=True).point[2] == pytest.approx(2.0)

    def test_another_resolution(self) -> None:
        """A ramp seen at half the size gives the same depth at the same place."""
        ramp = np.tile(1.0 + np.arange(160) * 0.002, (120, 1))
        large = np.tile(1.0 + (np.arange(320) - 0.5) / 2 * 0.002, (240, 1))
        options = DepthOptions("plane")
        for uv in ([100, 100], [201, 57]):
            small = depth_at(DepthImage(ramp), uv, image_size=(320, 240), options=options)
            assert small.z_m == pytest.approx(large[uv[1], uv[0]], abs=1e-4)
            assert small.slope[0] == pytest.approx(0.001, rel=1e-2)

    def test_another_shape_is_not_registered(self) -> None:
        """640 x 480 depth of its own camera beside a 1280 x 720 image: wrong numbers, if read."""
        depth = DepthImage(np.ones((480, 640)))
        with pytest.raises(InvalidArgumentError, match="use the driver's aligned depth"):
            depth_at(depth, [600, 300], image_size=(1280, 720))
        # 853.33 x 480, rounded to whole pixels, is the same shape.
        wide = DepthImage(np.ones((480, 853)))
        assert depth_at(wide, [600, 300], image_size=(1280, 720)).status == "ok"

    def test_unregistered_depth(self) -> None:
        """A box before a wall, seen by a depth camera 5 cm beside and turned by 2 degrees."""
        colour = Camera(320, 240, K, np.array([0.05, -0.02, 0.001, 0.0005, 0.0]), "plumb_bob")
        depth_k = np.array([[250.0, 0, 155.0], [0, 252.0, 118.0], [0, 0, 1]])
        beside = Camera(320, 240, depth_k)
        move = Transform.from_parts(
            matrix_from_rotation_vector([0.0, np.deg2rad(2), 0.01]), [0.05, 0.002, -0.01]
        )
        image = _render(beside, move)
        for uv, truth in (
            ([160, 120], 0.7),
            ([206, 120], 0.7),
            ([130, 100], 0.7),
            ([20, 20], 1.6),
            ([290, 200], 1.6),
        ):
            result = depth_at(image, uv, colour, depth_camera=beside, camera_from_depth=move)
            assert result.status == "ok", uv
            assert result.z_m == pytest.approx(truth, abs=0.004)
        # Reading the depth image at the same pixel, as if it were registered, is wrong here.
        naive = depth_at(image, [206, 120])
        assert naive.status != "ok" or abs(naive.z_m - 0.7) > 0.1

    def test_unregistered_agrees_with_realsense(self) -> None:
        rs = pytest.importorskip("pyrealsense2", exc_type=ImportError)
        colour, beside = Camera(320, 240, K), Camera(320, 240, K)
        move = Transform.from_parts(np.eye(3), [0.05, 0.0, 0.0])
        image = _render(beside, move)
        intrinsics = rs.intrinsics()
        intrinsics.width, intrinsics.height = 320, 240
        intrinsics.fx = intrinsics.fy = 300.0
        intrinsics.ppx, intrinsics.ppy = 159.5, 119.5
        intrinsics.model = rs.distortion.none
        intrinsics.coeffs = [0.0] * 5
        point = deproject(
            colour,
            [160.0, 120.0],
            depth_at(image, [160, 120], colour, depth_camera=beside, camera_from_depth=move).z_m,
        )
        seen = rs.rs2_project_point_to_pixel(intrinsics, move.inverse().apply(point).tolist())
        lifted = rs.rs2_deproject_pixel_to_point(
            intrinsics, seen, float(image.metres[round(seen[1]), round(seen[0])])
        )
        np.testing.assert_allclose(move.apply(lifted), point, atol=2e-3)

    def test_a_depth_image_of_the_wrong_size(self) -> None:
        camera = Camera(320, 240, K)
        with pytest.raises(InvalidArgumentError, match="depth camera's size"):
            depth_at(
                DepthImage(np.ones((3, 3))),
                [1, 1],
                camera,
                depth_camera=camera,
                camera_from_depth=Transform.identity(),
            )


def _render(depth_camera: Camera, colour_from_depth: Transform) -> DepthImage:
    """Depth image of a wall at z = 1.6 m and a box front at 0.7 m of the colour camera."""
    width, height = depth_camera.image_size
    rows, columns = np.mgrid[:height, :width].astype(float)
    rays = depth_camera.ray(np.stack([columns, rows], -1))
    rays = rays / rays[..., 2:]
    turned = colour_from_depth.rotate_vectors(rays)
    origin = colour_from_depth.translation
    depth = (1.6 - origin[2]) / turned[..., 2]
    front = (0.7 - origin[2]) / turned[..., 2]
    hit = origin + turned * front[..., None]
    on_box = (np.abs(hit[..., 0]) < 0.13) & (np.abs(hit[..., 1]) < 0.12)
    return DepthImage(np.where(on_box, front, depth))


class TestSixteenBits:
    def test_a_slanted_plane_in_whole_millimetres_is_flat(self) -> None:
        """Rounded as a 16-bit camera does; the spread is that of the rounding."""
        camera = Camera(320, 240, K)
        turn = cv2.Rodrigues(np.array([0.3, 0.5, 0.0]))[0]
        rows, columns = np.mgrid[:240, :320].astype(float)
        rays = camera.ray(np.stack([columns, rows], -1))
        rays = rays / rays[..., 2:]
        exact = (turn[:, 2] @ np.array([0, 0, 0.8])) / (rays @ turn[:, 2])
        rounded = depth_from_array(np.round(exact * 1000).astype(np.uint16))
        result = depth_at(rounded, [160, 120])
        assert result.status == "ok"
        assert result.z_m == pytest.approx(exact[120, 160], abs=6e-4)
        assert 0 < result.spread_m < 0.001


class TestOneOwner:
    def test_a_strategy_of_the_table_is_an_option(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def farthest(readings: Readings, options: DepthOptions) -> DepthResult:
            return DepthResult(float(readings.z.max()), 0.0, len(readings.z), "ok")

        with pytest.raises(InvalidArgumentError, match="pixel, median, cluster, plane, got"):
            DepthOptions("farthest")
        monkeypatch.setitem(STRATEGIES, "farthest", farthest)
        image = DepthImage(np.where(np.arange(320) < 161, 0.5, 2.0) * np.ones((240, 1)))
        assert depth_at(image, [160, 120], options=DepthOptions("farthest")).z_m == 2.0

    def test_a_pixel_is_checked_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        checked = []
        convert = arrays._to_float

        def counted(value: object, name: str) -> object:
            checked.append(name)
            return convert(value, name)

        image, options = DepthImage(np.full((240, 320), 0.5)), DepthOptions()
        monkeypatch.setattr(arrays, "_to_float", counted)
        depth_at(image, [160, 120], options=options, image_size=(640, 480))
        assert checked == ["uv"]
