"""Camera files and messages of every kind, there and back, and what is said about broken ones."""

from __future__ import annotations

import json
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
    camera_from_dict,
    camera_from_message,
    camera_to_dict,
    fill_message,
    load_camera,
    load_hand_eye,
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
        save_camera(camera, tmp_path / name)
        back = load_camera(tmp_path / name)
        points = np.array([[0.1, -0.2, 1.0], [-0.3, 0.1, 1.0]])
        np.testing.assert_allclose(back.project(points), camera.project(points), atol=1e-9)

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
        with pytest.raises(InvalidArgumentError, match="rectify the picture in the driver"):
            camera_from_message(info(distortion_model=name))

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


class TestBroken:
    @pytest.mark.parametrize(
        "key",
        ["image_width", "camera_matrix", "distortion_model", "distortion_coefficients"],
    )
    def test_a_missing_key_is_named(self, key: str, cameras: dict[str, Camera]) -> None:
        data = camera_to_dict(cameras["plumb_bob5"])
        del data[key]
        with pytest.raises(
            CameraFileError, match=f"must have the key '{key}', it has: .*camera_name"
        ):
            camera_from_dict(data)

    def test_wrong_values(self, cameras: dict[str, Camera]) -> None:
        data = camera_to_dict(cameras["plumb_bob5"])
        with pytest.raises(
            CameraFileError, match="'camera_matrix' must hold 3 x 3 numbers, got 2"
        ):
            camera_from_dict({**data, "camera_matrix": [1, 2]})
        with pytest.raises(CameraFileError, match="'camera_matrix' must hold numbers"):
            camera_from_dict({**data, "camera_matrix": ["a"]})
        with pytest.raises(CameraFileError, match="roi must have the key 'y_offset'"):
            camera_from_dict({**data, "roi": {"x_offset": 1}})

    @pytest.mark.parametrize(
        ("name", "text", "words"),
        [
            ("a.json", "{", "must be JSON"),
            ("a.yaml", "a: [", "must be YAML"),
            ("a.yaml", "- 1", "must hold keys and values, got list"),
            ("a.yml", "%YAML:1.0\n---\na: 1\n", "must have the key 'distortion_coefficients'"),
        ],
    )
    def test_broken_files(self, name: str, text: str, words: str, tmp_path: pathlib.Path) -> None:
        (tmp_path / name).write_text(text)
        with pytest.raises(CameraFileError, match=words):
            load_camera(tmp_path / name)

    def test_no_file(self, tmp_path: pathlib.Path) -> None:
        with pytest.raises(CameraFileError, match="cannot read"):
            load_camera(tmp_path / "nothing.yaml")

    def test_hand_eye_files(self, tmp_path: pathlib.Path) -> None:
        path = tmp_path / "poses.json"
        good = {"translation": [0, 0, 1], "quaternion_xyzw": [0, 0, 0, 1]}
        for content, words in (
            ({}, "must have the key 'samples'"),
            ({"samples": 3, "setup": "eye_in_hand"}, "'samples' must be a list"),
            ({"samples": [{}]}, "sample 0 must have the key 'base_from_gripper'"),
            ({"samples": [{"base_from_gripper": {"translation": [0, 0, 1]}}]}, "quaternion_xyzw"),
            (
                {"samples": [{"base_from_gripper": good | {"quaternion_xyzw": [0, 0, 0, 0]}}]},
                "sample 0, base_from_gripper: quaternion",
            ),
            ({"samples": [{"base_from_gripper": good}]}, "must have the key 'image'"),
            ({"samples": [{"base_from_gripper": good, "image": "a.png"}]}, "pass the camera"),
            (
                {"samples": [{"base_from_gripper": good, "camera_from_board": good}]},
                "must have the key 'setup'",
            ),
        ):
            path.write_text(json.dumps(content))
            with pytest.raises(CameraFileError, match=words):
                load_hand_eye(path)
