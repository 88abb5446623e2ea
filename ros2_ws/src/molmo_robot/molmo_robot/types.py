"""The values of a session: a request, the snapshot it is about, and the answer. Immutable, without ROS."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
from molmo_calibration import Transform

from molmo_point.images import Array
from molmo_point.points import Point, Pointing
from molmo_robot.codes import Code, PositionStatus
from molmo_robot.image_rotation import rotate_image, unrotate_points
from molmo_robot.ros_types import AnyImage, CameraInfoMessage, ImageMessage
from molmo_robot.settings import CameraSettings

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Request:
    """One question to one camera.

    Attributes:
        query: What to point to.
        camera: Name of a camera; empty means the first.
        not_before_ns: Take only an image stamped at this time or later; 0 means any.
        target_frame: Frame of the positions; None means the parameter's, empty the optical frame.
        compute_position: Whether positions are wanted.
        max_points: Largest number of points, the best first; 0 means all.
        timeout_s: For the whole request; None means the parameter's.
        image: A `sensor_msgs/Image` to look at instead of the camera's newest.
        camera_info: Its `sensor_msgs/CameraInfo`, or None for the camera's.
        request_id: Comes back in the answer.
    """

    query: str
    camera: str = ""
    not_before_ns: int = 0
    target_frame: str | None = None
    compute_position: bool = True
    max_points: int = 0
    timeout_s: float | None = None
    image: ImageMessage | None = None
    camera_info: CameraInfoMessage | None = None
    request_id: str = ""


@dataclass(frozen=True)
class Problem:
    """Why there is no position: a status, and a message with the topic or frame, what was expected and what came."""

    status: PositionStatus
    message: str


@dataclass(frozen=True, eq=False)
class Snapshot:
    """An image with all data of its stamp, taken before the model is asked.

    Attributes:
        camera: Settings of the camera.
        stamp_ns: Stamp of the image, untouched.
        frame_id: Its optical frame, untouched.
        image: (H, W, 3) uint8 RGB, oriented as published.
        info: Its `sensor_msgs/CameraInfo`, or None.
        depth: (stamp in ns, `sensor_msgs/Image` or `CompressedImage`) of the depth closest in time, or None.
        nearest_depth_ns: Stamp of the depth closest in time where it is too far away to be used; None where none has come.
        depth_info: `sensor_msgs/CameraInfo` of the depth, or None.
        target_frame: Frame of the positions.
        target_from_camera: Transform at the stamp; a `Problem` where there was none; None where it was not looked up.
        camera_from_depth: The same, from the depth image's frame.
        camera_from_plane: The same, from the frame of the parameters' plane.
    """

    camera: CameraSettings
    stamp_ns: int
    frame_id: str
    image: Array
    info: CameraInfoMessage | None = None
    depth: tuple[int, AnyImage] | None = None
    nearest_depth_ns: int | None = None
    depth_info: CameraInfoMessage | None = None
    target_frame: str = ""
    target_from_camera: Transform | Problem | None = None
    camera_from_depth: Transform | Problem | None = None
    camera_from_plane: Transform | Problem | None = None

    @property
    def image_size(self) -> tuple[int, int]:
        """(width, height) in pixels, as published."""
        return self.image.shape[1], self.image.shape[0]

    @cached_property
    def upright(self) -> Array:
        """(H, W, 3) uint8 RGB as the model sees it: rotated by the camera's `rotation`."""
        return rotate_image(self.image, self.camera.rotation)

    @property
    def upright_size(self) -> tuple[int, int]:
        """(width, height) in pixels as the model sees it."""
        return self.upright.shape[1], self.upright.shape[0]

    def as_published(self, pointing: Pointing) -> Pointing:
        """Return an answer about `upright` in norm of the image as published."""
        return unrotate_points(pointing, self.camera.rotation, self.image_size)


def _nan(*shape: int) -> FloatArray:
    return np.full(shape, np.nan)


@dataclass(frozen=True, eq=False)
class Position:
    """Where one point is in space.

    Attributes:
        status: OK, or why not.
        xyz: (3,) metres in the target frame; NaN unless OK.
        covariance: (3, 3) metres squared, same frame; NaN unless OK.
        depth_m: Along the optical axis; NaN where none was read.
        depth_spread_m: Robust standard deviation of the readings; NaN where unknown.
        depth_samples: Readings used.
        message: The reason in words, where the status is not OK.
    """

    status: PositionStatus
    xyz: FloatArray = field(default_factory=lambda: _nan(3))
    covariance: FloatArray = field(default_factory=lambda: _nan(3, 3))
    depth_m: float = float("nan")
    depth_spread_m: float = float("nan")
    depth_samples: int = 0
    message: str = ""


@dataclass(frozen=True, eq=False)
class LocatedPoint:
    """A point of the answer with its pixel and its position.

    Attributes:
        point: In norm of the image as published.
        uv: (2,) pixel centres on whole numbers, of the image as published.
        uv_covariance: (2, 2) pixels squared; NaN where unknown.
        position: Where it is in space.
        track_id: Identity under a continuous query or through a video; -1 for a single answer.
    """

    point: Point
    uv: FloatArray
    uv_covariance: FloatArray
    position: Position
    track_id: int = -1


@dataclass(frozen=True, eq=False)
class Answer:
    """A pointing with positions, ready to become messages.

    Attributes:
        snapshot: The instant of the image whose header the answer carries.
        pointing: As the model or the tracker gave it, in norm of the image as published.
        points: In the order of the answer.
        position_frame: Frame of every position; empty where none was asked for.
        evidence_stamp_ns: Stamp of the image the model saw.
        request_id: Of the request.
        inference_s: Seconds from the question to the answer.
        doubts: Why positions that could be computed may be wrong, in words.
    """

    snapshot: Snapshot
    pointing: Pointing
    points: tuple[LocatedPoint, ...]
    position_frame: str
    evidence_stamp_ns: int
    request_id: str = ""
    inference_s: float = 0.0
    doubts: tuple[str, ...] = ()

    @property
    def position_message(self) -> str:
        """Why positions are missing; empty where none is."""
        seen = dict.fromkeys(p.position.message for p in self.points if p.position.message)
        return "; ".join(seen)

    def best(self) -> LocatedPoint | None:
        """The point to act on: of those with a position (of all, where none has one) that with the highest score."""
        located = [p for p in self.points if p.position.status is PositionStatus.OK] or self.points
        return max(
            located, key=lambda p: -1.0 if p.point.score is None else p.point.score, default=None
        )


@dataclass(frozen=True, eq=False)
class Outcome:
    """How a request ended; `answer` is None where no image or no model got that far."""

    code: Code
    message: str = ""
    answer: Answer | None = None
