"""`FlowFollower`: optical-flow tracking (`molmo_point.tracking`) behind the seam of the standing query."""

from __future__ import annotations

import importlib.util
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from molmo_point.images import Array
from molmo_point.points import Pointing
from molmo_point_ros.stamps import SECOND_NS
from molmo_point_ros.standing import Follower, Tracked

if TYPE_CHECKING:
    from molmo_point.tracking import Tracker

log = logging.getLogger("molmo_point.robot")

FRAMES_KEPT = 150
"""Five seconds at 30 Hz: an answer that takes longer starts again from the frame it comes in with."""


class FlowFollower:
    """Follows the points of one query on one camera. Frames come on one thread, answers on another.

    Args:
        tracker: Makes a tracker; a new one is made where frames change their size or time is set back.
    """

    def __init__(self, tracker: Callable[[], Tracker]) -> None:
        self._make = tracker
        self._lock = threading.Lock()
        self._tracker = tracker()
        self._numbers: OrderedDict[int, int] = OrderedDict()
        self._size = (0, 0)
        self._pointing: Pointing | None = None

    def frame(self, stamp_ns: int, image: Array) -> Tracked | None:
        """Take the next frame in; return the points in it, None while there are none to follow."""
        size = (image.shape[1], image.shape[0])
        with self._lock:
            newest = next(reversed(self._numbers), None)
            if size != self._size or (newest is not None and stamp_ns <= newest):
                self._begin(size)
            self._numbers[stamp_ns] = self._tracker.add_frame(
                image, stamp_ns / SECOND_NS, stamp_ns
            )
            while len(self._numbers) > FRAMES_KEPT:
                self._numbers.popitem(last=False)
            if self._pointing is None:
                return None
            pointing, tracks = self._tracker.answer(
                self._pointing.query, self._pointing.model, self._pointing.frame_id
            )
        if not tracks:
            return None
        evidence = min(t.evidence_stamp_ns for t in tracks if t.evidence_stamp_ns is not None)
        return Tracked(
            pointing.with_(calibrated=self._pointing.calibrated, text=self._pointing.text),
            tuple(track.id for track in tracks),
            evidence,
        )

    def answer(self, stamp_ns: int, pointing: Pointing) -> None:
        """Carry an answer about an earlier frame to the newest one; too old a frame is let go."""
        with self._lock:
            tracker, number = self._tracker, self._numbers.get(stamp_ns)
            carrier = None if number is None else tracker.catch_up(number, pointing)
        if carrier is not None:
            carrier.run()
        with self._lock:
            # The tracker may have been replaced meanwhile; its frames are then of another time.
            if carrier is None or tracker is not self._tracker or not tracker.merge(carrier):
                log.info(
                    "an answer about a frame of %d ns came too late to follow its points", stamp_ns
                )
                return
            self._pointing = pointing

    def _begin(self, size: tuple[int, int]) -> None:
        """Start anew: nothing of what was followed holds any longer."""
        self._tracker = self._make()
        self._numbers.clear()
        self._size = size
        self._pointing = None


def new_follower() -> Callable[[], Follower] | None:
    """Return the maker of followers, or None where OpenCV (the extra "tracking") is not installed."""
    if importlib.util.find_spec("cv2") is None:
        log.warning('points are not followed between answers: pip install "molmo-point[tracking]"')
        return None
    from molmo_point.tracking import Tracker

    return lambda: FlowFollower(lambda: Tracker(keep=FRAMES_KEPT))
