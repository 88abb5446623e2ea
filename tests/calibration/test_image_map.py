"""Crop, resize, letterbox, flip and turns: points and cameras, there and back."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from molmo_calibration import (
    Camera,
    ImageMap,
    InvalidArgumentError,
    Roi,
    crop,
    flip,
    letterbox,
    map_camera,
    norm_from_uv,
    px_from_norm,
    resize,
    rotate,
    uv_covariance_from_norm,
    uv_from_norm,
)
from molmo_calibration.cameras.image_map import identity
from molmo_calibration.cameras.pixels import same_shape

SIZE = (640, 480)
sizes = st.tuples(st.integers(1, 2000), st.integers(1, 2000))


@st.composite
def maps(draw: st.DrawFn) -> ImageMap:
    size = draw(sizes)
    kind = draw(st.sampled_from(["crop", "resize", "letterbox", "flip", "rotate"]))
    if kind == "crop":
        window = draw(st.tuples(*[st.integers(-50, 50)] * 2, *[st.integers(1, 500)] * 2))
        return crop(size, *window)
    if kind == "resize":
        return resize(size, draw(sizes), ros_convention=draw(st.booleans()))
    if kind == "letterbox":
        return letterbox(size, draw(sizes))
    if kind == "flip":
        return flip(size, draw(st.booleans()))
    return rotate(size, draw(st.sampled_from([0, 90, 180, 270])))


CHANGES = {
    "crop": crop(SIZE, 50, 30, 400, 300),
    "resize": resize(SIZE, (320, 200)),
    "resize_ros": resize(SIZE, (320, 200), ros_convention=True),
    "letterbox": letterbox(SIZE, (336, 336)),
    "flip": flip(SIZE),
    "flip_vertical": flip(SIZE, horizontal=False),
    "rotate90": rotate(SIZE, 90),
    "rotate180": rotate(SIZE, 180),
    "rotate270": rotate(SIZE, 270),
    "transpose": rotate(SIZE, 90).then(flip((480, 640))),
    "several": rotate(SIZE, 90)
    .then(resize((480, 640), (240, 240)))
    .then(crop((240, 240), 10, 20, 100, 150)),
}


class TestPoints:
    @settings(max_examples=200, deadline=None)
    @given(change=maps(), x=st.floats(0, 1), y=st.floats(0, 1))
    def test_there_and_back(self, change: ImageMap, x: float, y: float) -> None:
        point = np.array([x, y])
        np.testing.assert_allclose(change.inverse().norm(change.norm(point)), point, atol=1e-9)
        np.testing.assert_allclose(change.then(change.inverse()).matrix, np.eye(3), atol=1e-9)

    @settings(max_examples=50, deadline=None)
    @given(size=sizes, x=st.floats(0, 1), y=st.floats(0, 1))
    def test_norm_and_uv(self, size: tuple[int, int], x: float, y: float) -> None:
        uv = uv_from_norm([x, y], size)
        np.testing.assert_allclose(uv, [x * size[0] - 0.5, y * size[1] - 0.5], atol=1e-9)
        np.testing.assert_allclose(norm_from_uv(uv, size), [x, y], atol=1e-12)

    @settings(max_examples=100, deadline=None)
    @given(width=st.integers(16, 4000), height=st.integers(16, 4000), scale=st.floats(0.1, 10))
    def test_a_scaled_image_has_the_same_shape(
        self, width: int, height: int, scale: float
    ) -> None:
        scaled = max(1, round(width * scale)), max(1, round(height * scale))
        assert same_shape((width, height), scaled)
        assert same_shape(scaled, (width, height))

    def test_other_shapes(self) -> None:
        assert not same_shape((640, 480), (1280, 720))
        assert not same_shape((640, 480), (480, 640))
        assert not same_shape((848, 480), (640, 480))

    def test_four_quarter_turns_and_two_flips_change_nothing(self) -> None:
        change, size = identity(SIZE), SIZE
        for _ in range(4):
            turn = rotate(size, 90)
            change, size = change.then(turn), turn.target_size
        np.testing.assert_allclose(change.matrix, np.eye(3), atol=1e-12)
        twice = flip(SIZE).then(flip(SIZE))
        np.testing.assert_allclose(twice.matrix, np.eye(3), atol=1e-12)

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            (rotate((7, 5), 90), cv2.ROTATE_90_CLOCKWISE),
            (rotate((7, 5), 180), cv2.ROTATE_180),
            (rotate((7, 5), 270), cv2.ROTATE_90_COUNTERCLOCKWISE),
        ],
    )
    def test_turning_is_what_opencv_does_to_images(self, change: ImageMap, code: int) -> None:
        image = np.arange(35, dtype=np.uint8).reshape(5, 7)
        turned = cv2.rotate(image, code)
        for v in range(5):
            for u in range(7):
                x, y = np.round(change.uv([u, v])).astype(int)
                assert turned[y, x] == image[v, u]

    def test_resizing_is_what_opencv_does_to_images(self) -> None:
        """A blob keeps its centre of mass under the exact map, and not under ROS's."""
        rows, columns = np.mgrid[:120, :160].astype(float)
        blob = np.exp(-((columns - 70.3) ** 2 + (rows - 40.6) ** 2) / 60.0)
        small = cv2.resize(blob, (40, 30), interpolation=cv2.INTER_AREA)
        rows, columns = np.mgrid[:30, :40].astype(float)
        centre = np.array([(small * columns).sum(), (small * rows).sum()]) / small.sum()
        np.testing.assert_allclose(
            resize((160, 120), (40, 30)).uv([70.3, 40.6]), centre, atol=1e-3
        )
        ros = resize((160, 120), (40, 30), ros_convention=True).uv([70.3, 40.6])
        np.testing.assert_allclose(ros, [70.3 / 4, 40.6 / 4], atol=1e-12)

    def test_letterbox_keeps_the_shape_and_centres(self) -> None:
        change = letterbox((640, 480), (336, 336))
        np.testing.assert_allclose(change.px([0, 0]), [0, 42])
        np.testing.assert_allclose(change.px([640, 480]), [336, 294])

    def test_covariance(self) -> None:
        turned = rotate(SIZE, 90).covariance([[4.0, 1.0], [1.0, 9.0]])
        np.testing.assert_allclose(turned, [[9.0, -1.0], [-1.0, 4.0]])
        pixels = uv_covariance_from_norm([1e-4, 2e-5, 4e-4], (100, 200))
        np.testing.assert_allclose(pixels, [[1.0, 0.4], [0.4, 16.0]])


