"""Samples of other programs: easy_handeye2's and MoveIt's files, read into our poses."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import yaml
from molmo_calibration import (
    CameraFileError,
    InvalidArgumentError,
    Transform,
    calibrate_hand_eye,
    load_hand_eye,
)
from molmo_calibration.geometry.rotations import matrix_from_rotation_vector

X = Transform.from_parts(matrix_from_rotation_vector([0.1, -0.2, 0.3]), [0.05, -0.03, 0.08])
Z = Transform.from_parts(np.diag([1.0, -1.0, -1.0]), [0.5, 0.1, 0.0])


def poses(setup: str, count: int = 8) -> list[tuple[Transform, Transform]]:
    """(base_from_gripper, camera_from_board) of an arm without noise."""
    rng, made = np.random.default_rng(1), []
    for _ in range(count):
        turn = matrix_from_rotation_vector(rng.normal(0, 0.4, 3))
        seen = Transform.from_parts(turn, rng.normal([0.0, 0.05, 0.6], 0.05))
        inside = Z @ seen.inverse() @ X.inverse()
        made.append((inside if setup == "eye_in_hand" else X @ seen @ Z.inverse(), seen))
    return made


def message(pose: Transform) -> dict[str, dict[str, float]]:
    return {
        "translation": dict(zip("xyz", map(float, pose.translation), strict=True)),
        "rotation": dict(zip("xyzw", map(float, pose.quaternion), strict=True)),
    }


def easy(tmp_path: pathlib.Path, kind: str, setup: str) -> pathlib.Path:
    """As easy_handeye2 saves them: the arm's pose is inverted unless the camera is on the gripper."""
    samples = [
        {
            "robot": message(arm if setup == "eye_in_hand" else arm.inverse()),
            "tracking": message(seen),
        }
        for arm, seen in poses(setup)
    ]
    path = tmp_path / "robot.samples"
    data = {"parameters": {"name": "robot", "calibration_type": kind}, "samples": samples}
    path.write_text(yaml.safe_dump(data))
    return path


def moveit(tmp_path: pathlib.Path, setup: str) -> pathlib.Path:
    """As MoveIt saves them: a list, matrices row by row in one list."""
    samples = [
        {
            "effector_wrt_world": arm.matrix.ravel().tolist(),
            "object_wrt_sensor": seen.matrix.ravel().tolist(),
        }
        for arm, seen in poses(setup)
    ]
    path = tmp_path / "samples.yaml"
    path.write_text(yaml.safe_dump(samples))
    return path


@pytest.mark.parametrize(
    ("kind", "setup"), [("eye_in_hand", "eye_in_hand"), ("eye_on_base", "eye_to_hand")]
)
class TestRead:
    def test_easy_handeye2(self, tmp_path: pathlib.Path, kind: str, setup: str) -> None:
        told, samples = load_hand_eye(easy(tmp_path, kind, setup))
        assert told == setup
        assert max(calibrate_hand_eye(samples, told).transform.difference(X)) < 1e-9

    def test_easy_handeye2_without_a_type(
        self, tmp_path: pathlib.Path, kind: str, setup: str
    ) -> None:
        path = easy(tmp_path, "", setup)
        with pytest.raises(InvalidArgumentError, match="give --setup eye_in_hand"):
            load_hand_eye(path)
        told, samples = load_hand_eye(path, setup=setup)
        assert max(calibrate_hand_eye(samples, told).transform.difference(X)) < 1e-9

    def test_moveit(self, tmp_path: pathlib.Path, kind: str, setup: str) -> None:
        path = moveit(tmp_path, setup)
        with pytest.raises(InvalidArgumentError, match="give --setup eye_in_hand"):
            load_hand_eye(path)
        told, samples = load_hand_eye(path, setup=setup)
        assert max(calibrate_hand_eye(samples, told).transform.difference(X)) < 1e-9


def test_files_that_are_none(tmp_path: pathlib.Path) -> None:
    path = easy(tmp_path, "eye_in_hand", "eye_in_hand")
    with pytest.raises(InvalidArgumentError, match="says the setup is eye_in_hand"):
        load_hand_eye(path, setup="eye_to_hand")
    with pytest.raises(InvalidArgumentError, match="setup must be eye_in_hand or eye_to_hand"):
        load_hand_eye(path, setup="eye_on_base")
    path.write_text(
        path.read_text().replace("calibration_type: eye_in_hand", "calibration_type: x")
    )
    with pytest.raises(CameraFileError, match="calibration_type must be one of"):
        load_hand_eye(path)
    path.write_text("[{effector_wrt_world: [1, 2, 3], object_wrt_sensor: [1]}]")
    with pytest.raises(CameraFileError, match=r"sample 0.*4 x 4 numbers, got 3"):
        load_hand_eye(path, setup="eye_in_hand")
    path.write_text("samples: [{robot: {translation: {x: 0, y: 0}}, tracking: {}}]")
    with pytest.raises(CameraFileError, match=r"sample 0, robot must have the key 'rotation'|'z'"):
        load_hand_eye(path, setup="eye_in_hand")
