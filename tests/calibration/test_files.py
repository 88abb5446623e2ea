"""Camera files and messages of every kind, there and back."""

from __future__ import annotations

import pathlib
import types

import numpy as np
import pytest
import yaml
from molmo_calibration import (
    Camera,
    CameraFileError,
    InvalidArgumentError,
    NotCalibratedError,
    Roi,
    camera_from_message,
    fill_message,
    load_camera,
    save_camera,
)

DATA = pathlib.Path(__file__).parent / "data"


def same(a: Camera, b: Camera) -> None:
    assert (a.width, a.height, a.model, a.frame_id) == (b.width, b.height, b.model, b.frame_id)
    assert (a.roi, a.binning) == (b.roi, b.binning)
    for name in ("matrix", "distortion", "rectification", "projection"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-12, atol=1e-12)


def info(upper: bool = False, **changes: object) -> types.SimpleNamespace:
    """A CameraInfo as rclpy, ROS 1 (upper) or rosbags would give it."""
    values = {
        "k": [600.0, 0, 320, 0, 601, 240, 0, 0, 1],
        "d": [-0.1, 0.02, 0.001, -0.0005, 0.0],
        "r": [1.0, 0, 0, 0, 1, 0, 0, 0, 1],
        "p": [590.0, 0, 318, 0, 0, 590, 239, 0, 0, 0, 1, 0],
    }
    values.update({key: changes.pop(key) for key in list(changes) if key in values})
    fields = {key.upper() if upper else key: value for key, value in values.items()}
    fields |= {
        "width": 640,
        "height": 480,
        "distortion_model": "plumb_bob",
        "binning_x": 0,
        "binning_y": 0,
        "header": types.SimpleNamespace(stamp=None, frame_id="cam"),
        "roi": types.SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0, do_rectify=False),
    }
    return types.SimpleNamespace(**(fields | changes))


class TestFiles:
    @pytest.mark.parametrize("suffix", [".yaml", ".json"])
    def test_there_and_back(self, suffix: str, camera: Camera, tmp_path: pathlib.Path) -> None:
        size = 4 + len(camera.distortion)
        full = camera.replace(
            frame_id="cam",
            roi=Roi(10, 20, 300, 200),
            binning=(2, 1),
            intrinsics_covariance=np.diag(np.arange(1.0, size + 1)),
        )
        save_camera(full, tmp_path / f"cam{suffix}")
        back = load_camera(tmp_path / f"cam{suffix}")
        if camera.model == "none":
            np.testing.assert_allclose(back.matrix, full.matrix)
            assert not back.distortion.any()
        else:
            same(back, full)
            np.testing.assert_allclose(back.intrinsics_covariance, full.intrinsics_covariance)

    @pytest.mark.parametrize("name", ["cam.opencv.yml", "cam.xml"])
    def test_opencv(self, name: str, camera: Camera, tmp_path: pathlib.Path) -> None:
        full = camera.replace(
            frame_id="cam",
            roi=Roi(10, 20, 300, 200),
            binning=(2, 1),
            projection=np.array([[590.0, 0, 318, -30], [0, 590, 239, 0], [0, 0, 1, 0]]),
            intrinsics_covariance=np.diag(np.arange(1.0, 5 + len(camera.distortion))),
        )
        save_camera(full, tmp_path / name)
        back = load_camera(tmp_path / name)
        points = np.array([[0.1, -0.2, 1.0], [-0.3, 0.1, 1.0]])
        np.testing.assert_allclose(back.project(points), full.project(points), atol=1e-9)
        if camera.model != "none":
            same(back, full)
            np.testing.assert_allclose(back.intrinsics_covariance, full.intrinsics_covariance)

    def test_kalibr_there_and_back(self, camera: Camera, tmp_path: pathlib.Path) -> None:
        """The delivered image comes back; a lens that Kalibr does not have is refused."""
        path = tmp_path / "camchain-head.yaml"
        cut = camera.replace(roi=Roi(10, 20, 300, 200), binning=(2, 1))
        if camera.model == "rational_polynomial" or len(camera.distortion) == 5:
            with pytest.raises(InvalidArgumentError, match=r"save it as \.yaml or \.json"):
                save_camera(cut, path)
            return
        save_camera(cut, path)
        back = load_camera(path)
        assert (back.image_size, back.model) == (cut.image_size, cut.model)
        points = np.array([[0.1, -0.2, 1.0], [-0.3, 0.1, 1.0]])
        np.testing.assert_allclose(back.project(points), cut.project(points), atol=1e-9)
        chain = yaml.safe_load(path.read_text())["cam0"]
        assert set(chain) == {
            "camera_model",
            "intrinsics",
            "distortion_model",
            "distortion_coeffs",
            "resolution",
        }

    def test_the_published_opencv_file(self) -> None:
        camera = load_camera(DATA / "left_intrinsics.yml")
        assert camera.matrix[0, 0] == pytest.approx(535.916)
        assert camera.distortion[1] == pytest.approx(-0.03858889)
        assert (camera.model, camera.image_size) == ("plumb_bob", (640, 480))

    def test_ros_yaml_is_what_ros_writes(self, tmp_path: pathlib.Path) -> None:
        """The keys of camera_calibration's `lryaml`, in a file that a plain YAML reader takes."""
        camera = Camera(
            640,
            480,
            np.array([[600.0, 0, 320], [0, 601, 240], [0, 0, 1]]),
            np.array([-0.1, 0.02, 0.001, -0.0005, 0.0]),
            "plumb_bob",
        )
        save_camera(camera, tmp_path / "cam.yaml", "head")
        data = yaml.safe_load((tmp_path / "cam.yaml").read_text())
        assert data["camera_name"] == "head"
        assert data["camera_matrix"] == {
            "rows": 3,
            "cols": 3,
            "data": [600, 0, 320, 0, 601, 240, 0, 0, 1],
        }
        assert data["projection_matrix"]["rows"] == 3
        assert data["distortion_model"] == "plumb_bob"

    def test_kalibr(self, tmp_path: pathlib.Path) -> None:
        chain = {
            "cam0": {
                "camera_model": "pinhole",
                "intrinsics": [461.6, 460.3, 363.0, 248.1],
                "distortion_model": "radtan",
                "distortion_coeffs": [-0.28, 0.07, 1e-3, -5e-4],
                "resolution": [752, 480],
            },
            "cam1": {
                "camera_model": "pinhole",
                "intrinsics": [300, 301, 320, 240],
                "distortion_model": "equidistant",
                "distortion_coeffs": [0.05, -0.01, 0.002, -0.001],
                "resolution": [640, 480],
            },
            "cam2": {
                "camera_model": "omni",
                "intrinsics": [1, 300, 301, 320, 240],
                "distortion_model": "radtan",
                "distortion_coeffs": [0, 0, 0, 0],
                "resolution": [640, 480],
            },
        }
        path = tmp_path / "camchain.yaml"
        path.write_text(yaml.safe_dump(chain))
        first = load_camera(path)
        assert (first.model, len(first.distortion), first.width) == ("plumb_bob", 5, 752)
        assert first.distortion[4] == 0
        assert load_camera(path, "cam1").model == "equidistant"
        with pytest.raises(CameraFileError, match="must be pinhole with radtan, equidistant"):
            load_camera(path, "cam2")
        with pytest.raises(CameraFileError, match="must have the key 'cam7', it has: cam0, cam1"):
            load_camera(path, "cam7")


