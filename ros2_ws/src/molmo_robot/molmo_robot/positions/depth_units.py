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

UNITS = {"millimetres": 1e-3, "metres": 1.0, "centimetres": 0.01, "tenths of a millimetre": 1e-4}
"""Metres per unit, the most frequent ones first."""

SATURATED = 2**16 - 1


def depth_of(message: AnyImage, camera: CameraSettings) -> DepthImage:
    """Decode a `sensor_msgs/Image` or `CompressedImage` with depth, in the unit of REP 118 or of `depth_scale`.

    Raises:
        MessageError: Compressed data that cannot be read; names the topic.
        CalibrationError: An encoding that is no depth, or fewer bytes than the size promises.
    """
    if hasattr(message, "format"):
        depth = depth_from_array(
            depth_array(cast(CompressedImageMessage, message), camera.depth_topic)
        )
    else:
        depth = depth_from_message(message)
    if not camera.depth_scale:
        return depth
    return DepthImage(depth.metres * (camera.depth_scale / _usual_unit(message)))


def unit_of(message: AnyImage, camera: CameraSettings) -> float:
    """Metres per unit that `depth_of` takes a message's readings to have."""
    return camera.depth_scale or _usual_unit(message)


def _usual_unit(message: AnyImage) -> float:
    """REP 118: integers are millimetres."""
    if hasattr(message, "format"):
        encoding = DepthFormat.of(str(message.format)).encoding
    else:
        encoding = str(message.encoding)
    return 1e-3 if encoding.lower() in ("16uc1", "mono16") else 1.0


def unit_hint(depth: DepthImage, unit: float) -> str:
    """Return what to set where most readings are far too large or too small; empty where they are not.

    Args:
        depth: In metres.
        unit: Metres per unit that its readings were taken to have.
    """
    readings = depth.metres[np.isfinite(depth.metres)]
    if not readings.size:
        return ""
    median_m = float(np.median(readings))
    if median_m > FAR_M:
        if round(median_m / unit) == SATURATED:
            return f"; half of its readings are {SATURATED}, the largest number of 16 bits: such cameras mean no reading"
        others = {name: m for name, m in UNITS.items() if m < unit * (1 - 1e-9)}
        words = f"; half of its readings are beyond {median_m:.0f} m"
    elif median_m < NEAR_M:
        others = {name: m for name, m in UNITS.items() if m > unit * (1 + 1e-9)}
        words = f"; half of its readings are nearer than {median_m:.4f} m"
    else:
        return ""
    if not others:
        return words
    (name, scale), *rest = others.items()
    advice = f"if they are {name}, set depth_scale to {scale}"
    return f"{words}: {advice}{''.join(f', if {other}, to {m}' for other, m in rest)}"
