"""Read arm poses from a file; write a hand-eye result as JSON, YAML or a ROS 2 command.

setup: eye_in_hand                     # or eye_to_hand
samples:
  - base_from_gripper: {translation: [x, y, z], quaternion_xyzw: [x, y, z, w]}
    camera_from_board: {matrix: [[...], [...], [...], [...]]}
  - base_from_gripper: ...
    image: pose_02.png                 # instead of camera_from_board; needs a camera and board
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from molmo_calibration.calibrate.boards import Board
from molmo_calibration.calibrate.find_board import detect_in_file
from molmo_calibration.calibrate.hand_eye import HandEyeResult, HandEyeSample
from molmo_calibration.calibrate.pose import board_pose
from molmo_calibration.cameras.camera import Camera
from molmo_calibration.errors import CameraFileError, InvalidArgumentError
from molmo_calibration.files.camera_files import load_data
from molmo_calibration.files.file_fields import entry, list_entry
from molmo_calibration.files.hand_eye_samples import agreed, read_samples
from molmo_calibration.files.transform_files import transform_entry
from molmo_calibration.geometry.transforms import Transform


def load_hand_eye(
    path: str | Path,
    camera: Camera | None = None,
    board: Board | None = None,
    progress: Callable[[float], None] | None = None,
    setup: str | None = None,
) -> tuple[str, list[HandEyeSample]]:
    """The setup and the samples of a hand-eye file.

    Args:
        path: YAML or JSON, see the module; or samples of easy_handeye2 or MoveIt, see
            `hand_eye_samples`.
        camera: for samples with an image.
        board: for samples with an image; images are relative to the file.
        progress: called with the share that is done, 0..1.
        setup: `eye_in_hand` or `eye_to_hand`, where the file does not say it.

    Raises:
        CameraFileError: a key is missing or holds something else; the message says in which sample.
        InvalidArgumentError: a chessboard that looks the same upside down, so that its pose in an
            image is not determined.
        InvalidArgumentError: the file says another setup, or none and none is given.
        BoardNotFoundError: an image without the board.
    """
    path = Path(path)
    data = load_data(path)
    if (foreign := read_samples(data, setup, str(path))) is not None:
        return foreign
    recorded = list_entry(data, "samples", str(path))
    if setup is None or "setup" in data:
        setup = agreed(str(entry(data, "setup", str(path))), setup, str(path))
    samples = []
    for index, sample in enumerate(recorded):
        source = f"{path}, sample {index}"
        arm = transform_entry(
            entry(sample, "base_from_gripper", source), source, "base", "gripper"
        )
        if "camera_from_board" in sample:
            seen = transform_entry(sample["camera_from_board"], source, "camera", "board")
        else:
            seen = _seen(sample, source, path.parent, camera, board)
        samples.append(HandEyeSample(arm, seen))
        if progress:
            progress((index + 1) / len(recorded))
    return setup, samples


def _seen(
    sample: Mapping[str, Any],
    source: str,
    folder: Path,
    camera: Camera | None,
    board: Board | None,
) -> Transform:
    image = entry(sample, "image", source)
    if camera is None or board is None:
        raise CameraFileError(
            f"{source} has an image instead of camera_from_board; pass the camera and the board "
            "(--camera, --columns, --rows, --square)"
        )
    if board.looks_the_same_upside_down:
        raise InvalidArgumentError(
            f"a board like this ({board.words}) looks the same upside down, so an image of it has "
            f"two poses; for hand-eye calibration take {board.unlike_upside_down}, a ChArUco board "
            "or an AprilTag grid"
        )
    detection = detect_in_file(folder / str(image), board)
    if detection.image_size != camera.image_size:
        raise CameraFileError(
            f"{source}: {image} is {detection.image_size[0]} x {detection.image_size[1]}, but the "
            f"camera file is for {camera.image_size[0]} x {camera.image_size[1]}"
        )
    return board_pose(camera, detection)


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


def save_hand_eye(result: HandEyeResult, path: str | Path) -> None:
    """Write `hand_eye_to_dict` to a file that `load_transform` reads.

    JSON whatever its name, because JSON is YAML too.
    """
    Path(path).write_text(json.dumps(hand_eye_to_dict(result), indent=1) + "\n")


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
