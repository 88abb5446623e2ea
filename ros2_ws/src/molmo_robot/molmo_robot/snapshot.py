"""`SnapshotBuilder`: image, depth, calibration and transform of one instant, combined before the model is asked.

When the answer comes, the image is 1.5 s old and its depth has left the buffers. So all data of the image's stamp are taken when
the image is chosen; what arrives late is fetched with the answer, for the same stamp.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any, cast

from molmo_calibration import FrameError, Transform

from molmo_robot.camera_buffers import CameraBuffer
from molmo_robot.codes import PositionStatus
from molmo_robot.errors import MessageError, NoImage, RequestError
from molmo_robot.messages.compressed_images import rgb_of_compressed
from molmo_robot.messages.images import rgb_of
from molmo_robot.ros_types import AnyImage, CompressedImageMessage, ImageMessage
from molmo_robot.settings import Settings
from molmo_robot.stamps import AHEAD_S, SECOND_NS, stamp_ns_of
from molmo_robot.transform_buffer import TransformBuffer
from molmo_robot.types import Problem, Request, Snapshot

FIRST_IMAGE_S = 1.0
"""How long a request waits for the first image of a camera that has just started."""


class SnapshotBuilder:
    """Builds snapshots from the camera buffers and the transforms, which it does not own."""

    def __init__(
        self,
        buffers: Mapping[str, CameraBuffer],
        transforms: TransformBuffer,
        clock: Callable[[], int],
    ) -> None:
        self._buffers = buffers
        self._transforms = transforms
        self._clock = clock

    def buffer(self, camera: str) -> CameraBuffer:
        """Return the buffer of a camera, the first for an empty name.

        Raises:
            RequestError: There is none of that name.
        """
        found = self._buffers.get(camera or next(iter(self._buffers)))
        if found is None:
            raise RequestError(
                f"expected a camera out of {', '.join(self._buffers)}, got {camera!r}"
            )
        return found

    def capture(
        self, request: Request, settings: Settings, timeout_s: float, cancelled: Callable[[], bool]
    ) -> Snapshot:
        """Choose the image for a request and return its snapshot.

        Raises:
            RequestError: Unknown camera.
            NoImage: No image, none new enough, or none that can be read.
            MessageError: The request's own image cannot be read.
        """
        buffer = self.buffer(request.camera)
        if request.image is not None and int(request.image.width) > 0:
            return self.capture_message(request.image, request, settings, own=True)
        patience_s = timeout_s
        if not request.not_before_ns:
            patience_s = min(timeout_s, settings.max_image_age_s or FIRST_IMAGE_S)
        _, message = buffer.wait_image(
            not_before_ns=request.not_before_ns,
            max_age_ns=round(settings.max_image_age_s * SECOND_NS),
            clock=self._clock,
            timeout_s=patience_s,
            cancelled=cancelled,
        )
        try:
            return self.capture_message(message, request, settings)
        except MessageError as error:
            raise NoImage(str(error)) from error

    def capture_message(
        self,
        message: AnyImage,
        request: Request,
        settings: Settings,
        *,
        own: bool = False,
        depth: AnyImage | None = None,
    ) -> Snapshot:
        """Return the snapshot of a given image.

        Args:
            message: `sensor_msgs/Image`, or the camera's `CompressedImage`.
            request: The request it is for.
            settings: The parameters.
            own: The image came with the request, uncompressed.
            depth: The depth image nearest in time, where the caller has it; None takes it from the buffer.

        Raises:
            MessageError: It cannot be read.
        """
        buffer = self.buffer(request.camera)
        camera = buffer.settings
        if own:
            image = rgb_of(cast(ImageMessage, message), "the request's image", camera.contrast)
        elif camera.image_transport == "compressed":
            image = rgb_of_compressed(
                cast(CompressedImageMessage, message), camera.image_topic, camera.contrast
            )
        else:
            image = rgb_of(cast(ImageMessage, message), camera.image_topic, camera.contrast)
        frame_id = str(message.header.frame_id)
        info = buffer.info_of(frame_id)
        if request.camera_info is not None and int(request.camera_info.width) > 0:
            info = request.camera_info
        target = settings.target_frame if request.target_frame is None else request.target_frame
        snapshot = Snapshot(
            camera=camera,
            stamp_ns=stamp_ns_of(message.header),
            frame_id=frame_id,
            image=image,
            info=info,
            target_frame=target.lstrip("/") or frame_id.lstrip("/"),
        )
        if depth is not None:
            snapshot = _with_depth(snapshot, depth, settings)
        return self.complete(snapshot, settings) if request.compute_position else snapshot

    def complete(self, snapshot: Snapshot, settings: Settings) -> Snapshot:
        """Return the snapshot with what it still lacked, for its own stamp, waiting `tf_timeout_s` seconds in all."""
        deadline = time.monotonic() + settings.tf_timeout_s
        changes: dict[str, Any] = {}
        depth = snapshot.depth
        camera = snapshot.camera
        if depth is None and camera.depth_topic and settings.position_source == "depth":
            tolerance_ns = round(settings.sync_tolerance_s * SECOND_NS)
            buffer = self.buffer(camera.name)
            depth = buffer.wait_depth(snapshot.stamp_ns, tolerance_ns, settings.tf_timeout_s)
            changes["depth"] = depth
            if depth is None:
                nearest_ns = buffer.nearest_depth_ns(snapshot.stamp_ns)
                changes["nearest_depth_ns"] = (
                    snapshot.nearest_depth_ns if nearest_ns is None else nearest_ns
                )
        if not isinstance(snapshot.target_from_camera, Transform):
            changes["target_from_camera"] = self._transform(
                snapshot.target_frame, snapshot.frame_id, snapshot.stamp_ns, deadline
            )
        depth_frame = str(depth[1].header.frame_id) if depth else ""
        if snapshot.depth_info is None:
            changes["depth_info"] = self.buffer(camera.name).depth_info_of(depth_frame)
        across = depth_frame and camera.depth_info_topic and camera.depth_registered != "true"
        if across and not isinstance(snapshot.camera_from_depth, Transform):
            changes["camera_from_depth"] = self._transform(
                snapshot.frame_id, depth_frame, snapshot.stamp_ns, deadline
            )
        if settings.position_source == "plane" and not isinstance(
            snapshot.camera_from_plane, Transform
        ):
            plane_frame = settings.plane_frame or snapshot.target_frame
            changes["camera_from_plane"] = self._transform(
                snapshot.frame_id, plane_frame, snapshot.stamp_ns, deadline
            )
        return dataclasses.replace(snapshot, **changes)

    def _transform(
        self, target: str, source: str, stamp_ns: int, deadline: float
    ) -> Transform | Problem:
        target, source = target.lstrip("/"), source.lstrip("/")
        left_s = max(0.0, deadline - time.monotonic())
        try:
            return self._transforms.wait(target, source, stamp_ns, left_s)
        except FrameError as error:
            lacks = "frame_id" if not source else "stamp" if not stamp_ns else ""
            hint = f"; the image carries no {lacks}: let the driver set it" if lacks else ""
            ahead_s = (stamp_ns - self._clock()) / SECOND_NS
            if ahead_s > AHEAD_S:
                hint += f"; the image is {ahead_s:.1f} s ahead of this computer's clock: synchronize the two"
            return Problem(
                PositionStatus.NO_TRANSFORM,
                f"{self._transforms.topics[0]}: expected {target!r} from {source!r} at the image's stamp {stamp_ns} ns: "
                f"{error}{hint}",
            )


def _with_depth(snapshot: Snapshot, depth: AnyImage, settings: Settings) -> Snapshot:
    """Return the snapshot with a depth image, or with the stamp of one that is too far away."""
    stamp_ns = stamp_ns_of(depth.header)
    if abs(stamp_ns - snapshot.stamp_ns) > round(settings.sync_tolerance_s * SECOND_NS):
        return dataclasses.replace(snapshot, nearest_depth_ns=stamp_ns)
    return dataclasses.replace(snapshot, depth=(stamp_ns, depth))
