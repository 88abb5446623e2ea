"""`DepthReader`: positions from one depth image, after checking that it fits the image it is used with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

import numpy as np
from molmo_calibration import (
    CalibrationError,
    Camera,
    DepthImage,
    DepthOptions,
    StereoNoise,
    Transform,
    depth_at,
    lift,
)

from molmo_robot.codes import PositionStatus
from molmo_robot.errors import MessageError
from molmo_robot.positions.camera_info import camera_from
from molmo_robot.positions.depth_units import depth_of, unit_hint, unit_of
from molmo_robot.ros_types import CameraInfoMessage
from molmo_robot.settings import CameraSettings, Settings
from molmo_robot.stamps import SECOND_NS
from molmo_robot.types import FloatArray, Position, Problem, Snapshot

_STATUS = {
    "none": (PositionStatus.INVALID_DEPTH, "no valid reading"),
    "ambiguous": (PositionStatus.AMBIGUOUS, "more than one surface"),
    "out_of_range": (
        PositionStatus.OUT_OF_RANGE,
        "readings outside depth_min_m .. depth_max_m only",
    ),
    "no_ray": (PositionStatus.INVALID_DEPTH, "the lens has no ray for this pixel"),
}

SAME_LENS = 0.01
"""Focal lengths and centres closer than this share of the focal length are those of one lens at two resolutions."""


@dataclass(frozen=True, eq=False)
class DepthReader:
    """Reads positions out of a depth image.

    Attributes:
        depth: In metres, NaN where there is no reading.
        camera: Of the image.
        settings: Limits, strategy, noise.
        topic: Of the depth image, for messages.
        unit: Metres that one of its numbers was taken for.
        depth_camera: Of the depth image, where it is not registered to the image.
        camera_from_depth: With it.
    """

    depth: DepthImage
    camera: Camera
    settings: Settings
    topic: str
    unit: float
    depth_camera: Camera | None = None
    camera_from_depth: Transform | None = None

    @classmethod
    def of(
        cls, snapshot: Snapshot, camera: Camera, settings: Settings
    ) -> Union[DepthReader, Problem]:
        """Return a reader for a snapshot, or the problem with its depth."""
        topic = snapshot.camera.depth_topic
        if snapshot.depth is None:
            return Problem(PositionStatus.NO_DEPTH, _missing(snapshot.camera, settings, snapshot))
        message = snapshot.depth[1]
        try:
            depth = depth_of(message, snapshot.camera)
        except MessageError as error:
            return Problem(PositionStatus.INVALID_DEPTH, str(error))
        except CalibrationError as error:
            return Problem(PositionStatus.INVALID_DEPTH, f"{topic}: {error}")
        unit = unit_of(message, snapshot.camera)
        own = _own_camera(snapshot, depth, camera)
        if isinstance(own, Problem):
            return own
        if own is None:
            if not _same_shape(depth.size, camera.image_size):
                return Problem(
                    PositionStatus.DEPTH_MISMATCH,
                    f"{topic}: expected depth registered to {camera.image_size[0]}x{camera.image_size[1]} pixels "
                    f"(or a fraction of it), got {depth.size[0]}x{depth.size[1]}: use the driver's aligned depth, "
                    "or name depth_info_topic",
                )
            return cls(depth, camera, settings, topic, unit)
        across = snapshot.camera_from_depth
        if not isinstance(across, Transform):
            return across or Problem(
                PositionStatus.NO_TRANSFORM, f"{topic}: its frame is not known"
            )
        return cls(depth, camera, settings, topic, unit, own, across)

    def position(self, uv: FloatArray, covariance: FloatArray, target: Transform) -> Position:
        """Return where a pixel is.

        Args:
            uv: (2,) pixel of the image.
            covariance: (2, 2) pixels squared.
            target: target_from_camera.
        """
        settings = self.settings
        options = DepthOptions(
            strategy=settings.depth_strategy,
            window_px=settings.depth_window_px,
            min_m=max(settings.depth_min_m, 1e-3),
            max_m=settings.depth_max_m,
        )
        found = depth_at(
            self.depth,
            uv,
            self.camera,
            options=options,
            depth_camera=self.depth_camera,
            camera_from_depth=self.camera_from_depth,
        )
        # sigma = noise * z^2: the law of stereo and structured light, with one number to set.
        noise = StereoNoise(1.0, 1.0, settings.depth_noise) if settings.depth_noise else None
        lifted = lift(self.camera, uv, found, covariance, noise)
        if not lifted.ok:
            status, words = _STATUS[lifted.status]
            outside = status is PositionStatus.OUT_OF_RANGE
            hint = unit_hint(self.depth, self.unit) if outside else ""
            return Position(
                status,
                depth_samples=found.samples,
                message=f"{self.topic}: {words} around pixel ({uv[0]:.1f}, {uv[1]:.1f}){hint}",
            )
        moved = lifted.transformed(target)
        return Position(
            PositionStatus.OK,
            moved.point,
            moved.covariance,
            found.z_m,
            found.spread_m,
            found.samples,
        )


def _missing(camera: CameraSettings, settings: Settings, snapshot: Snapshot) -> str:
    if not camera.depth_topic:
        return f"{camera.name}.depth_topic: expected a topic with depth, none is set"
    wanted = (
        f"{camera.depth_topic}: expected a depth image within {settings.sync_tolerance_s:g} s of the image of "
        f"{snapshot.stamp_ns} ns"
    )
    if snapshot.nearest_depth_ns is None:
        return f"{wanted}, none has come on the topic: does the camera publish it, and does its type fit depth_transport?"
    late_s = (snapshot.nearest_depth_ns - snapshot.stamp_ns) / SECOND_NS
    return (
        f"{wanted}, the nearest is {abs(late_s):.3f} s {'later' if late_s > 0 else 'earlier'}: synchronize the streams in "
        "the driver, or raise sync_tolerance_s as far as the scene stands still"
    )


def _own_camera(
    snapshot: Snapshot, depth: DepthImage, camera: Camera
) -> Union[Camera, Problem, None]:
    """The depth image's own camera where it is not registered to the image, None where it is."""
    settings = snapshot.camera
    if settings.depth_registered == "true":
        return None
    if not settings.depth_info_topic:
        return _other_camera(snapshot)
    if snapshot.depth_info is None or snapshot.depth is None:
        return Problem(
            PositionStatus.NO_CAMERA_INFO,
            f"{settings.depth_info_topic}: expected a sensor_msgs/CameraInfo of the depth image, none has come",
        )
    frame_id = str(snapshot.depth[1].header.frame_id)
    own = camera_from(snapshot.depth_info, settings.depth_info_topic, frame_id)
    if isinstance(own, Problem):
        return own
    if own.image_size != depth.size:
        return Problem(
            PositionStatus.DEPTH_MISMATCH,
            f"{settings.depth_topic}: expected {own.image_size[0]}x{own.image_size[1]} pixels as "
            f"{settings.depth_info_topic} says, got {depth.size[0]}x{depth.size[1]}",
        )
    if settings.depth_registered == "false":
        return own
    info_frame = _info_frame(snapshot.depth_info)
    if info_frame and frame_id and info_frame != frame_id.lstrip("/"):
        return Problem(
            PositionStatus.DEPTH_MISMATCH,
            f"{settings.depth_topic}: expected depth in the frame {info_frame!r} as {settings.depth_info_topic} says, got "
            f"it in {frame_id!r}: name the camera_info of this depth, or set depth_registered to true or false",
        )
    same_frame = frame_id.lstrip("/") == snapshot.frame_id.lstrip("/")
    return None if same_frame and _same_lens(own, camera) else own


