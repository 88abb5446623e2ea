"""Depth messages of every kind in metres, and what to look at where the unit seems to be another one."""

from __future__ import annotations

from typing import cast

import numpy as np
from molmo_calibration import DepthImage, depth_from_array, depth_from_message

from molmo_robot.positions.compressed_depth import DepthFormat, depth_array
from molmo_robot.ros_types import AnyImage, CompressedImageMessage
from molmo_robot.settings import CameraSettings

FAR_M = 20.0
NEAR_M = 0.1
"""Where half of the readings are beyond the one, or nearer than the other, the unit is rather another one."""


def depth_of(message: AnyImage, camera: CameraSettings) -> DepthImage:
    """Decode a `sensor_msgs/Image` or `CompressedImage` with depth, in the unit of REP 118 or of `depth_scale`.

    Raises:
        MessageError: Compressed data that cannot be read; names the topic.
        CalibrationError: An encoding that is no depth, or fewer bytes than the size promises.
    """
    if hasattr(message, "format"):
        encoding = DepthFormat.of(str(message.format)).encoding
        depth = depth_from_array(
            depth_array(cast(CompressedImageMessage, message), camera.depth_topic)
        )
    else:
        encoding = str(message.encoding)
        depth = depth_from_message(message)
    if not camera.depth_scale:
        return depth
    taken = 1e-3 if encoding.lower() in ("16uc1", "mono16") else 1.0
    return DepthImage(depth.metres * (camera.depth_scale / taken))


def unit_hint(depth: DepthImage) -> str:
    """Return what to set where most readings are far too large or too small; empty where they are not."""
    readings = depth.metres[np.isfinite(depth.metres)]
    if not readings.size:
        return ""
    median_m = float(np.median(readings))
    if median_m > FAR_M:
        return (
            f"; half of its readings are beyond {median_m:.0f} m: if they are millimetres, set depth_scale to 0.001, "
            "if centimetres, to 0.01"
        )
    if median_m < NEAR_M:
        return (
            f"; half of its readings are nearer than {median_m:.4f} m: if they are metres, set depth_scale to 1.0, "
            "if centimetres, to 0.01"
        )
    return ""
