"""Where a camera has no answer: behind it, beyond its lens, outside its image; and bad input."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from molmo_calibration import Camera, InvalidArgumentError, NotCalibratedError, Roi

K = np.array([[611.0, 0.0, 322.5], [0.0, 607.0, 238.25], [0.0, 0.0, 1.0]])


class TestValidity:
    def test_a_point_behind_the_camera_has_no_pixel(self, camera: Camera) -> None:
        behind = camera.project([[0.1, 0.1, -1.0], [0.0, 0.0, 0.0]])
        if camera.model == "equidistant":
            assert np.isnan(behind[1]).all()
        else:
            assert np.isnan(behind).all()

    def test_a_folded_point_has_no_pixel(self) -> None:
        """r (1 - 0.3 r²) turns back at r = 1.054: OpenCV shows farther points inside the image."""
        camera = Camera(640, 480, K, np.array([-0.3, 0, 0, 0, 0.0]), "plumb_bob")
        folded = cv2.projectPoints(
            np.array([[1.5, 0.0, 1.0]]), np.zeros(3), np.zeros(3), K, camera.distortion
        )[0].ravel()
        assert camera.in_image(folded)
        assert np.isnan(camera.project([1.5, 0.0, 1.0])).all()
        assert np.isfinite(camera.project([0.9, 0.0, 1.0])).all()

    def test_a_pixel_beyond_the_fold_has_no_ray(self) -> None:
        camera = Camera(640, 480, K, np.array([-0.3, 0, 0, 0, 0.0]), "plumb_bob")
        assert np.isnan(camera.ray([322.5 + 611 * 0.8, 238.25])).all()

    def test_nan_stays_nan_and_alone(self, camera: Camera) -> None:
        pixels = camera.project([[0.1, 0.1, 1.0], [np.nan, 0.1, 1.0], [0.1, np.nan, 1.0]])
        assert np.isfinite(pixels[0]).all()
        assert np.isnan(pixels[1:]).any(axis=1).all()
        rays = camera.ray([[10.0, 10.0], [np.nan, 3.0]])
        assert np.isfinite(rays[0]).all()
        assert np.isnan(rays[1]).any()

    def test_the_image_ends_half_a_pixel_outside_the_centres(self) -> None:
        camera = Camera(640, 480, K)
        inside = camera.in_image([[-0.5, -0.5], [-0.6, 0], [639.4, 479.4], [639.5, 0]])
        assert inside.tolist() == [True, False, True, False]
        assert not camera.in_image([np.nan, 1.0])
        assert camera.sees([0.0, 0.0, 1.0])

    def test_leading_axes_are_kept(self, camera: Camera) -> None:
        assert camera.project(np.ones((2, 3, 4, 3))).shape == (2, 3, 4, 2)
        assert camera.ray(np.ones((2, 5, 2))).shape == (2, 5, 3)
        assert camera.ray([1.0, 1.0]).shape == (3,)
        assert camera.jacobian(np.ones((2, 5, 3))).shape == (2, 5, 2, 3)
        assert camera.ray(np.ones((0, 2))).shape == (0, 3)


class TestRoiAndBinning:
    def test_delivered_pixels_are_those_of_the_part(
        self, camera: Camera, points: np.ndarray
    ) -> None:
        part = camera.replace(roi=Roi(100, 40, 400, 360), binning=(2, 4))
        expected = (camera.project(points) - [100, 40]) / [2, 4]
        np.testing.assert_allclose(part.project(points), expected, atol=1e-9)
        np.testing.assert_allclose(part.ray(expected), camera.ray(camera.project(points)))
        assert part.image_size == (200, 90)

    @pytest.mark.parametrize("roi", [Roi(300, 0, 400, 100), Roi(-1, 0, 10, 10), Roi(0, 0, 0, 5)])
    def test_a_region_outside_the_image_is_refused(self, roi: Roi) -> None:
        with pytest.raises(InvalidArgumentError, match="roi must lie inside"):
            Camera(640, 480, K, roi=roi)


class TestBadInput:
    def test_an_uncalibrated_camera_says_so(self) -> None:
        with pytest.raises(NotCalibratedError, match="not calibrated"):
            Camera(640, 480, np.zeros((3, 3)))

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"matrix": np.eye(4)}, r"K must have shape \(3, 3\), got \(4, 4\)"),
            ({"matrix": np.full((3, 3), np.nan)}, "K must be finite"),
            ({"matrix": np.array([[600, 0.5, 3], [0, 600, 3], [0, 0, 1]])}, "K must be"),
            ({"matrix": np.array([[600, 0, 3], [0, 0, 3], [0, 0, 1.0]])}, "K must be"),
            ({"matrix": "abc"}, "K must be numbers"),
            ({"width": 0}, r"\(width, height\) must be"),
            ({"model": "omni"}, "model must be one of"),
            ({"model": "plumb_bob", "distortion": np.zeros(3)}, "4 or 5 coefficients, got 3"),
            (
                {"model": "plumb_bob", "distortion": np.full(5, np.inf)},
                "distortion must be finite",
            ),
            ({"rectification": np.diag([1, 1, -1.0])}, "determinant is -1"),
            ({"rectification": 2 * np.eye(3)}, "R must be a rotation matrix"),
            ({"projection": np.zeros((3, 4))}, "P must be invertible"),
            ({"binning": (0, 1)}, "binning must be"),
            ({"intrinsics_covariance": np.eye(3)}, r"shape \(4, 4\)"),
            ({"intrinsics_covariance": -np.eye(4)}, "positive semi-definite"),
        ],
    )
    def test_the_message_names_the_argument(self, changes: dict, words: str) -> None:
        with pytest.raises(InvalidArgumentError, match=words):
            Camera(640, 480, K).replace(**changes)

    def test_points_of_the_wrong_shape_or_infinite(self) -> None:
        camera = Camera(640, 480, K)
        with pytest.raises(InvalidArgumentError, match=r"points must have shape \(..., 3\)"):
            camera.project([1.0, 2.0])
        with pytest.raises(InvalidArgumentError, match="uv holds an infinite"):
            camera.ray([np.inf, 2.0])

    def test_a_camera_cannot_be_changed(self) -> None:
        camera = Camera(640, 480, K)
        with pytest.raises(ValueError, match="read-only"):
            camera.matrix[0, 0] = 1.0
        with pytest.raises(AttributeError):
            camera.width = 3  # type: ignore[misc]
