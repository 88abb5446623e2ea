"""Poses of an arm from a file, and a hand-eye calibration as ROS wants it.

setup: eye_in_hand                     # or eye_to_hand
samples:
  - base_from_gripper: {translation: [x, y, z], quaternion_xyzw: [x, y, z, w]}
    camera_from_board: {matrix: [[...], [...], [...], [...]]}
  - base_from_gripper: ...
    image: pose_02.png                 # instead of camera_from_board; needs a camera and board
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from molmo_calibration.boards import Board
from molmo_calibration.camera import Camera
from molmo_calibration.camera_files import load_mapping
from molmo_calibration.camera_messages import matrix_entry, number_entry
from molmo_calibration.detection import detect_in_file
from molmo_calibration.errors import CalibrationError, CameraFileError
from molmo_calibration.hand_eye import HandEyeResult, HandEyeSample
from molmo_calibration.pose import board_pose
from molmo_calibration.transforms import Transform

__all__ = ["hand_eye_to_dict", "load_hand_eye", "static_transform_line"]


def load_hand_eye(
    path: str | Path,
    camera: Camera | None = None,
    board: Board | None = None,
    progress: Callable[[float], None] | None = None,
) -> tuple[str, list[HandEyeSample]]:
    """The setup and the samples of a hand-eye file.

    Args:
        path: YAML or JSON, see the module.
        camera: for samples with an image.
        board: for samples with an image; images are relative to the file.
        progress: called with the share that is done, 0..1.

    Raises:
        CameraFileError: a key is missing or holds something else; the message says in which sample.
    """
    path = Path(path)
    data = load_mapping(path)
    entries = number_entry(data, "samples", str(path))
    if not isinstance(entries, list):
        raise CameraFileError(f"{path}: 'samples' must be a list, got {type(entries).__name__}")
    samples = []
    for index, entry in enumerate(entries):
        source = f"{path}, sample {index}"
        arm = _pose(number_entry(entry, "base_from_gripper", source), source, "base", "gripper")
        if "camera_from_board" in entry:
            seen = _pose(entry["camera_from_board"], source, "camera", "board")
        else:
            seen = _seen(entry, source, path.parent, camera, board)
        samples.append(HandEyeSample(arm, seen))
        if progress:
            progress((index + 1) / len(entries))
    return str(number_entry(data, "setup", str(path))), samples


def _pose(data: Mapping[str, Any], source: str, to_frame: str, from_frame: str) -> Transform:
    source = f"{source}, {to_frame}_from_{from_frame}"
    try:
        if isinstance(data, Mapping) and "matrix" in data:
            matrix = matrix_entry(data, "matrix", source, (4, 4))
            return Transform(matrix, to_frame, from_frame)
        shift = matrix_entry(data, "translation", source, (1, 3)).ravel()
        turn = matrix_entry(data, "quaternion_xyzw", source, (1, 4)).ravel()
        return Transform.from_quaternion(turn, shift, to_frame, from_frame)
    except CameraFileError:
        raise
    except CalibrationError as error:
        raise CameraFileError(f"{source}: {error}") from error


def _seen(
    entry: Mapping[str, Any], source: str, folder: Path, camera: Camera | None, board: Board | None
) -> Transform:
    image = number_entry(entry, "image", source)
    if camera is None or board is None:
        raise CameraFileError(
            f"{source} has an image instead of camera_from_board; pass the camera and the board "
            "(--camera, --columns, --rows, --square)"
        )
    return board_pose(camera, detect_in_file(folder / str(image), board))


def hand_eye_to_dict(result: HandEyeResult) -> dict[str, Any]:
    """A result for JSON: translation in metres, quaternion as (x, y, z, w)."""
    covariance = result.transform.covariance
    assert covariance is not None
    name = f"{result.transform.to_frame}_from_camera"
    return {
        "setup": result.setup,
        "meaning": result.sentence,
        name: {
            "translation": result.transform.translation.tolist(),
            "quaternion_xyzw": result.transform.quaternion.tolist(),
            "matrix": result.transform.matrix.tolist(),
            "covariance": covariance.tolist(),
        },
        f"{result.fixed_from_board.to_frame}_from_board": result.fixed_from_board.matrix.tolist(),
        "spread_mm": result.spread_m * 1e3,
        "spread_deg": float(np.rad2deg(result.spread_rad)),
        "board_scatter_mm": result.board_scatter_m * 1e3,
        "diversity_deg": float(np.rad2deg(result.diversity_rad)),
        "residuals_mm": (result.residuals_m * 1e3).tolist(),
        "residuals_deg": np.rad2deg(result.residuals_rad).tolist(),
        "outliers": list(result.outliers),
        "static_transform_publisher": static_transform_line(result),
    }


def static_transform_line(
    result: HandEyeResult, parent: str | None = None, child: str = "camera_optical_frame"
) -> str:
    """The command that publishes the answer in ROS 2."""
    x, y, z = result.transform.translation
    qx, qy, qz, qw = result.transform.quaternion
    return (
        "ros2 run tf2_ros static_transform_publisher "
        f"--x {x:.6f} --y {y:.6f} --z {z:.6f} "
        f"--qx {qx:.6f} --qy {qy:.6f} --qz {qz:.6f} --qw {qw:.6f} "
        f"--frame-id {parent or result.transform.to_frame} --child-frame-id {child}"
    )