def _other_camera(snapshot: Snapshot) -> Problem | None:
    """A problem where depth without a camera_info is of another camera than the image."""
    assert snapshot.depth is not None
    depth_frame = str(snapshot.depth[1].header.frame_id).lstrip("/")
    frame = snapshot.frame_id.lstrip("/")
    if not depth_frame or not frame or depth_frame == frame:
        return None
    return Problem(
        PositionStatus.DEPTH_MISMATCH,
        f"{snapshot.camera.depth_topic}: expected depth registered to the image, in its frame {frame!r}, got depth in "
        f"{depth_frame!r}: use the driver's aligned depth, name depth_info_topic, or set depth_registered to true if its "
        "pixels do lie on those of the image",
    )


def _info_frame(info: CameraInfoMessage) -> str:
    return str(getattr(getattr(info, "header", None), "frame_id", "") or "").lstrip("/")


def _same_shape(a: tuple[int, int], b: tuple[int, int]) -> bool:
    """Whether two sizes cover the same view, up to a pixel of rounding."""
    return abs(a[0] * b[1] - a[1] * b[0]) <= max(*a, *b)


def _same_lens(a: Camera, b: Camera) -> bool:
    """Whether two cameras see the same rays, at the same or another resolution."""
    if not _same_shape(a.image_size, b.image_size):
        return False
    scale = b.image_size[0] / a.image_size[0]
    k = np.array(a.image_matrix)
    k[:2] *= scale
    return bool(np.abs(k - b.image_matrix)[:2].max() <= SAME_LENS * abs(b.image_matrix[0, 0]))
