"""Projection and rays of every lens model: their own inverse, and what others compute."""

from __future__ import annotations

import json
import pathlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from molmo_calibration import (
    Camera,
    Roi,
)

K = np.array([[611.0, 0.0, 322.5], [0.0, 607.0, 238.25], [0.0, 0.0, 1.0]])
GOLDEN = json.loads((pathlib.Path(__file__).parent / "data" / "golden.json").read_text())


def opencv_pixels(camera: Camera, points: np.ndarray) -> np.ndarray:
    zero = np.zeros(3)
    if camera.model == "equidistant":
        shaped = np.ascontiguousarray(points[None])
        return cv2.fisheye.projectPoints(shaped, zero, zero, camera.matrix, camera.distortion)[0][
            0
        ]
    lens = camera.distortion if len(camera.distortion) else np.zeros(5)
    return cv2.projectPoints(points, zero, zero, camera.matrix, lens)[0][:, 0]


class TestAgainstOpenCv:
    def test_project(self, camera: Camera, points: np.ndarray) -> None:
        np.testing.assert_allclose(
            camera.project(points), opencv_pixels(camera, points), atol=1e-9
        )

    def test_ray(self, camera: Camera, points: np.ndarray) -> None:
        pixels = opencv_pixels(camera, points)
        expected = points / np.linalg.norm(points, axis=1, keepdims=True)
        np.testing.assert_allclose(camera.ray(pixels), expected, atol=1e-11)

    def test_rectify(self, camera: Camera, points: np.ndarray) -> None:
        turn = cv2.Rodrigues(np.array([0.02, -0.03, 0.01]))[0]
        p = np.array([[580.0, 0, 318, -40.0], [0, 582.0, 240, 0], [0, 0, 1, 0]])
        camera = camera.replace(rectification=turn, projection=p)
        pixels = camera.project(points)
        ours = camera.rectify(pixels)
        module = cv2.fisheye if camera.model == "equidistant" else cv2
        if camera.model == "equidistant":
            theirs = module.undistortPoints(
                pixels[:, None], camera.matrix, camera.distortion, R=turn, P=p[:, :3]
            )
        else:
            criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-14)
            lens = camera.distortion if len(camera.distortion) else np.zeros(5)
            # OpenCV 4 has its own name for the variant that iterates until it has converged.
            undistort = getattr(cv2, "undistortPointsIter", cv2.undistortPoints)
            theirs = undistort(
                pixels[:, None], camera.matrix, lens, R=turn, P=p[:, :3], criteria=criteria
            )
        np.testing.assert_allclose(ours, theirs[:, 0], atol=1e-5)
        np.testing.assert_allclose(camera.unrectify(ours), pixels, atol=1e-9)
        flat = camera.rectified().project(points @ turn.T)
        np.testing.assert_allclose(flat, ours, atol=1e-9)