class TestMessages:
    @pytest.mark.parametrize("upper", [False, True])
    def test_there_and_back(self, upper: bool, camera: Camera) -> None:
        full = camera.replace(frame_id="cam", roi=Roi(10, 20, 300, 200), binning=(2, 1))
        message = fill_message(full, info(upper))
        assert message.header.stamp is None
        assert isinstance(message.K if upper else message.k, list)
        back = camera_from_message(message)
        if camera.model == "none":
            np.testing.assert_allclose(back.image_matrix, full.image_matrix)
            assert not back.distortion.any()
        else:
            same(back, full)

    def test_what_drivers_send(self) -> None:
        camera = camera_from_message(info())
        assert (camera.binning, camera.roi, camera.frame_id) == ((1, 1), None, "cam")
        bare = camera_from_message(info(r=[0.0] * 9, p=[0.0] * 12, d=[]))
        assert bare.model == "none"
        np.testing.assert_allclose(bare.projection[:, :3], bare.matrix)
        with pytest.raises(NotCalibratedError, match="not calibrated"):
            camera_from_message(info(k=[0.0] * 9))

    def test_inverse_brown_conrady_is_refused_unless_it_is_nothing(self) -> None:
        """RealSense's colour cameras say so, and all their coefficients are 0 most of the time."""
        name = "inverse_brown_conrady"
        assert camera_from_message(info(distortion_model=name, d=[0.0] * 5)).model == "none"
        with pytest.raises(InvalidArgumentError, match="rectify the image in the driver"):
            camera_from_message(info(distortion_model=name))

    def test_coefficients_without_a_model_are_not_dropped(self) -> None:
        """A driver that forgets the model's name would get a pinhole, and points beside the truth."""
        with pytest.raises(InvalidArgumentError, match="name the model"):
            camera_from_message(info(distortion_model=""))
        assert camera_from_message(info(distortion_model="", d=[0.0] * 5)).model == "none"

    def test_a_lens_that_bends_without_coefficients_is_no_pinhole(self) -> None:
        with pytest.raises(InvalidArgumentError, match="must come with 4 coefficients, got none"):
            camera_from_message(info(distortion_model="equidistant", d=[]))
        with pytest.raises(InvalidArgumentError, match="'omni' is not one of"):
            camera_from_message(info(distortion_model="omni", d=[0.0] * 4))

    def test_missing_fields(self) -> None:
        message = info()
        del message.p
        with pytest.raises(CameraFileError, match="must have 'p'"):
            camera_from_message(message)
        with pytest.raises(CameraFileError, match="'k' must hold 9 numbers, got 4"):
            camera_from_message(info(k=[1.0] * 4))

    def test_rosbags_messages(self) -> None:
        types_ = pytest.importorskip("rosbags.typesys", reason="rosbags is not installed")
        store = types_.get_typestore(types_.Stores.ROS2_JAZZY)
        kinds = store.types
        header = kinds["std_msgs/msg/Header"](kinds["builtin_interfaces/msg/Time"](1, 2), "cam")
        roi = kinds["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
        plain = info()
        message = kinds["sensor_msgs/msg/CameraInfo"](
            header,
            480,
            640,
            "plumb_bob",
            np.array(plain.d),
            np.array(plain.k),
            np.array(plain.r),
            np.array(plain.p),
            0,
            0,
            roi,
        )
        same(camera_from_message(message), camera_from_message(plain))
