"""`Freezer`: picture, depth, calibration and transform of one instant, put together before the model is asked.

A 3D node that pairs answers with depth afterwards finds neither the depth nor the transform of a picture that is 1.5 s old. So
everything that belongs to the picture's stamp is taken when the picture is chosen; what lags behind is fetched when the answer is
there, for the same stamp.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

from molmo_calibration import FrameError, Transform

from molmo_robot.camera_buffers import CameraFeed
from molmo_robot.codes import PositionStatus
from molmo_robot.errors import MessageError, NoImage, RequestError
from molmo_robot.messages.compressed_images import rgb_of_compressed
from molmo_robot.messages.images import rgb_of
from molmo_robot.settings import Settings
from molmo_robot.stamps import SECOND_NS, stamp_ns_of
from molmo_robot.transform_buffer import TransformBuffer
from molmo_robot.types import Moment, Problem, Request

FIRST_PICTURE_S = 1.0
"""How long a request waits where no picture has come yet: a camera that just started, not one that is dead."""


class Freezer:
    """Reads the feeds and the transforms for a request; owns neither."""

    def __init__(
        self,
        feeds: Mapping[str, CameraFeed],
        transforms: TransformBuffer,
        clock: Callable[[], int],
    ) -> None:
        self._feeds = feeds
        self._transforms = transforms
        self._clock = clock

    def feed(self, camera: str) -> CameraFeed:
        """Return the feed of a camera, the first for an empty name.

        Raises:
            RequestError: There is none of that name.
        """
        found = self._feeds.get(camera or next(iter(self._feeds)))
        if found is None:
            raise RequestError(
                f"expected a camera out of {', '.join(self._feeds)}, got {camera!r}"
            )
        return found

    def choose(
        self, request: Request, settings: Settings, timeout_s: float, cancelled: Callable[[], bool]
    ) -> Moment:
        """Choose the picture for a request and freeze its instant.

        Raises:
            RequestError: Unknown camera.
            NoImage: No picture, none new enough, or none that can be read.
            MessageError: The request's own picture cannot be read.
        """
        feed = self.feed(request.camera)
        if request.image is not None and int(request.image.width) > 0:
            return self.freeze(request.image, request, settings, own=True)
        patience_s = timeout_s
        if not request.not_before_ns:
            patience_s = min(timeout_s, settings.max_image_age_s or FIRST_PICTURE_S)
        _, message = feed.wait_image(
            not_before_ns=request.not_before_ns,
            max_age_ns=round(settings.max_image_age_s * SECOND_NS),
            clock=self._clock,
            timeout_s=patience_s,
            cancelled=cancelled,
        )
        try:
            return self.freeze(message, request, settings)
        except MessageError as error:
            raise NoImage(str(error)) from error

    def freeze(
        self,
        message: Any,
        request: Request,
        settings: Settings,
        *,
        own: bool = False,
        depth: Any = None,
    ) -> Moment:
        """Freeze the instant of a given picture.

        Args:
            message: `sensor_msgs/Image`, or the camera's `CompressedImage`.
            request: What is wanted of it.
            settings: The parameters.
            own: The picture came with the request, uncompressed.
            depth: The depth image nearest in time, where the caller has it; None takes it from the feed.

        Raises:
            MessageError: It cannot be read.
        """
        feed = self.feed(request.camera)
        camera = feed.settings
        if own:
            image = rgb_of(message, "the request's image", camera.contrast)
        elif camera.image_transport == "compressed":
            image = rgb_of_compressed(message, camera.image_topic, camera.contrast)
        else:
            image = rgb_of(message, camera.image_topic, camera.contrast)
        info = feed.info
        if request.camera_info is not None and int(request.camera_info.width) > 0:
            info = request.camera_info
        target = settings.target_frame if request.target_frame is None else request.target_frame
        frame_id = str(message.header.frame_id)
        moment = Moment(
            camera=camera,
            stamp_ns=stamp_ns_of(message.header),
            frame_id=frame_id,
            image=image,
            info=info,
            depth_info=feed.depth_info,
            target_frame=target.lstrip("/") or frame_id.lstrip("/"),
        )
        if depth is not None:
            moment = _with_depth(moment, depth, settings)
        return self.complete(moment, settings) if request.compute_position else moment

    def complete(self, moment: Moment, settings: Settings) -> Moment:
        """Fetch what the instant still lacks, for its own stamp, waiting `tf_timeout_s` seconds in all."""
        deadline = time.monotonic() + settings.tf_timeout_s
        changes: dict[str, Any] = {}
        depth = moment.depth
        camera = moment.camera
        if depth is None and camera.depth_topic and settings.position_source == "depth":
            tolerance_ns = round(settings.sync_tolerance_s * SECOND_NS)
            feed = self.feed(camera.name)
            depth = feed.wait_depth(moment.stamp_ns, tolerance_ns, settings.tf_timeout_s)
            changes.update(depth=depth, depth_info=moment.depth_info or feed.depth_info)
            if depth is None:
                nearest_ns = feed.nearest_depth_ns(moment.stamp_ns)
                changes["nearest_depth_ns"] = (
                    moment.nearest_depth_ns if nearest_ns is None else nearest_ns
                )
        if not isinstance(moment.target_from_camera, Transform):
            changes["target_from_camera"] = self._transform(
                moment.target_frame, moment.frame_id, moment.stamp_ns, deadline
            )
        depth_frame = str(depth[1].header.frame_id) if depth else ""
        across = depth_frame and camera.depth_info_topic and camera.depth_registered != "true"
        if across and not isinstance(moment.camera_from_depth, Transform):
            changes["camera_from_depth"] = self._transform(
                moment.frame_id, depth_frame, moment.stamp_ns, deadline
            )
        if settings.position_source == "plane" and not isinstance(
            moment.camera_from_plane, Transform
        ):
            plane_frame = settings.plane_frame or moment.target_frame
            changes["camera_from_plane"] = self._transform(
                moment.frame_id, plane_frame, moment.stamp_ns, deadline
            )
        return dataclasses.replace(moment, **changes)

    def _transform(
        self, target: str, source: str, stamp_ns: int, deadline: float
    ) -> Transform | Problem:
        target, source = target.lstrip("/"), source.lstrip("/")
        left_s = max(0.0, deadline - time.monotonic())
        try:
            return self._transforms.wait(target, source, stamp_ns, left_s)
        except FrameError as error:
            return Problem(
                PositionStatus.NO_TRANSFORM,
                f"{self._transforms.topics[0]}: expected {target!r} from {source!r} at the picture's stamp {stamp_ns} ns: "
                f"{error}",
            )


def _with_depth(moment: Moment, depth: Any, settings: Settings) -> Moment:
    """The moment with a depth image, or with how far away that one is."""
    stamp_ns = stamp_ns_of(depth.header)
    if abs(stamp_ns - moment.stamp_ns) > round(settings.sync_tolerance_s * SECOND_NS):
        return dataclasses.replace(moment, nearest_depth_ns=stamp_ns)
    return dataclasses.replace(moment, depth=(stamp_ns, depth))