class TestAgainstOthers:
    @pytest.mark.parametrize("name", ["none", "plumb_bob5", "equidistant"])
    def test_realsense(self, name: str, cameras: dict[str, Camera], points: np.ndarray) -> None:
        rs = pytest.importorskip("pyrealsense2", exc_type=ImportError)
        camera = cameras[name]
        kinds = {
            "none": rs.distortion.none,
            "plumb_bob5": rs.distortion.brown_conrady,
            "equidistant": rs.distortion.kannala_brandt4,
        }
        intrinsics = rs.intrinsics()
        intrinsics.width, intrinsics.height = 640, 480
        intrinsics.fx, intrinsics.fy = camera.matrix[0, 0], camera.matrix[1, 1]
        intrinsics.ppx, intrinsics.ppy = camera.matrix[:2, 2]
        intrinsics.model = kinds[name]
        intrinsics.coeffs = [*camera.distortion, *np.zeros(5 - len(camera.distortion))]
        theirs = np.array([rs.rs2_project_point_to_pixel(intrinsics, p.tolist()) for p in points])
        np.testing.assert_allclose(camera.project(points), theirs, atol=1e-4)
        lifted = np.array(
            [
                rs.rs2_deproject_pixel_to_point(intrinsics, pixel.tolist(), float(point[2]))
                for pixel, point in zip(theirs, points, strict=True)
            ]
        )
        # Single precision, and a fixed number of steps for the inverse.
        np.testing.assert_allclose(lifted, points, atol=1e-6)

    @pytest.mark.parametrize(
        ("name", "theirs", "order"),
        [
            ("rational8", "FULL_OPENCV", [0, 1, 2, 3, 4, 5, 6, 7]),
            ("equidistant", "OPENCV_FISHEYE", [0, 1, 2, 3]),
            ("plumb_bob4", "OPENCV", [0, 1, 2, 3]),
        ],
    )
    def test_colmap(
        self,
        name: str,
        theirs: str,
        order: list[int],
        cameras: dict[str, Camera],
        points: np.ndarray,
    ) -> None:
        pycolmap = pytest.importorskip("pycolmap", exc_type=ImportError)
        camera = cameras[name]
        focal = [K[0, 0], K[1, 1], K[0, 2] + 0.5, K[1, 2] + 0.5]
        reference = pycolmap.Camera(
            model=theirs, width=640, height=480, params=[*focal, *camera.distortion[order]]
        )
        # COLMAP's pixels start at the corner, ours at the centre of the first pixel.
        pixels = np.asarray(reference.img_from_cam(points)) - 0.5
        np.testing.assert_allclose(camera.project(points), pixels, atol=1e-10)

    @pytest.mark.parametrize("case", GOLDEN["mrcal"], ids=lambda case: case["model"])
    def test_mrcal(self, case: dict) -> None:
        numbers = np.array(case["parameters"])
        matrix = np.array([[numbers[0], 0, numbers[2]], [0, numbers[1], numbers[3]], [0, 0, 1]])
        model = "plumb_bob" if len(numbers) == 9 else "rational_polynomial"
        camera = Camera(640, 480, matrix, numbers[4:], model)
        np.testing.assert_allclose(camera.project(GOLDEN["points"]), case["pixels"], atol=1e-10)
        np.testing.assert_allclose(camera.ray(case["pixels"]), case["rays"], atol=1e-10)

    def test_image_geometry_with_roi_and_binning(self) -> None:
        case = GOLDEN["image_geometry"]
        camera = Camera(
            640,
            480,
            np.reshape(case["K"], (3, 3)),
            np.array(case["D"]),
            "plumb_bob",
            np.reshape(case["R"], (3, 3)),
            np.reshape(case["P"], (3, 4)),
            Roi(*case["roi"]),
            (2, 2),
        )
        assert camera.image_size == (200, 180)
        rectified = camera.rectify(case["raw"])
        # Its inverse stops after five steps.
        np.testing.assert_allclose(rectified, case["rectified"], atol=1e-4)
        rays = camera.rectified().ray(case["rectified"])
        np.testing.assert_allclose(rays, case["rectified_rays"], atol=1e-12)


def pixels_inside(margin: int = 0) -> st.SearchStrategy[np.ndarray]:
    low, high = margin, 1 - margin / 640
    return hnp.arrays(np.float64, (20, 2), elements=st.floats(low / 640, high))


