"""Points between answers: carried along with the image, with an identity, dropped when they are lost.

The answer is about an old frame. The frames since are kept, and the points are carried through them to the newest one.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np

from molmo_point.errors import UsageError
from molmo_point.points import Point, Pointing, Status
from molmo_point.tracking.catch_up import MAX_UNRECOGNIZED, CatchUp, growth
from molmo_point.tracking.flow import FlowTracks
from molmo_point.tracking.frame import Bools, Frame
from molmo_point.tracking.frame_buffer import BufferedFrame, FrameBuffer
from molmo_point.tracking.identity import match_points, replaced
from molmo_point.tracking.tracked_point import TrackedPoint
from molmo_point.wire import Track

REMEMBER_S = 3.0
"""Seconds within which a lost point that is recognized again keeps its id."""

FOUND_AGAIN = 3
"""Frames in a row in which a lost point must be recognized before it is shown again. Where the point has no texture of its own,
the surroundings that its patch sees past an occluder can look right in one frame, not in several."""

MAX_MISSES = 2
"""After this many answers without it, a point that flow still tracks is dropped."""


class Tracker:
    """Tracks the points of one camera. Used by one thread at a time; a `CatchUp` may run in another.

    Args:
        keep: Most frames kept for answers to come: 150 of them, VGA, are 46 MB.
        long_side: Frames are worked on at this size.
        keep_s: Frames older than this many seconds are dropped, unless an answer is expected (`expect`).

    Attributes:
        dropped: How often a point was lost.

    Raises:
        MissingExtra: OpenCV is not installed.
    """

    def __init__(self, keep: int = 150, long_side: int = 640, keep_s: float = 10.0) -> None:
        if keep < 2:
            raise UsageError(f"expected to keep at least 2 frames, got {keep}")
        if not keep_s > 0:
            raise UsageError(f"expected to keep frames for more than 0 s, got {keep_s}")
        self._long_side = long_side
        self._buffer = FrameBuffer(keep_s, keep)
        self._frame_numbers = itertools.count(1)
        self._ids = itertools.count(1)
        self._image_size = (1, 1)
        self._restarted_after = 0
        self._tracks: list[TrackedPoint] = []
        self._patches: FlowTracks | None = None
        self._last: dict[str, Pointing | None] = {}
        self._evidence: dict[str, BufferedFrame] = {}
        self.dropped = 0

    @property
    def image_size(self) -> tuple[int, int] | None:
        """(width, height) of the camera's frames; None before the first."""
        return self._image_size if len(self._buffer) else None

    def restart(self) -> None:
        """Forget frames, points and answers: the camera's frames have changed. Ids are not used again."""
        newest = self._buffer.newest
        self._restarted_after = self._restarted_after if newest is None else newest.number
        self._buffer.clear()
        self._tracks, self._patches = [], None
        self._last.clear()
        self._evidence.clear()

    def add_frame(self, image: Any, time_s: float, stamp_ns: int | None = None) -> int:
        """Track every point into the next frame.

        Args:
            image: (H, W, 3) uint8 RGB; all frames of a camera have one size (else call `restart` first).
            time_s: When it was taken, seconds on any clock that does not jump.
            stamp_ns: Its stamp, passed through.

        Returns:
            The frame's number, for `add_answer`.

        Raises:
            UsageError: A frame of another size.
        """
        size = (int(image.shape[1]), int(image.shape[0]))
        before = self._buffer.newest
        if before is not None and size != self._image_size:
            raise UsageError(f"expected frames of {self._image_size}, got one of {size}")
        self._image_size = size
        frame = Frame(image, self._long_side)
        if before is not None:
            if self._patches is not None:
                self._follow(self._patches, before, frame, time_s)
            before.frame.release()
        kept = BufferedFrame(next(self._frame_numbers), frame, stamp_ns, time_s)
        self._buffer.add(kept)
        return kept.number

    def expect(self, frame: int) -> None:
        """An answer about this frame will come: keep it until `release`."""
        self._buffer.expect(frame)

    def release(self, frame: int) -> None:
        """No answer about this frame is expected any longer."""
        self._buffer.release(frame)

    def add_answer(self, frame: int, pointing: Pointing) -> bool:
        """Take in the model's answer about a frame: carry its points to the newest frame and give them their ids.

        Returns:
            Whether it could be used: False when the frame is no longer kept.
        """
        catch_up = self.catch_up(frame, pointing)
        if catch_up is None:
            return False
        catch_up.run()
        return self.merge(catch_up)

    def catch_up(self, frame: int, pointing: Pointing) -> CatchUp | None:
        """Return the work of carrying an answer through the frames kept so far, to be run in any thread, then `merge`d."""
        frames = self._buffer.since(frame)
        return CatchUp(frames, pointing) if frames else None

    def merge(self, catch_up: CatchUp) -> bool:
        """Carry an answer through the frames that came while it was being carried, and take it in.

        Returns:
            False when the frames are of another time: the tracker was restarted.
        """
        newest = self._buffer.newest
        rest = self._buffer.after(catch_up.reached)
        if newest is None or (not rest and newest.number != catch_up.reached):
            return False
        if catch_up.asked.number <= self._restarted_after:
            return False
        catch_up.go_on(rest)
        self._merge_answer(catch_up, newest.frame)
        return True

    def answer_failed(self, query: str) -> None:
        """The newest question about `query` got no answer: what the model said before is no longer known to hold."""
        self._last[query] = None

    def answer(
        self, query: str, model: str = "", frame_id: str | None = None, *, doubtful: bool = True
    ) -> tuple[Pointing, tuple[Track, ...]]:
        """Return the points of a query in the newest frame, and for each what is known about it.

        The status is `found` while a point is recognized, `not_found` if the model's last answer said that nothing matches, and
        `pending` otherwise: before the first answer, after a failed or incomplete one, and when every point was lost.

        Args:
            query: Whose points.
            model: Passed through.
            frame_id: Passed through.
            doubtful: Also the points that this frame does not show again and that are not lost yet: they are where they were
                last, with a covariance that has grown.

        Raises:
            UsageError: There is no frame yet.
        """
        kept = self._buffer.newest
        if kept is None:
            raise UsageError("add a frame before asking where things are")
        chosen = [i for i in self._known(query) if doubtful or not self._in_doubt(i)]
        points = tuple(self._point(i, index, kept.frame.size) for index, i in enumerate(chosen))
        tracks = tuple(
            Track(
                id=self._tracks[i].id,
                evidence_stamp_ns=self._tracks[i].seen_ns,
                evidence_age_s=max(0.0, kept.time_s - self._tracks[i].seen_s),
            )
            for i in chosen
        )
        last = self._last.get(query)
        absent = not points and last is not None and last.status is Status.NOT_FOUND
        pointing = Pointing(
            query=query,
            points=points,
            status=Status.FOUND if points else Status.NOT_FOUND if absent else Status.PENDING,
            absent_probability=last.absent_probability if absent and last is not None else None,
            calibrated=last is not None and last.calibrated,
            in_domain=None if last is None else last.in_domain,
            image_size=self._image_size,
            model=model,
            stamp_ns=kept.stamp_ns,
            frame_id=frame_id,
        )
        return pointing, tracks

    def doubtful(self, query: str) -> int:
        """Return how many points of a query the newest frame does not show again, and which are not lost yet."""
        return sum(self._in_doubt(i) for i in self._known(query))

    def evidence(self, query: str) -> tuple[int | None, float] | None:
        """Return the stamp and the age in seconds of the frame that the last complete answer is about; None before one."""
        seen, newest = self._evidence.get(query), self._buffer.newest
        if seen is None or newest is None:
            return None
        return seen.stamp_ns, max(0.0, newest.time_s - seen.time_s)

    def __len__(self) -> int:
        return sum(track.lost_s is None for track in self._tracks)

    def _known(self, query: str) -> list[int]:
        return [i for i, f in enumerate(self._tracks) if f.query == query and f.lost_s is None]

    def _in_doubt(self, i: int) -> bool:
        assert self._patches is not None  # there is a patch for every tracked point
        return bool(self._patches.doubt[i] > 0)

    def _follow(
        self, patches: FlowTracks, before: BufferedFrame, after: Frame, time_s: float
    ) -> None:
        patches.step(before.frame, after)
        grown = growth(patches, time_s - before.time_s)
        seen = patches.inside(after)
        self._tracks = [
            self._judged(track, int(doubt), bool(here), float(more), time_s)
            for track, doubt, here, more in zip(
                self._tracks, patches.doubt, seen, grown, strict=True
            )
        ]
        self._keep([f.lost_s is None or time_s - f.lost_s <= REMEMBER_S for f in self._tracks])

    def _judged(
        self, track: TrackedPoint, doubt: int, inside: bool, grown: float, time_s: float
    ) -> TrackedPoint:
        """Return a point after a frame: recognized, still in doubt, or lost."""
        lost_s = track.lost_s
        found_again = track.found_again + 1 if doubt == 0 and inside and lost_s is not None else 0
        if found_again >= FOUND_AGAIN:
            lost_s, found_again = None, 0
        elif lost_s is None and (doubt >= MAX_UNRECOGNIZED or not inside):
            lost_s = time_s
            self.dropped += 1
        variance_px2 = track.variance_px2 + grown
        return replace(track, variance_px2=variance_px2, lost_s=lost_s, found_again=found_again)

    def _keep(self, stays: list[bool]) -> None:
        if self._patches is None or all(stays):
            return
        self._tracks = [f for f, stay in zip(self._tracks, stays, strict=True) if stay]
        mask: Bools = np.array(stays, bool)
        self._patches.keep(mask)

    def _merge_answer(self, catch_up: CatchUp, newest: Frame) -> None:
        """Give the points of an answer their ids, and drop what it contradicts."""
        query, status = catch_up.pointing.query, catch_up.pointing.status
        # Half an answer does not say what is not there.
        complete = status in (Status.FOUND, Status.NOT_FOUND)
        self._last[query] = catch_up.pointing if complete else None
        if complete:
            self._evidence[query] = catch_up.asked
        mine = [i for i, f in enumerate(self._tracks) if f.query == query]
        new_uv = catch_up.patches.uv
        patches = self._patches
        pairs = {} if patches is None else match_points(newest, patches, mine, new_uv)
        fresh = [i for i in range(len(new_uv)) if i not in pairs]
        unanswered = [i for i in mine if i not in pairs.values()]
        gone = set(pairs.values())
        if complete and patches is not None:
            gone |= replaced(newest, patches, unanswered, new_uv[fresh])
            gone |= {i for i in unanswered if self._tracks[i].misses + 1 >= MAX_MISSES}
        ids = {i: self._tracks[j].id for i, j in pairs.items()}
        arrived = [self._arrived(catch_up, i, ids.get(i)) for i in range(len(new_uv))]
        for i in unanswered if complete else ():
            self._tracks[i] = replace(self._tracks[i], misses=self._tracks[i].misses + 1)
        self._keep([i not in gone for i in range(len(self._tracks))])
        self._tracks += arrived
        if patches is None:
            self._patches = catch_up.patches
        else:
            patches.join(catch_up.patches)

    def _arrived(self, catch_up: CatchUp, i: int, known: int | None) -> TrackedPoint:
        return TrackedPoint(
            id=next(self._ids) if known is None else known,
            query=catch_up.pointing.query,
            point=catch_up.points[i],
            seen_ns=catch_up.asked.stamp_ns,
            seen_s=catch_up.asked.time_s,
            variance_px2=float(catch_up.variance_px2[i]),
        )

    def _point(self, i: int, index: int, size: tuple[int, int]) -> Point:
        assert self._patches is not None  # there is a patch for every tracked point
        blur_px = float(self._patches.blur_px[i])
        return self._tracks[i].at(self._patches.uv[i], blur_px, size, index)
