"""Samples that other programs recorded for hand-eye calibration.

easy_handeye2 (`NAME.samples`): `parameters` and `samples`, each with a `robot` and a `tracking`
transform. With `calibration_type: eye_in_hand` the robot's is base_from_gripper, else
gripper_from_base. The field may be empty, as it is in its own examples.

MoveIt's hand-eye calibration (`Save samples`): a list, each with `effector_wrt_world` and
`object_wrt_sensor`, 16 numbers of a 4 x 4 matrix row by row. It does not say which setup it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from molmo_calibration.calibrate.hand_eye import SETUPS, HandEyeSample
from molmo_calibration.errors import CameraFileError, InvalidArgumentError
from molmo_calibration.files.file_fields import entry, list_entry
from molmo_calibration.files.transform_files import message_transform, transform_entry
from molmo_calibration.geometry.transforms import Transform

_EASY_SETUPS = {
    "eye_in_hand": "eye_in_hand",
    "eye_on_hand": "eye_in_hand",
    "eye_on_base": "eye_to_hand",
    "eye_to_hand": "eye_to_hand",
}


def read_samples(
    data: Any, setup: str | None, source: str
) -> tuple[str, list[HandEyeSample]] | None:
    """The setup and the samples of another program's file; None if it is of neither.

    Args:
        data: what the file holds.
        setup: as given, or None.
        source: for messages.

    Raises:
        CameraFileError: a key is missing or holds something else.
        InvalidArgumentError: the setup is not known, or the file says another one.
    """
    if isinstance(data, list):
        return _moveit(data, agreed("", setup, source), source)
    samples = data.get("samples") if isinstance(data, Mapping) else None
    first = samples[0] if isinstance(samples, list) and samples else None
    if isinstance(first, Mapping) and "robot" in first and "tracking" in first:
        return _easy(data, setup, source)
    return None


def agreed(said: str, given: str | None, source: str) -> str:
    """The one setup that a file says and the caller gives; either may leave it out.

    Raises:
        InvalidArgumentError: both do, or they differ.
    """
    if given is not None and given not in SETUPS:
        raise InvalidArgumentError(f"setup must be {' or '.join(SETUPS)}, got {given!r}")
    if not said and given is None:
        raise InvalidArgumentError(
            f"{source} does not say where the camera is; give --setup eye_in_hand (on the gripper) "
            "or --setup eye_to_hand (beside the robot)"
        )
    if said and given is not None and said != given:
        raise InvalidArgumentError(f"{source} says the setup is {said}, but {given} was given")
    return said or str(given)


def _moveit(recorded: list[Any], setup: str, source: str) -> tuple[str, list[HandEyeSample]]:
    samples = []
    for index, sample in enumerate(recorded):
        where = f"{source}, sample {index}"
        samples.append(
            HandEyeSample(
                _matrix(sample, "effector_wrt_world", where, "base", "gripper"),
                _matrix(sample, "object_wrt_sensor", where, "camera", "board"),
            )
        )
    return setup, samples


def _matrix(sample: Any, key: str, source: str, to_frame: str, from_frame: str) -> Transform:
    return transform_entry({"matrix": entry(sample, key, source)}, source, to_frame, from_frame)


def _easy(
    data: Mapping[str, Any], setup: str | None, source: str
) -> tuple[str, list[HandEyeSample]]:
    parameters = data.get("parameters")
    kind = str(parameters.get("calibration_type") or "") if isinstance(parameters, Mapping) else ""
    if kind and kind not in _EASY_SETUPS:
        raise CameraFileError(
            f"{source}: calibration_type must be one of {', '.join(_EASY_SETUPS)}, got {kind!r}"
        )
    setup = agreed(_EASY_SETUPS.get(kind, ""), setup, source)
    samples = []
    for index, sample in enumerate(list_entry(data, "samples", source)):
        where = f"{source}, sample {index}"
        robot = _message(sample, "robot", where)
        # Where the camera stands beside the robot, easy_handeye2 records the arm's pose inverted.
        arm = robot if setup == "eye_in_hand" else robot.inverse()
        board = _message(sample, "tracking", where)
        samples.append(
            HandEyeSample(
                Transform(arm.matrix, "base", "gripper"),
                Transform(board.matrix, "camera", "board"),
            )
        )
    return setup, samples


def _message(sample: Any, key: str, source: str) -> Transform:
    return message_transform(entry(sample, key, source), f"{source}, {key}")