class TestInverses:
    @settings(max_examples=40, deadline=None)
    @given(
        where=pixels_inside(),
        name=st.sampled_from(
            [
                "none",
                "plumb_bob4",
                "plumb_bob5",
                "rational8",
                "rational12",
                "rational14",
                "equidistant",
            ]
        ),
        distance=st.floats(0.01, 100),
    )
    def test_project_undoes_ray(self, where: np.ndarray, name: str, distance: float) -> None:
        from_name = _camera(name)
        uv = where * [640, 480] - 0.5
        back = from_name.project(from_name.ray(uv) * distance)
        np.testing.assert_allclose(back, uv, atol=1e-8)

    @settings(max_examples=150, deadline=None)
    @given(
        radial=hnp.arrays(np.float64, 3, elements=st.floats(-0.5, 0.5)),
        tangential=hnp.arrays(np.float64, 2, elements=st.floats(-0.01, 0.01)),
        where=hnp.arrays(np.float64, (30, 2), elements=st.floats(-1.2, 1.2)),
    )
    def test_ray_undoes_project_inside_the_valid_region(
        self, radial: np.ndarray, tangential: np.ndarray, where: np.ndarray
    ) -> None:
        lens = [radial[0], radial[1], *tangential, radial[2]]
        camera = Camera(640, 480, K, np.array(lens), "plumb_bob")
        rays = np.column_stack([where, np.ones(len(where))])
        pixels = camera.project(rays)
        seen = np.isfinite(pixels).all(axis=1)
        expected = rays[seen] / np.linalg.norm(rays[seen], axis=1, keepdims=True)
        np.testing.assert_allclose(camera.ray(pixels[seen]), expected, atol=1e-7)

    @settings(max_examples=80, deadline=None)
    @given(
        radial=hnp.arrays(np.float64, 6, elements=st.floats(-0.4, 0.4)),
        small=hnp.arrays(np.float64, 6, elements=st.floats(-0.01, 0.01)),
        tilt=hnp.arrays(np.float64, 2, elements=st.floats(-0.05, 0.05)),
        count=st.sampled_from([8, 12, 14]),
        where=hnp.arrays(np.float64, (30, 2), elements=st.floats(-1.2, 1.2)),
    )
    def test_any_rational_lens_has_its_inverse(
        self,
        radial: np.ndarray,
        small: np.ndarray,
        tilt: np.ndarray,
        count: int,
        where: np.ndarray,
    ) -> None:
        lens = np.concatenate([radial[:2], small[:2], radial[2:], small[2:], tilt])[:count]
        camera = Camera(640, 480, K, lens, "rational_polynomial")
        rays = np.column_stack([where, np.ones(len(where))])
        pixels = camera.project(rays)
        seen = np.isfinite(pixels).all(axis=1)
        expected = rays[seen] / np.linalg.norm(rays[seen], axis=1, keepdims=True)
        np.testing.assert_allclose(camera.ray(pixels[seen]), expected, atol=1e-7)

    @settings(max_examples=60, deadline=None)
    @given(
        lens=hnp.arrays(np.float64, 4, elements=st.floats(-0.1, 0.1)),
        angles=hnp.arrays(np.float64, 30, elements=st.floats(0, 3.1)),
        turns=hnp.arrays(np.float64, 30, elements=st.floats(-3.1, 3.1)),
    )
    def test_fisheye_sees_beyond_ninety_degrees(
        self, lens: np.ndarray, angles: np.ndarray, turns: np.ndarray
    ) -> None:
        camera = Camera(640, 480, K, lens, "equidistant")
        rays = np.column_stack(
            [np.sin(angles) * np.cos(turns), np.sin(angles) * np.sin(turns), np.cos(angles)]
        )
        pixels = camera.project(rays)
        seen = np.isfinite(pixels).all(axis=1)
        np.testing.assert_allclose(camera.ray(pixels[seen]), rays[seen], atol=1e-7)

    def test_undistort_and_distort(self, camera: Camera, points: np.ndarray) -> None:
        raw = camera.project(points)
        ideal = camera.undistort(raw)
        straight = points @ K.T
        np.testing.assert_allclose(ideal, straight[:, :2] / straight[:, 2:], atol=1e-8)
        np.testing.assert_allclose(camera.distort(ideal), raw, atol=1e-8)

    def test_jacobian_is_the_derivative(self, camera: Camera, points: np.ndarray) -> None:
        step = 1e-6
        numeric = np.stack(
            [
                (camera.project(points + step * e) - camera.project(points - step * e)) / 2 / step
                for e in np.eye(3)
            ],
            axis=-1,
        )
        np.testing.assert_allclose(camera.jacobian(points), numeric, rtol=1e-6, atol=1e-4)

    @pytest.mark.parametrize("binning", [(1, 1), (2, 4)])
    def test_intrinsics_jacobian_is_the_derivative(
        self, camera: Camera, points: np.ndarray, binning: tuple[int, int]
    ) -> None:
        camera = camera.replace(binning=binning)
        size = 4 + len(camera.distortion)

        def moved(step: np.ndarray) -> np.ndarray:
            matrix = camera.matrix.copy()
            matrix[[0, 1], [0, 1]] += step[:2]
            matrix[:2, 2] += step[2:4]
            changed = camera.replace(matrix=matrix, distortion=camera.distortion + step[4:])
            return changed.project(points)

        steps = np.eye(size) * 1e-5
        numeric = np.stack([(moved(e) - moved(-e)) / 2e-5 for e in steps], axis=-1)
        np.testing.assert_allclose(
            camera.intrinsics_jacobian(points), numeric, rtol=1e-5, atol=1e-5
        )

    def test_jacobian_on_the_axis_and_beside_it(self, camera: Camera) -> None:
        near, on = camera.jacobian([[1e-7, 0, 2.0]]), camera.jacobian([[0, 0, 2.0]])
        np.testing.assert_allclose(near, on, atol=1e-3)


def _camera(name: str) -> Camera:
    lenses = {
        "none": ("none", []),
        "plumb_bob4": ("plumb_bob", [-0.28, 0.07, 0.001, -0.0005]),
        "plumb_bob5": ("plumb_bob", [-0.28, 0.07, 0.001, -0.0005, 0.01]),
        "rational8": ("rational_polynomial", [0.1, 0.02, 1e-3, -5e-4, 0.01, 0.15, 0.01, 0.001]),
        "equidistant": ("equidistant", [0.05, -0.01, 0.002, -0.001]),
    }
    prism = [1e-3, 2e-4, -1e-3, 3e-4]
    if name in ("rational12", "rational14"):
        tilt = [0.01, -0.02] if name == "rational14" else []
        return Camera(
            640, 480, K, np.array([*lenses["rational8"][1], *prism, *tilt]), "rational_polynomial"
        )
    model, lens = lenses[name]
    return Camera(640, 480, K, np.array(lens), model)
