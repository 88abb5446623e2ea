"""`FrameOrder`: which pictures of a camera are news, in which order, and how far apart; their stamps may be wrong.

Cameras repeat a picture, deliver one late, or do not stamp at all. What follows points from frame to frame needs every frame
once, in order. Frames are ordered by a key of their own: the stamp, as long as stamps go on; the time of arrival where they stand
still.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from molmo_robot.stamped_buffer import JUMP_NS, Strays
from molmo_robot.stamps import stamp_ns_of


class FrameOrder:
    """Keys for the pictures of one camera. Belongs to one thread.

    Args:
        topic: For the remarks.
        clock_ns: When a picture arrives, on a clock that does not jump.
    """

    def __init__(self, topic: str, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._topic = topic
        self._clock_ns = clock_ns
        self._newest: tuple[int, int, int, bytes] | None = None
        self._strays = Strays()
        self.remark = ""
        """What is wrong with the stamps of the newest picture, for a person; empty where nothing is."""

    def key(self, message: Any) -> int | None:
        """Return the key of the next picture: larger than those before; smaller after a clock set back.

        Returns:
            None for a picture that is no news: the same again, or one that comes after a later one.
        """
        stamp_ns, now_ns = stamp_ns_of(message.header), self._clock_ns()
        self.remark = ""
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
            self.remark = (
                f"{self._topic}: a picture stamped {behind_ns / 1e9:.3f} s before an earlier one was not followed"
                if stamp_ns
                else f"{self._topic}: a picture without a stamp (0) among stamped ones was not followed"
            )
            return None
        if _content(message) == content:
            return None
        self.remark = (
            f"{self._topic}: different pictures carry the same stamp ({stamp_ns} ns): they are followed in the order they "
            "come, but nothing tells which transform and depth belong to which: let the driver stamp them"
        )
        return self._keep(key + max(1, now_ns - arrived_ns), stamp_ns, now_ns, message)

    def _keep(self, key: int, stamp_ns: int, now_ns: int, message: Any) -> int:
        self._newest = key, stamp_ns, now_ns, _content(message)
        self._strays.forget()
        return key


def _content(message: Any) -> bytes:
    """A few thousand bytes of a picture: enough to tell two pictures apart, and quick."""
    data = message.data
    every = max(1, len(data) // 4096)
    return np.asarray(data[::every], np.uint8).tobytes()
