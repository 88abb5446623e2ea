"""Camera files of other tools, and coefficients in numbers that are not a model's own."""

from __future__ import annotations

import json
import pathlib
import types

import numpy as np
import pytest
from molmo_calibration import (
    Camera,
    CameraFileError,
    InvalidArgumentError,
    NotCalibratedError,
    camera_from_message,
    load_camera,
    save_camera,
)
from molmo_calibration.cameras.lens import check_distortion, model_name
from molmo_calibration.files.camera_files import camera_to_dict, names_in

ECHO = """---
header:
  frame_id: cam_optical
height: 480
width: 640
distortion_model: plumb_bob
d: [-0.1, 0.02, 0.001, -0.002, 0.0]
k: [600.0, 0, 320.0, 0, 610.0, 240.0, 0, 0, 1]
r: [1, 0, 0, 0, 1, 0, 0, 0, 1]
p: [590.0, 0, 321.0, 0, 0, 600.0, 241.0, 0, 0, 0, 1, 0]
binning_x: 0
binning_y: 0
roi: {x_offset: 0, y_offset: 0, height: 0, width: 0, do_rectify: false}
---
"""

OST = """# oST version 5.0 parameters
[image]

width
640

height
480

[narrow_stereo]

camera matrix
600.0 0.0 320.0
0.0 610.0 240.0
0.0 0.0 1.0

distortion
-0.1 0.02 0.001 -0.002 0.0

rectification
1.0 0.0 0.0
0.0 1.0 0.0
0.0 0.0 1.0

projection
590.0 0.0 321.0 0.0
0.0 600.0 241.0 0.0
0.0 0.0 1.0 0.0
"""

LISTING = """
 Intrinsic of "Color" / 640x480 / {RGB8/BGR8}
  Width:      \t640
  Height:     \t480
  PPX:        \t320
  PPY:        \t240
  Fx:         \t600
  Fy:         \t610
  Distortion: \tInverse Brown Conrady
  Coeffs:     \t0  \t0  \t0  \t0  \t0

 Intrinsic of "Color" / 1280x720 / {RGB8/BGR8}
  Width:      \t1280
  Height:     \t720
  PPX:        \t640
  PPY:        \t360
  Fx:         \t900
  Fy:         \t905
  Distortion: \tBrown Conrady
  Coeffs:     \t0.1  \t0  \t0  \t0  \t0
"""


def written(folder: pathlib.Path, name: str, text: str) -> pathlib.Path:
    path = folder / name
    path.write_text(text)
    return path


