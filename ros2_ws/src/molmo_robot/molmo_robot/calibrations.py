"""`Calibrations`: the newest `sensor_msgs/CameraInfo` of each frame on a topic; `Turns`: whether two publishers share a topic."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from molmo_robot.ros_types import CameraInfoMessage, Stamped

FRAMES_KEPT = 16


def frame_of(message: Stamped) -> str:
    """Return the frame of a message, as /tf knows it."""
    return str(message.header.frame_id).lstrip("/")


class Turns:
    """Tells a topic of two publishers: what one says comes back after the other's."""

    def __init__(self) -> None:
        self._before: str | None = None
        self._now: str | None = None

    def both(self, what: str) -> str | None:
        """Take what the next message is about; where two things come by turns, return both, in words."""
        if what == self._now:
            return None
        back, other = what == self._before, self._now
        self._before, self._now = self._now, what
        return " and ".join(sorted((what, other))) if back and other is not None else None


class Calibrations:
    """The calibrations of one topic, the newest of each frame. Belongs to one buffer, which guards it.

    Args:
        topic: For the problems.
    """

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._newest: OrderedDict[str, CameraInfoMessage] = OrderedDict()
        self._turns = Turns()

    def add(self, message: CameraInfoMessage) -> str:
        """Keep a calibration; return what is wrong with it or with the topic, in words; empty where nothing is."""
        frame = frame_of(message)
        if frame in self._newest and not np.isfinite([*message.k, *message.d]).all():
            return f"{self._topic}: a calibration with numbers that are not finite was dropped; the one before it is used"
        self._newest[frame] = message
        self._newest.move_to_end(frame)
        if len(self._newest) > FRAMES_KEPT:
            self._newest.popitem(last=False)
        mine = f"{frame!r} ({message.width}x{message.height}, fx {float(message.k[0]):.1f})"
        both = self._turns.both(mine)
        if both is None:
            return ""
        return f"{self._topic}: calibrations of {both} come by turns: is there a second publisher?"

    def of(self, frame: str) -> CameraInfoMessage | None:
        """Return the newest calibration of a frame; where there is none, the newest of all, or None."""
        found = self._newest.get(frame.lstrip("/"))
        if found is None and self._newest:
            found = self._newest[next(reversed(self._newest))]
        return found

    @property
    def newest(self) -> CameraInfoMessage | None:
        """The newest calibration, or None."""
        return self.of("")

    def clear(self) -> None:
        """Forget all of them."""
        self._newest.clear()