class TestCameras:
    @pytest.mark.parametrize("name", sorted(CHANGES))
    def test_the_camera_follows_its_image(
        self, name: str, camera: Camera, points: np.ndarray
    ) -> None:
        change = CHANGES[name]
        tilted = len(camera.distortion) == 14
        if tilted and name in ("rotate90", "rotate270", "transpose", "several"):
            with pytest.raises(InvalidArgumentError, match="tilted sensor"):
                map_camera(camera, change)
            return
        mapped = map_camera(camera, change)
        assert mapped.camera.image_size == change.target_size
        assert np.linalg.det(mapped.new_from_old) == pytest.approx(1.0)
        pixels = mapped.camera.project(points @ mapped.new_from_old.T)
        np.testing.assert_allclose(pixels, change.uv(camera.project(points)), atol=1e-8)

    @pytest.mark.parametrize("name", ["crop", "resize", "rotate180", "rotate90"])
    def test_rectified_images_follow_too(self, name: str, points: np.ndarray) -> None:
        turn = cv2.Rodrigues(np.array([0.02, -0.03, 0.01]))[0]
        p = np.array([[580.0, 0, 318, -40.0], [0, 582.0, 240, 0], [0, 0, 1, 0]])
        k = np.array([[611.0, 0, 322.5], [0, 607.0, 238.25], [0, 0, 1]])
        lens = np.array([-0.28, 0.07, 0.001, -0.0005, 0.01])
        camera = Camera(640, 480, k, lens, "plumb_bob", turn, p)
        change = CHANGES[name]
        mapped = map_camera(camera, change)
        raw = mapped.camera.project(points @ mapped.new_from_old.T)
        expected = change.uv(camera.rectify(camera.project(points)))
        np.testing.assert_allclose(mapped.camera.rectify(raw), expected, atol=1e-6)

    def test_roi_and_binning_are_worked_in(self, points: np.ndarray) -> None:
        k = np.array([[611.0, 0, 322.5], [0, 607.0, 238.25], [0, 0, 1]])
        camera = Camera(640, 480, k, roi=Roi(40, 20, 500, 400), binning=(2, 2))
        change = resize((250, 200), (500, 400))
        mapped = map_camera(camera, change).camera
        np.testing.assert_allclose(
            mapped.project(points), change.uv(camera.project(points)), atol=1e-9
        )

    @pytest.mark.parametrize("name", ["crop", "resize", "flip", "rotate90", "rotate180"])
    def test_the_uncertainty_follows(self, name: str) -> None:
        """A sample of cameras, each mapped, has the covariance of the mapped camera."""
        k = np.array([[611.0, 0, 322.5], [0, 607.0, 238.25], [0, 0, 1]])
        lens = np.array([-0.28, 0.07, 0.001, -0.0005, 0.01])
        covariance = np.diag([1.0, 4.0, 0.5, 2.0, 1e-4, 1e-3, 1e-6, 4e-6, 1e-2])
        covariance[0, 1] = covariance[1, 0] = 1.2
        covariance[2, 6] = covariance[6, 2] = 3e-4
        camera = Camera(640, 480, k, lens, "plumb_bob", intrinsics_covariance=covariance)
        mapped = map_camera(camera, CHANGES[name]).camera
        base = _numbers(mapped)
        jacobian = np.empty((9, 9))
        for index in range(9):
            step = np.zeros(9)
            step[index] = 1e-3
            jacobian[:, index] = (
                _numbers(map_camera(_moved(camera, step), CHANGES[name]).camera) - base
            ) / 1e-3
        np.testing.assert_allclose(
            mapped.intrinsics_covariance, jacobian @ covariance @ jacobian.T, atol=1e-8
        )

    def test_other_sizes_and_shears_are_refused(self) -> None:
        k = np.array([[611.0, 0, 322.5], [0, 607.0, 238.25], [0, 0, 1]])
        camera = Camera(640, 480, k)
        with pytest.raises(InvalidArgumentError, match="must start from the camera's image"):
            map_camera(camera, resize((100, 100), (50, 50)))
        shear = ImageMap(np.array([[1, 0.3, 0], [0.1, 1, 0], [0, 0, 1.0]]), SIZE, SIZE)
        with pytest.raises(InvalidArgumentError, match="quarter turns"):
            map_camera(camera, shear)