class TestOtherFiles:
    @pytest.mark.parametrize(
        ("name", "text"), [("cam.yaml", ECHO), ("ost.ini", OST), ("o.txt", OST)]
    )
    def test_echo_and_ini_are_the_same_camera(
        self, tmp_path: pathlib.Path, name: str, text: str
    ) -> None:
        camera = load_camera(written(tmp_path, name, text))
        assert camera.image_size == (640, 480)
        assert camera.model == "plumb_bob"
        np.testing.assert_array_equal(camera.matrix, [[600, 0, 320], [0, 610, 240], [0, 0, 1]])
        np.testing.assert_array_equal(camera.distortion, [-0.1, 0.02, 0.001, -0.002, 0])
        assert camera.projection is not None
        assert camera.projection[0, 0] == 590

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
    def test_text_as_windows_and_older_tools_write_it(
        self, encoding: str, tmp_path: pathlib.Path
    ) -> None:
        path = tmp_path / "camera.yaml"
        path.write_text(ECHO, "utf-8")
        plain = camera_to_dict(load_camera(path))
        path.write_text(ECHO.replace("header", "# caméra\nheader"), encoding)
        assert camera_to_dict(load_camera(path)) == plain

    def test_an_echo_without_r_and_p(self, tmp_path: pathlib.Path) -> None:
        path = tmp_path / "camera.yaml"
        path.write_text(ECHO.replace("\nr:", "\nx:").replace("\np:", "\ny:"))
        camera = load_camera(path)
        assert camera.projection is not None
        assert np.array_equal(camera.projection[:, :3], camera.matrix)

    def test_focal_lengths_in_other_units_than_pixels(self, tmp_path: pathlib.Path) -> None:
        path = tmp_path / "camera.yaml"
        for values in ("0.94, 0, 0.5, 0, 1.25, 0.5", "3.6, 0, 1.8, 0, 3.6, 1.3"):
            path.write_text(ECHO.replace("600.0, 0, 320.0, 0, 610.0, 240.0", values))
            with pytest.raises(
                CameraFileError, match="K must be in pixels of the 640 x 480 image"
            ):
                load_camera(path)

    def test_json_of_opencv(self, tmp_path: pathlib.Path) -> None:
        cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
        path = tmp_path / "camera.json"
        matrix, lens = np.diag([600.0, 610, 1]), np.array([[0.1, 0, 0, 0, 0.0]])
        storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
        storage.write("image_width", 640)
        storage.write("image_height", 480)
        storage.write("camera_matrix", matrix)
        storage.write("distortion_coefficients", lens)
        storage.release()
        camera = load_camera(path)
        assert (camera.model, camera.image_size) == ("plumb_bob", (640, 480))
        assert np.array_equal(camera.matrix, matrix)

    def test_realsense_json_and_listing(self, tmp_path: pathlib.Path) -> None:
        one = {"width": 640, "height": 480, "fx": 600, "fy": 610, "ppx": 320, "ppy": 240}
        one |= {"model": "distortion.brown_conrady", "coeffs": [0.1, 0, 0, 0, 0.2]}
        camera = load_camera(written(tmp_path, "one.json", json.dumps(one)))
        assert camera.model == "plumb_bob"
        assert camera.distortion[4] == 0.2
        both = written(
            tmp_path, "both.json", json.dumps({"color": one, "depth": one | {"fx": 500}})
        )
        assert load_camera(both, "depth").matrix[0, 0] == 500
        with pytest.raises(CameraFileError, match="streams color, depth; name one"):
            load_camera(both)
        listing = written(tmp_path, "rs.txt", LISTING)
        assert load_camera(listing, "Color 1280x720").matrix[1, 1] == 905
        assert load_camera(listing, "Color 640").model == "none"
        with pytest.raises(CameraFileError, match="name one"):
            load_camera(listing, "Color")
        bent = one | {"model": "inverse_brown_conrady"}
        with pytest.raises(CameraFileError, match="would bend the rays"):
            load_camera(written(tmp_path, "bent.json", json.dumps(bent)))

    def test_stereo_file_of_opencv(self, tmp_path: pathlib.Path) -> None:
        pair = "".join(
            f"{key}: !!opencv-matrix\n   rows: {rows}\n   cols: {cols}\n   dt: d\n   data: {data}\n"
            for key, rows, cols, data in (
                ("M1", 3, 3, [500.0, 0.0, 320.0, 0.0, 500.0, 240.0, 0.0, 0.0, 1.0]),
                ("D1", 1, 5, [0.1, 0.0, 0.0, 0.0, 0.0]),
                ("M2", 3, 3, [510.0, 0.0, 320.0, 0.0, 510.0, 240.0, 0.0, 0.0, 1.0]),
                ("D2", 1, 5, [0.2, 0.0, 0.0, 0.0, 0.0]),
            )
        )
        path = written(tmp_path, "intrinsics.yml", "%YAML:1.0\n---\n" + pair)
        camera = load_camera(path, "2", (640, 480))
        assert camera.matrix[0, 0] == 510
        assert camera.distortion[0] == 0.2
        with pytest.raises(CameraFileError, match="--camera-name 1"):
            load_camera(path, None, (640, 480))
        with pytest.raises(CameraFileError, match="--size 640x480"):
            load_camera(path, "1")

    def test_old_ros_files(self, tmp_path: pathlib.Path) -> None:
        camera = Camera(640, 480, np.diag([600.0, 600.0, 1.0]), np.full(5, 0.01), "plumb_bob")
        save_camera(camera, tmp_path / "new.yaml")
        text = (tmp_path / "new.yaml").read_text()
        old = written(tmp_path, "a.yaml", text.replace("distortion_model", "camera_model"))
        assert load_camera(old).model == "plumb_bob"
        bare = text.replace('distortion_model: "plumb_bob"\n', "")
        with pytest.raises(CameraFileError, match="add the line 'distortion_model: plumb_bob'"):
            load_camera(written(tmp_path, "b.yaml", bare))

    def test_four_coefficients_without_a_model(self, tmp_path: pathlib.Path) -> None:
        path = tmp_path / "cam.opencv.yml"
        matrix = np.array([[300.0, 0, 320], [0, 300, 240], [0, 0, 1]])
        for model in ("equidistant", "plumb_bob"):
            save_camera(Camera(640, 480, matrix, [-0.02, 0.01, -0.005, 0.001], model), path)
            assert load_camera(path).model == model
        lines = [line for line in path.read_text().splitlines() if "fisheye_model" not in line]
        path.write_text("\n".join(lines) + "\n")
        with pytest.raises(CameraFileError, match="'fisheye_model: 1' for a fisheye"):
            load_camera(path)

    def test_the_names_in_a_chain(self, tmp_path: pathlib.Path) -> None:
        save_camera(Camera(640, 480, np.diag([600.0, 600.0, 1.0])), tmp_path / "camchain.yaml")
        one = (tmp_path / "camchain.yaml").read_text()
        two = written(
            tmp_path, "camchain2.yaml", one + one.replace("cam0", "cam1").replace("600", "700")
        )
        assert names_in(two) == ("cam0", "cam1")
        assert load_camera(two, "cam1").matrix[0, 0] == 700
        with pytest.raises(CameraFileError, match="'cam2'"):
            load_camera(two, "cam2")


