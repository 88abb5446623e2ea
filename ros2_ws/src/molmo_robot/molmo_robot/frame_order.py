"""`FrameOrder`: which images of a camera are new, their order and their distance in time; stamps may be wrong.

Cameras repeat an image, deliver one late, or do not stamp at all. Tracking needs every frame once, in
order. Frames are ordered by a key: the stamp while stamps increase, the time of arrival where they are constant.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from molmo_robot.ros_types import AnyImage
from molmo_robot.stamped_buffer import JUMP_NS, Strays
from molmo_robot.stamps import stamp_ns_of


class FrameOrder:
    """Keys for the images of one camera. Belongs to one thread.

    Args:
        topic: For the problems.
        clock_ns: When an image arrives, on a clock that does not jump.
    """

    def __init__(self, topic: str, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._topic = topic
        self._clock_ns = clock_ns
        self._newest: tuple[int, int, int, bytes] | None = None
        self._strays = Strays()
        self.problem = ""
        """What is wrong with the stamps of the newest image, in words; empty where nothing is."""

    def key(self, message: AnyImage) -> int | None:
        """Return the key of the next image: larger than those before; smaller after a clock set back.

        Returns:
            None for an image that is not new: a repeated one, or one that comes after a later one.
        """
        stamp_ns, now_ns = stamp_ns_of(message.header), self._clock_ns()
        self.problem = ""
        if self._newest is None:
            return self._keep(stamp_ns, stamp_ns, now_ns, message)
        key, newest_ns, arrived_ns, content = self._newest
        behind_ns = newest_ns - stamp_ns
        stray = self._strays.is_stray(stamp_ns, newest_ns)
        if behind_ns < 0:
            return self._keep(key - behind_ns, stamp_ns, now_ns, message)
        if behind_ns > JUMP_NS and not stray:
            return self._keep(min(stamp_ns, key - 2 * JUMP_NS), stamp_ns, now_ns, message)
        if behind_ns:
            self.problem = (
                f"{self._topic}: an image stamped {behind_ns / 1e9:.3f} s before an earlier one was not tracked"
                if stamp_ns
                else f"{self._topic}: an image without a stamp (0) among stamped ones was not tracked"
            )
            return None
        if _content(message) == content:
            return None
        self.problem = (
            f"{self._topic}: different images carry the same stamp ({stamp_ns} ns): they are tracked in the order they "
            "come, but their transforms and depth cannot be assigned: let the driver stamp them"
        )
        return self._keep(key + max(1, now_ns - arrived_ns), stamp_ns, now_ns, message)

    def _keep(self, key: int, stamp_ns: int, now_ns: int, message: AnyImage) -> int:
        self._newest = key, stamp_ns, now_ns, _content(message)
        self._strays.forget()
        return key


def _content(message: AnyImage) -> bytes:
    """A few thousand bytes of an image: enough to tell two images apart, and quick."""
    data = message.data
    every = max(1, len(data) // 4096)
    return np.asarray(data[::every], np.uint8).tobytes()
