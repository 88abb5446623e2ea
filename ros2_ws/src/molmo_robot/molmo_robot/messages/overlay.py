"""The image with the answer drawn on it, as a `sensor_msgs/Image`."""

from __future__ import annotations

import numpy as np

from molmo_point.images import Array
from molmo_robot.messages.results import Make, header
from molmo_robot.ros_types import Message
from molmo_robot.settings import Settings
from molmo_robot.types import Answer


def overlay(make: Make, answer: Answer, settings: Settings) -> Message:
    """Build the overlay; drawing is `molmo_point.draw`'s."""
    from molmo_point.draw import draw

    drawn = np.asarray(draw(answer.snapshot.image, answer.pointing, min_side=1), dtype=np.uint8)
    return image_message(make, drawn, answer.snapshot.stamp_ns, answer.snapshot.frame_id)


def image_message(make: Make, rgb: Array, stamp_ns: int, frame_id: str) -> Message:
    """Build a `sensor_msgs/Image` of an (H, W, 3) uint8 RGB array."""
    height, width = rgb.shape[:2]
    return make(
        "sensor_msgs/msg/Image",
        header=header(make, stamp_ns, frame_id),
        height=height,
        width=width,
        encoding="rgb8",
        is_bigendian=0,
        step=3 * width,
        data=np.ascontiguousarray(rgb).reshape(-1),
    )