class TestCounts:
    LENS = (-0.1, 0.02, 1e-3, -5e-4, 0.01)

    @pytest.mark.parametrize("count", [8, 12, 14])
    def test_plumb_bob_with_zeros_behind(self, count: int) -> None:
        padded = np.pad(self.LENS, (0, count - 5))
        assert model_name("plumb_bob", padded) == "plumb_bob"
        np.testing.assert_array_equal(check_distortion("plumb_bob", padded), self.LENS)
        assert not check_distortion("plumb_bob", np.zeros(count)).any()

    @pytest.mark.parametrize("count", [8, 12, 14])
    def test_plumb_bob_with_the_numbers_of_a_rational_lens(self, count: int) -> None:
        values = np.arange(1, count + 1) * 0.01
        assert model_name("plumb_bob", values) == "rational_polynomial"
        with pytest.raises(InvalidArgumentError, match="as many are a rational_polynomial"):
            check_distortion("plumb_bob", values)

    def test_rational_with_five_and_fisheye_with_more(self) -> None:
        np.testing.assert_array_equal(
            check_distortion("rational_polynomial", self.LENS), [*self.LENS, 0, 0, 0]
        )
        np.testing.assert_array_equal(
            check_distortion("equidistant", [0.1, 0.2, 0.3, 0.4, 0, 0, 0, 0]), [0.1, 0.2, 0.3, 0.4]
        )
        with pytest.raises(InvalidArgumentError, match="beyond the first 4 are not 0"):
            check_distortion("equidistant", [0.1, 0.2, 0.3, 0.4, 0.5])
        with pytest.raises(InvalidArgumentError, match="4 or 5 coefficients, got 7"):
            check_distortion("plumb_bob", [*self.LENS, 0.1, 0.2])

    def test_a_rectified_image_needs_p_alone(self) -> None:
        message = types.SimpleNamespace(
            width=640, height=480, distortion_model="omni", d=[1.0, 2.0], k=np.diag([600.0, 600, 1]).ravel(),
            r=np.eye(3).ravel(), p=np.array([500.0, 0, 320, 0, 0, 500, 240, 0, 0, 0, 1, 0]),
        )  # fmt: skip
        with pytest.raises(InvalidArgumentError, match="omni"):
            camera_from_message(message)
        camera = camera_from_message(message, rectified=True)
        assert camera.matrix[0, 0] == 500
        assert camera.rectified().matrix[0, 0] == 500
        message.k = np.zeros(9)
        assert camera_from_message(message, rectified=True).matrix[0, 0] == 500
        message.k = np.diag([600.0, 600, 1]).ravel()
        message.distortion_model, message.d = "plumb_bob", []
        message.p = np.zeros(12)
        message.p[10] = 1.0
        with pytest.raises(NotCalibratedError, match=r"P\[0\] is 0"):
            camera_from_message(message, rectified=True)
        assert camera_from_message(message).matrix[0, 0] == 600

    def test_uninitialised_memory_is_no_camera(self) -> None:
        """Published numbers of a driver that was never calibrated (introlab/rtabmap_ros#297): errors, no warnings of numpy."""
        message = types.SimpleNamespace(
            width=640, height=480, distortion_model="plumb_bob", d=[0.0] * 5,
            k=[772.868570835972, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 6.94825075394135e-310, 2.5e-323],
            r=[0.9985404, -3.1e-05, 0.00442, 0.00032, 0.9985088, 5.0e-324, 0.0, 4.7e-310, 4.7e-310],
            p=[778.5724, 0.0, 0.0, 0.0, 1.0, 0.0, 2.0e-323, 4.67890871e-315, 0.09897683, 4.8e-314, 0.0, 0.0],
        )  # fmt: skip
        for rectified in (False, True):
            with pytest.raises((InvalidArgumentError, NotCalibratedError)):
                camera_from_message(message, rectified=rectified)

    @pytest.mark.parametrize("lens", [[0, 0, 0, 26018.0], [0, 0, 1e8, 0, 0], [0, 0, -300.0, 0]])
    def test_a_lens_that_folds_at_its_centre_has_no_rays(self, lens: list[float]) -> None:
        camera = Camera(640, 480, np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]]), np.array(lens), "plumb_bob")  # fmt: skip
        assert np.isnan(camera.ray([[0, 0], [330, 250]])).all()
        assert np.isnan(camera.project([0.1, 0.1, 1.0])).all()

    @pytest.mark.parametrize("value", [1e10, -1e308, 4.7e200])
    @pytest.mark.parametrize("model", ["plumb_bob", "rational_polynomial", "equidistant"])
    def test_a_coefficient_of_no_lens_is_refused(self, model: str, value: float) -> None:
        with pytest.raises(InvalidArgumentError, match="was the memory of the message ever set"):
            check_distortion(model, [0.1, value, 0, 0])

    @pytest.mark.parametrize(
        "name", ["PLUMB_BOB", "Plumb Bob", "plumb-bob", "radtan", "Brown Conrady"]
    )
    def test_spellings_of_one_model(self, name: str) -> None:
        assert model_name(name, [0.1, 0.01, 0, 0, 0]) == "plumb_bob"

    @pytest.mark.parametrize("values", [[], [0.0] * 5])
    def test_a_pinhole_has_no_coefficients(self, values: list[float]) -> None:
        assert model_name("pinhole", values) == "none"
        with pytest.raises(InvalidArgumentError, match="something bends the rays"):
            model_name("pinhole", [0.1, 0, 0, 0])