class TestBadInput:
    def test_angles_sizes_and_chains(self) -> None:
        with pytest.raises(InvalidArgumentError, match="0, 90, 180 or 270, got 45"):
            rotate(SIZE, 45)
        with pytest.raises(InvalidArgumentError, match=r"target must be \(width, height\)"):
            resize(SIZE, (0, 10))
        with pytest.raises(InvalidArgumentError, match="whole pixels"):
            resize(SIZE, (10.5, 10))
        with pytest.raises(InvalidArgumentError, match="second map must start from"):
            resize(SIZE, (10, 10)).then(flip((11, 10)))
        with pytest.raises(InvalidArgumentError, match="affine and invertible"):
            ImageMap(np.zeros((3, 3)), SIZE, SIZE)
        with pytest.raises(InvalidArgumentError, match=r"norm must have shape \(..., 2\)"):
            px_from_norm([1.0, 2.0, 3.0], SIZE)


def _numbers(camera: Camera) -> np.ndarray:
    return np.concatenate([np.diag(camera.matrix)[:2], camera.matrix[:2, 2], camera.distortion])


def _moved(camera: Camera, step: np.ndarray) -> Camera:
    matrix = camera.matrix.copy()
    matrix[[0, 1], [0, 1]] += step[:2]
    matrix[:2, 2] += step[2:4]
    return camera.replace(matrix=matrix, distortion=camera.distortion + step[4:])
