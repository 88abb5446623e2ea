"""The fields of ROS messages that are read here, as protocols.

Messages of rclpy, dataclasses of rosbags and test doubles have the same field names. `Message` is a built message: it is passed
on and never read.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Protocol, Union

import numpy as np
import numpy.typing as npt

Message = object

ByteData = Union[bytes, "array[int]", npt.NDArray[np.uint8]]
"""A `uint8[]` field: array.array (rclpy), ndarray (rosbags) or bytes; all give a buffer."""


class Time(Protocol):
    """`builtin_interfaces/Time` or `Duration`."""

    sec: int
    nanosec: int


class Header(Protocol):
    """`std_msgs/Header`."""

    @property
    def stamp(self) -> Time: ...
    @property
    def frame_id(self) -> str: ...


class Stamped(Protocol):
    """A message with a header."""

    @property
    def header(self) -> Header: ...


class ImageMessage(Stamped, Protocol):
    """`sensor_msgs/Image`; `step` is the bytes of a row with its padding."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int

    @property
    def data(self) -> ByteData: ...


class CompressedImageMessage(Stamped, Protocol):
    """`sensor_msgs/CompressedImage`."""

    format: str

    @property
    def data(self) -> ByteData: ...


AnyImage = Union[ImageMessage, CompressedImageMessage]


class CameraInfoMessage(Stamped, Protocol):
    """Size, K and D of a `sensor_msgs/CameraInfo`; `molmo_calibration` reads the rest."""

    height: int
    width: int

    @property
    def k(self) -> Sequence[float]: ...
    @property
    def d(self) -> Sequence[float]: ...


class Vector3(Protocol):
    """`geometry_msgs/Vector3`."""

    x: float
    y: float
    z: float


class Quaternion(Vector3, Protocol):
    """`geometry_msgs/Quaternion`."""

    w: float


class TransformMessage(Protocol):
    """`geometry_msgs/Transform`."""

    @property
    def translation(self) -> Vector3: ...
    @property
    def rotation(self) -> Quaternion: ...


class TransformStamped(Stamped, Protocol):
    """`geometry_msgs/TransformStamped`."""

    child_frame_id: str

    @property
    def transform(self) -> TransformMessage: ...


class TFMessage(Protocol):
    """`tf2_msgs/TFMessage`."""

    @property
    def transforms(self) -> Sequence[TransformStamped]: ...


class SetQueryMessage(Protocol):
    """The request of `molmo_point_msgs/srv/SetQuery`."""

    query: str
    camera: str
    target_frame: str
    compute_position: bool
    max_rate: float


class PointRequestMessage(Protocol):
    """The fields that a goal of `molmo_point_msgs/action/Point` and a request of `srv/Point` share."""

    query: str
    camera: str
    target_frame: str
    compute_position: bool
    max_points: int

    @property
    def timeout(self) -> Time: ...
    @property
    def not_before(self) -> Time: ...


class PointResultMessage(Protocol):
    """A result of `molmo_point_msgs/action/Point` or a response of `srv/Point`."""

    code: int
    message: str
    answer: Message


class PointFeedbackMessage(Protocol):
    """A feedback of `molmo_point_msgs/action/Point`."""

    stage: int
    queue_position: int
    partial: Message


class ImagesQueryMessage(Protocol):
    """`molmo_point_msgs/ImagesQuery`."""

    query: str
    request_id: str
    frames: int
    target_frame: str
    compute_position: bool
    max_points: int

    @property
    def cameras(self) -> Sequence[str]: ...
    @property
    def timeout(self) -> Time: ...
    @property
    def not_before(self) -> Time: ...


class ImagesFeedbackMessage(Protocol):
    """A feedback of `molmo_point_msgs/action/PointImages`."""

    stage: int
    queue_position: int
    partial: Message
