"""`FlowFollower`: optical-flow tracking (`molmo_point.tracking`) behind the seam of the standing query."""

from __future__ import annotations

import importlib.util
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from molmo_point.images import Array
from molmo_point.install import install_line
from molmo_point.points import Pointing, Status
from molmo_robot.stamped_buffer import JUMP_NS
from molmo_robot.stamps import SECOND_NS
from molmo_robot.tracked import Follower, Tracked

if TYPE_CHECKING:
    from molmo_point.tracking import Tracker
    from molmo_point.wire import Track

log = logging.getLogger("molmo_point.robot")

FRAMES_KEPT = 150
"""Five seconds at 30 Hz. While an answer about an older frame is expected, the frames since are thinned out to as many."""


class FlowFollower:
    """Follows the points of one query on one camera. Frames come on one thread, answers on another.

    Only points that a frame shows again are returned for it: one in doubt is where it was last, which on a moving camera is not
    where it is, and its depth would be that of something else.

    Args:
        tracker: Makes a tracker; a new one is made where frames change their size or time is set back.
    """

    def __init__(self, tracker: Callable[[], Tracker]) -> None:
        self._make = tracker
        self._lock = threading.Lock()
        self._tracker = tracker()
        self._numbers: OrderedDict[int, int] = OrderedDict()
        self._expected: dict[int, int] = {}
        self._size = (0, 0)
        self._pointing: Pointing | None = None
        self._followed = False

    def frame(self, stamp_ns: int, image: Array) -> Tracked | None:
        """Take the next frame in; return the points in it, None while there is nothing new to say.

        A frame that is no later than the newest one is let go; one that is a second and more earlier is of a clock set back.
        """
        size = (image.shape[1], image.shape[0])
        lost = None
        with self._lock:
            newest = next(reversed(self._numbers), None)
            if size != self._size or (newest is not None and stamp_ns < newest - JUMP_NS):
                lost = self._pointing if self._followed else None
                self._begin(size)
            elif newest is not None and stamp_ns <= newest:
                return None
            self._numbers[stamp_ns] = self._tracker.add_frame(
                image, stamp_ns / SECOND_NS, stamp_ns
            )
            while len(self._numbers) > FRAMES_KEPT:
                self._numbers.popitem(last=False)
            if lost is not None:
                gone = lost.replace(
                    points=(), status=Status.PENDING, image_size=size, stamp_ns=stamp_ns
                )
                return Tracked(gone, (), stamp_ns)
            return self._tracked(stamp_ns)

    def expect(self, stamp_ns: int) -> None:
        """Keep a frame, and enough of those since, until `release`: the model is asked about it."""
        with self._lock:
            number = self._numbers.get(stamp_ns)
            if number is not None and stamp_ns not in self._expected:
                self._expected[stamp_ns] = number
                self._tracker.expect(number)

    def release(self, stamp_ns: int) -> None:
        """The model's answer about a frame has come, or will not come."""
        with self._lock:
            number = self._expected.pop(stamp_ns, None)
            if number is not None:
                self._tracker.release(number)

    def answer(self, stamp_ns: int, pointing: Pointing) -> str:
        """Carry an answer about an earlier frame to the newest one; return why its points are not followed, or nothing."""
        with self._lock:
            tracker = self._tracker
            number = self._expected.get(stamp_ns, self._numbers.get(stamp_ns))
            catch_up = None if number is None else tracker.catch_up(number, pointing)
        if catch_up is not None:
            catch_up.run()
        with self._lock:
            # The tracker may have been replaced meanwhile; its frames are then of another time.
            if catch_up is None or tracker is not self._tracker or not tracker.merge(catch_up):
                return (
                    "the points of the answer are not followed: its frame is not kept any more, frames of another size or time "
                    "have come since"
                )
            self._pointing = pointing
            self._followed = bool(self._tracks()[1])
            if pointing.points and not self._followed:
                return "the points of the answer could not be followed to the newest frame"
            return ""

    def _tracks(self) -> tuple[Pointing, tuple[Track, ...]]:
        assert self._pointing is not None
        return self._tracker.answer(
            self._pointing.query, self._pointing.model, self._pointing.frame_id, doubtful=False
        )

    def _tracked(self, stamp_ns: int) -> Tracked | None:
        """The points in the newest frame; that there are none any more only once, after there were some."""
        if self._pointing is None:
            return None
        pointing, tracks = self._tracks()
        if not tracks and self._tracker.doubtful(self._pointing.query):
            return None  # The next frames tell whether they are lost.
        followed, self._followed = self._followed, bool(tracks)
        if not tracks:
            lost = pointing.replace(points=(), status=Status.PENDING)
            return Tracked(lost, (), stamp_ns) if followed else None
        evidence = min(t.evidence_stamp_ns for t in tracks if t.evidence_stamp_ns is not None)
        return Tracked(
            pointing.replace(calibrated=self._pointing.calibrated, text=self._pointing.text),
            tuple(track.id for track in tracks),
            evidence,
        )

    def _begin(self, size: tuple[int, int]) -> None:
        """Start anew: nothing of what was followed holds any longer."""
        self._tracker = self._make()
        self._numbers.clear()
        self._expected.clear()
        self._size = size
        self._pointing = None
        self._followed = False


def new_follower() -> Callable[[], Follower] | None:
    """Return the maker of followers, or None where OpenCV (the extra "tracking") is not installed."""
    if importlib.util.find_spec("cv2") is None:
        log.warning(
            "points are not followed between answers, OpenCV is not installed: %s",
            install_line("tracking"),
        )
        return None
    from molmo_point.tracking import Tracker

    return lambda: FlowFollower(lambda: Tracker(keep=FRAMES_KEPT))
