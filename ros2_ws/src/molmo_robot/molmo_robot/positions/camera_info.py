"""The camera of a snapshot from its `sensor_msgs/CameraInfo`, or the reason why there is none."""

from __future__ import annotations

from typing import Union

from molmo_calibration import CalibrationError, Camera, NotCalibratedError
from molmo_calibration.files.camera_messages import camera_from_message

from molmo_robot.codes import PositionStatus
from molmo_robot.ros_types import CameraInfoMessage
from molmo_robot.types import Problem, Snapshot


def camera_of(snapshot: Snapshot) -> Union[Camera, Problem]:
    """Return the camera of an image, in the pixels of the image as published."""
    settings = snapshot.camera
    if snapshot.info is None:
        return Problem(
            PositionStatus.NO_CAMERA_INFO,
            f"{settings.info_topic or settings.name + '.info_topic'}: expected a sensor_msgs/CameraInfo, none has come",
        )
    camera = camera_from(
        snapshot.info, settings.info_topic, snapshot.frame_id, rectified=settings.rectified
    )
    if isinstance(camera, Problem):
        return camera
    if camera.image_size != snapshot.image_size:
        return Problem(
            PositionStatus.NOT_CALIBRATED,
            f"{settings.info_topic}: expected a calibration for {snapshot.image_size[0]}x{snapshot.image_size[1]} "
            f"pixels as on {settings.image_topic}, got one for {camera.image_size[0]}x{camera.image_size[1]}",
        )
    return camera


def camera_from(
    info: CameraInfoMessage, topic: str, frame_id: str, *, rectified: bool = False
) -> Union[Camera, Problem]:
    """Read a `sensor_msgs/CameraInfo`; its frame is the image's, which is what /tf knows.

    Args:
        info: The message.
        topic: Where it came from, for the sentence.
        frame_id: Of the image.
        rectified: The image is rectified: P alone counts, and a lens that we have no model for does not matter.
    """
    try:
        read = camera_from_message(info, rectified)
        return read.replace(frame_id=frame_id.lstrip("/"))
    except NotCalibratedError as error:
        return Problem(
            PositionStatus.NOT_CALIBRATED, f"{topic}: expected a calibrated camera: {error}"
        )
    except CalibrationError as error:
        return Problem(
            PositionStatus.NOT_CALIBRATED, f"{topic}: expected a usable calibration: {error}"
        )
