"""`CameraBuffer`: the newest images, depth images and calibration of one camera, and the messages that were dropped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from molmo_robot.calibrations import Calibrations, Turns, frame_of
from molmo_robot.errors import NoImage
from molmo_robot.ros_types import AnyImage, CameraInfoMessage
from molmo_robot.settings import CameraSettings
from molmo_robot.stamped_buffer import StampedBuffer, Strays
from molmo_robot.stamps import SECOND_NS, stamp_ns_of

IMAGES_KEPT = 8
"""Requests use the newest image; a few older ones are kept for `not_before` and for late callers."""

DEPTH_KEPT_S = 2.0
"""Depth is taken together with its image, so the buffer only covers the lag between the two topics, at any rate."""

DEPTHS_KEPT = 600
"""Depth images at most: bounds the memory where the clock stands still or the rate is very high."""


@dataclass
class Counts:
    """Counters since the start, for diagnostics."""

    images: int = 0
    depths: int = 0
    jumps: int = 0
    sync_misses: int = 0


class CameraBuffer:
    """Buffers of one camera. Thread-safe: subscriptions write, requests read and wait.

    Args:
        settings: Of the camera.
        video_frames: Frames kept for questions about a video; 0 keeps none.
        video_period_s: Seconds between two of them at least.
    """

    def __init__(
        self, settings: CameraSettings, video_frames: int = 0, video_period_s: float = 0.5
    ) -> None:
        self.settings = settings
        self._frames: StampedBuffer[AnyImage] = StampedBuffer(max(1, video_frames))
        self._frame_period_ns = round(video_period_s * SECOND_NS) if video_frames else None
        self.counts = Counts()
        self._images: StampedBuffer[AnyImage] = StampedBuffer(IMAGES_KEPT)
        self._depths: StampedBuffer[AnyImage] = StampedBuffer(DEPTHS_KEPT, DEPTH_KEPT_S)
        self.infos = Calibrations(settings.info_topic)
        """Calibrations of the image."""
        self.depth_infos = Calibrations(settings.depth_info_topic)
        """Calibrations of the depth image."""
        self._turns = Turns()
        self._arrived = threading.Condition()
        self._strays = (Strays(), Strays())
        self.stray = ""
        """Why an image or depth image was dropped, or what is wrong with its topic, in words; empty where nothing is."""

    def add_image(self, message: AnyImage) -> int:
        """Keep an image; returns its stamp in nanoseconds."""
        stamp_ns = stamp_ns_of(message.header)
        with self._arrived:
            self.counts.images += 1
            both = self._turns.both(repr(frame_of(message)))
            if both is not None:
                self.stray = (
                    f"{self.settings.image_topic}: images of the frames {both} come by turns, as of two cameras: give each "
                    "camera a topic of its own"
                )
            if self._is_stray(
                stamp_ns, self._strays[0], self._images.newest(), self.settings.image_topic
            ):
                return stamp_ns
            if self._images.add(stamp_ns, message):
                self.counts.jumps += 1
                self._depths.clear()
                self._frames.clear()
            self._keep_frame(stamp_ns, message)
            self._arrived.notify_all()
        return stamp_ns

    def _keep_frame(self, stamp_ns: int, message: AnyImage) -> None:
        """Keep an image for videos, if it is late enough after the one before."""
        if self._frame_period_ns is None:
            return
        last = self._frames.newest()
        if last is None or stamp_ns >= last[0] + self._frame_period_ns:
            self._frames.add(stamp_ns, message)

    def frames_before(self, stamp_ns: int, count: int) -> list[tuple[int, AnyImage]]:
        """Return (stamp, message) of the last `count` frames of the video older than a stamp, the oldest first."""
        return self._frames.before(stamp_ns, count)

    def add_depth(self, message: AnyImage) -> None:
        """Keep a depth image."""
        stamp_ns = stamp_ns_of(message.header)
        with self._arrived:
            self.counts.depths += 1
            if self._is_stray(
                stamp_ns, self._strays[1], self._depths.newest(), self.settings.depth_topic
            ):
                return
            self._depths.add(stamp_ns, message)
            self._arrived.notify_all()

    def add_info(self, message: CameraInfoMessage) -> str:
        """Keep a calibration of the image; return what is wrong with it, in words."""
        with self._arrived:
            return self.infos.add(message)

    def add_depth_info(self, message: CameraInfoMessage) -> str:
        """Keep a calibration of the depth image; return what is wrong with it, in words."""
        with self._arrived:
            return self.depth_infos.add(message)

    def info_of(self, frame: str) -> CameraInfoMessage | None:
        """Return the `sensor_msgs/CameraInfo` of an image in a frame: the newest of its frame, else the newest of all."""
        with self._arrived:
            return self.infos.of(frame)

    def depth_info_of(self, frame: str) -> CameraInfoMessage | None:
        """The same of a depth image."""
        with self._arrived:
            return self.depth_infos.of(frame)

    def newest_stamp_ns(self) -> int | None:
        """Stamp of the newest image, or None."""
        newest = self._images.newest()
        return None if newest is None else newest[0]

    def clear(self) -> None:
        """Forget images and depth (the clock was set back); calibration is kept."""
        with self._arrived:
            self._images.clear()
            self._depths.clear()
            self._frames.clear()

    def wait_image(
        self,
        *,
        not_before_ns: int,
        max_age_ns: int,
        clock: Callable[[], int],
        timeout_s: float,
        cancelled: Callable[[], bool],
    ) -> tuple[int, AnyImage]:
        """Return (stamp, message) of the newest image that is new enough, waiting for one if necessary.

        Args:
            not_before_ns: Oldest stamp taken.
            max_age_ns: Largest age by `clock`; 0 for any.
            clock: Now, in the time of the stamps.
            timeout_s: How long to wait.
            cancelled: Asked a few times a second; True ends the wait.

        Raises:
            NoImage: Nothing (new enough) came; says the topic, what was expected and what there is.
        """
        deadline = time.monotonic() + timeout_s
        with self._arrived:
            while True:
                newest = self._images.newest()
                if newest is not None and newest[0] >= max(
                    not_before_ns, clock() - max_age_ns if max_age_ns else 0
                ):
                    return newest
                left = deadline - time.monotonic()
                if left <= 0 or cancelled():
                    raise NoImage(self._complaint(newest, not_before_ns, clock()))
                self._arrived.wait(min(left, 0.05))

    def wait_depth(
        self, stamp_ns: int, tolerance_ns: int, timeout_s: float
    ) -> tuple[int, AnyImage] | None:
        """Return (stamp, message) of the depth closest to an image, waiting while it may still come.

        A miss is counted. Depth later than the image ends the wait: topics keep their order.
        """
        deadline = time.monotonic() + timeout_s
        with self._arrived:
            while True:
                found = self._depths.nearest(stamp_ns, tolerance_ns)
                newest = self._depths.newest()
                passed = newest is not None and newest[0] >= stamp_ns
                left = deadline - time.monotonic()
                exact = found is not None and found[0] == stamp_ns
                if exact or passed or left <= 0:
                    self.counts.sync_misses += found is None
                    return found
                self._arrived.wait(left)

    def nearest_depth_ns(self, stamp_ns: int) -> int | None:
        """Stamp of the depth image closest to an image, however far away; None where there is none."""
        found = self._depths.nearest(stamp_ns, tolerance_ns=2**63)
        return None if found is None else found[0]

    def _is_stray(
        self, stamp_ns: int, strays: Strays, newest: tuple[int, AnyImage] | None, topic: str
    ) -> bool:
        """Whether to drop a message with an old or missing stamp, so that a second publisher does not clear newer ones."""
        if not strays.is_stray(stamp_ns, None if newest is None else newest[0]) or newest is None:
            return False
        what = (
            f"stamped {(newest[0] - stamp_ns) / SECOND_NS:.1f} s before"
            if stamp_ns
            else "with the stamp 0 after"
        )
        self.stray = (
            f"{topic}: a message {what} the newest one was dropped: is there a second publisher?"
        )
        return True

    def _complaint(
        self, newest: tuple[int, AnyImage] | None, not_before_ns: int, now_ns: int
    ) -> str:
        topic = self.settings.image_topic
        if newest is None:
            looks = topic.endswith(("/compressed", "/compressedDepth"))
            hint = ""
            if looks != (self.settings.image_transport == "compressed"):
                hint = f" (image_transport is {self.settings.image_transport})"
            return f"{topic}: expected an image, none has come: is the camera running, and does its type fit?{hint}"
        age_s = (now_ns - newest[0]) / SECOND_NS
        if newest[0] < not_before_ns:
            wanted = f"stamped at {not_before_ns} ns or later"
        else:
            wanted = "younger than max_image_age_s"
        return f"{topic}: expected an image {wanted}, the newest is of {newest[0]} ns, {age_s:.3f} s old"
