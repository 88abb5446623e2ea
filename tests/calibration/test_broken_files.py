"""Files that are broken: an answer or one of our errors, which names the key and what came."""

from __future__ import annotations

import contextlib
import copy
import json
import pathlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from molmo_calibration import (
    CalibrationError,
    Camera,
    CameraFileError,
    Roi,
    camera_from_dict,
    camera_to_dict,
    load_camera,
    load_hand_eye,
    load_transform,
)
from molmo_calibration.files.kalibr_files import camera_to_kalibr
from molmo_calibration.files.pointing_files import load_pointing

RUBBISH = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 10**400),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.floats(allow_nan=False), max_size=4),
    st.lists(st.lists(st.integers(), max_size=2), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


def _good_files(
    cameras: dict[str, Camera],
) -> list[tuple[dict, Callable[[pathlib.Path], object]]]:
    """Contents of one file of every kind, and what reads it."""
    camera = cameras["plumb_bob5"].replace(
        roi=Roi(10, 20, 300, 200), binning=(2, 1), intrinsics_covariance=np.eye(9)
    )
    pose = {"translation": [0, 0, 1], "quaternion_xyzw": [0, 0, 0, 1]}
    sample = {"base_from_gripper": pose, "camera_from_board": {"matrix": np.eye(4).tolist()}}
    point = {"x": 0.5, "y": 0.5, "label": "mug", "covariance": [1e-5, 0.0, 1e-5]}
    k, p = camera.matrix.ravel().tolist(), np.eye(3, 4).ravel().tolist()
    echo = {
        "header": {"stamp": {"sec": 1}, "frame_id": "cam"},
        "height": 480,
        "width": 640,
        "distortion_model": "plumb_bob",
        "d": [0.1, 0.0, 0.0, 0.0, 0.0],
        "k": k,
        "r": np.eye(3).ravel().tolist(),
        "p": p,
        "binning_x": 2,
        "roi": {"x_offset": 1, "y_offset": 2, "width": 3, "height": 4},
    }
    return [
        (camera_to_dict(camera), load_camera),
        (echo, load_camera),
        (camera_to_kalibr(cameras["equidistant"]), load_camera),
        ({"setup": "eye_in_hand", "samples": [sample, sample]}, load_hand_eye),
        (
            {"base_from_camera": pose | {"covariance": np.eye(6).tolist()}, "spread_mm": 1.0},
            load_transform,
        ),
        (
            {"image_size": [640, 480], "points": [point, point]},
            lambda path: load_pointing(path, cameras["none"]),
        ),
    ]


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
            ("a.txt", "1 PINHOLE 640 480 600 600 320 240\n", "are read from ROS .*Kalibr, OpenCV"),
            ("a.yaml", "\0\1", "is not a text file"),
            ("a.xml", "<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>", r"FileStorage: \(.*rror"),
            ("a.yaml", "width: 4\nheight: 4\nk: [9]\nd: ['...']", r"than numbers.*'\.\.\.'"),
            ("a.yaml", "width: 4\nheight: 4\nk: [9]\nd: []", "must have 'distortion_model'"),
        ],
    )
    def test_broken_files(self, name: str, text: str, words: str, tmp_path: pathlib.Path) -> None:
        (tmp_path / name).write_text(text)
        with pytest.raises(CameraFileError, match=words):
            load_camera(tmp_path / name)

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
    def test_answers_as_windows_writes_them(
        self, encoding: str, cameras: dict[str, Camera], tmp_path: pathlib.Path
    ) -> None:
        point = {"x": 0.5, "y": 0.25, "label": "mug\u2028cup"}
        answer = {"image_size": [640, 480], "points": [point], "frame_id": "a"}
        lines = json.dumps(answer, ensure_ascii=False) + "\r\n"
        (tmp_path / "points.jsonl").write_bytes((2 * lines).encode(encoding))
        assert len(load_pointing(tmp_path / "points.jsonl", cameras["none"])) == 2

    def test_no_file(self, tmp_path: pathlib.Path) -> None:
        with pytest.raises(CameraFileError, match="cannot read"):
            load_camera(tmp_path / "nothing.yaml")

    @settings(
        max_examples=150,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(data=st.data())
    def test_whatever_a_file_holds(
        self, data: st.DataObject, tmp_path: pathlib.Path, cameras: dict[str, Camera]
    ) -> None:
        """One entry of a good file replaced or taken out: an answer or one of our errors."""
        good, load = data.draw(st.sampled_from(_good_files(cameras)))
        spoiled = copy.deepcopy(good)
        where: object = spoiled
        while isinstance(where, (dict, list)) and len(where):
            keys = list(where) if isinstance(where, dict) else list(range(len(where)))
            key = data.draw(st.sampled_from(keys))
            if isinstance(where[key], (dict, list)) and data.draw(st.booleans()):
                where = where[key]
                continue
            if data.draw(st.booleans()):
                del where[key]
            else:
                where[key] = data.draw(RUBBISH)
            break
        path = tmp_path / "file.json"
        path.write_text(json.dumps(spoiled))
        with contextlib.suppress(CalibrationError):
            load(path)

    def test_transform_files(self, tmp_path: pathlib.Path) -> None:
        path = tmp_path / "t.json"
        good = {"translation": [0, 0, 1], "quaternion_xyzw": [0, 0, 0, 1]}
        for content, words in (
            ({}, "one transform with a name like base_from_camera, it holds none"),
            ({"a_from_b": good, "b_from_c": good}, "it holds a_from_b, b_from_c"),
            ({"a_from_b": {"translation": [0, 0, 1]}}, "a_from_b must have the key 'quaternion"),
            ({"a_from_b": good | {"covariance": [1]}}, "'covariance' must hold 6 x 6 numbers"),
            (
                {"a_from_b": good | {"covariance": (-np.eye(6)).tolist()}},
                "t.json, a_from_b: transform covariance must be positive",
            ),
        ):
            path.write_text(json.dumps(content))
            with pytest.raises(CameraFileError, match=words):
                load_transform(path)

    def test_a_camera_file_of_another_kind_says_which_kinds_are_read(
        self, tmp_path: pathlib.Path
    ) -> None:
        (tmp_path / "nerf.json").write_text('{"fl_x": 600, "fl_y": 600, "w": 640, "h": 480}')
        with pytest.raises(
            CameraFileError, match="it has: fl_x, fl_y, w, h; cameras are read from ROS"
        ):
            load_camera(tmp_path / "nerf.json")

    def test_transforms_of_ros2_topic_echo(self, tmp_path: pathlib.Path) -> None:
        stamped = (
            "header:\n  stamp:\n    sec: 0\n    nanosec: 0\n  frame_id: {parent}\n"
            "child_frame_id: {child}\ntransform:\n"
            "  translation:\n    x: 0.1\n    y: 0.2\n    z: 0.3\n"
            "  rotation:\n    x: 0.0\n    y: 0.0\n    z: 0.6\n    w: 0.8\n"
        )
        one = stamped.format(parent="base", child="camera")
        inside = "- " + one.replace("\n", "\n  ").rstrip() + "\n"
        for text in (one + "---\n", f"transforms:\n{inside}---\n"):
            (tmp_path / "tf.yaml").write_text(text)
            found = load_transform(tmp_path / "tf.yaml")
            assert (found.to_frame, found.from_frame) == ("base", "camera")
            np.testing.assert_allclose(found.apply([1, 0, 0]), [0.1 + 0.28, 0.2 + 0.96, 0.3])
        (tmp_path / "tf.yaml").write_text(
            f"transforms:\n{inside}{inside.replace('camera', 'lidar')}---\n"
        )
        with pytest.raises(
            CameraFileError, match="it holds 'camera' in 'base', 'lidar' in 'base'"
        ):
            load_transform(tmp_path / "tf.yaml")
        (tmp_path / "tf.yaml").write_text(one.replace("w: 0.8", "w: 0.1"))
        with pytest.raises(CameraFileError, match="'camera' in 'base': quaternion"):
            load_transform(tmp_path / "tf.yaml")

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
            given = content if "setup" in words else {"setup": "eye_in_hand"} | content
            path.write_text(json.dumps(given))
            with pytest.raises(CameraFileError, match=words):
                load_hand_eye(path)
