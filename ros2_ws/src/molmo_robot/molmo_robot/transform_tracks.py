"""`Track`: the stamped poses of one frame in one parent, and `Edge`: what /tf and /tf_static say about one frame."""

from __future__ import annotations

import bisect
import math

from molmo_calibration import FrameError, PoseTrack, Transform

from molmo_robot.stamped_buffer import JUMP_NS

SET_BACK_NS = 300_000_000
"""Stamps this far behind the newest one, with nothing newer in between, mean that the publisher's clock was set back."""

STRAYS = 2
"""Poses ahead of all others that cost none of those: one message of a clock that is wrong ends nothing."""

STILL = 1e-6
"""Metres and radians: poses closer than this are equal."""


class Track:
    """Stamped poses of one frame in one parent, oldest first.

    As in tf2, a pose with an older stamp is sorted in, one with the same stamp replaces, and one older than the cache is dropped:
    a second publisher that lags behind costs nothing of what the first one said.
    """

    def __init__(self, cache_ns: int) -> None:
        self._cache_ns = cache_ns
        self.stamps: list[int] = []
        self._poses: list[Transform] = []
        self._behind: list[tuple[int, Transform]] = []
        self._too_old = 0
        self._too_old_by_ns = 0

    @property
    def newest(self) -> Transform:
        """The pose with the newest stamp."""
        return self._poses[-1]

    @property
    def newest_ns(self) -> int:
        """The newest stamp."""
        return self.stamps[-1]

    @property
    def present_ns(self) -> int:
        """The newest stamp that is not ahead of all others by more than the cache holds: the cache reaches back from here."""
        for ahead in range(min(STRAYS, len(self.stamps) - 1), 0, -1):
            before_ns, stamp_ns = self.stamps[-ahead - 1], self.stamps[-ahead]
            if stamp_ns - before_ns > self._cache_ns:
                return before_ns
        return self.stamps[-1]

    @property
    def too_old_s(self) -> float:
        """How far the poses that keep coming too late for the cache lag behind, in seconds; 0 where there are none."""
        return self._too_old_by_ns / 1e9 if self._too_old > STRAYS else 0.0

    def add(self, stamp_ns: int, pose: Transform) -> bool:
        """Keep a pose.

        Returns:
            True where the publisher's clock was set back: only what it has said since is kept.
        """
        if self._set_back(stamp_ns, pose):
            behind, self._behind = self._behind, []
            kept = bisect.bisect_right(self.stamps, stamp_ns)
            strays = len(self.stamps) - kept <= STRAYS and self.stamps[0] < behind[0][0]
            if strays:
                del self.stamps[kept:], self._poses[kept:]
                self._insert(stamp_ns, pose)
                return False
            self.stamps, self._poses = [s for s, _ in behind], [p for _, p in behind]
            self._too_old = 0
            return True
        if not self.stamps or stamp_ns >= self.present_ns - self._cache_ns:
            self._insert(stamp_ns, pose)
        else:
            self._too_old += 1
            self._too_old_by_ns = self.stamps[-1] - stamp_ns
        return False

    def covers(self, stamp_ns: int) -> bool:
        """Whether the pose is known at a time."""
        return self.stamps[0] <= stamp_ns <= self.stamps[-1]

    def at(self, stamp_ns: int) -> Transform:
        """Return the pose at a time.

        Raises:
            ExtrapolationError: The time is before the first or after the last pose.
        """
        at = bisect.bisect_left(self.stamps, stamp_ns)
        last = len(self.stamps) - 1
        # The two poses around the time are used; the ends are for the error message.
        chosen = sorted({0, last, min(max(at - 1, 0), last), min(at, last)})
        return PoseTrack([(self.stamps[i], self._poses[i]) for i in chosen]).at(stamp_ns)

    def _set_back(self, stamp_ns: int, pose: Transform) -> bool:
        if not self.stamps or stamp_ns >= self.stamps[-1] - JUMP_NS:
            self._behind.clear()
            return False
        if not self._behind or stamp_ns > self._behind[-1][0]:
            self._behind.append((stamp_ns, pose))
        # A slow publisher beside a lagging one must have had time to publish before its track is dropped.
        gap_ns = self.stamps[-1] - self.stamps[-2] if len(self.stamps) > 1 else 0
        period_ns = gap_ns if gap_ns <= self._cache_ns else 0
        return self._behind[-1][0] - self._behind[0][0] > max(SET_BACK_NS, 2 * period_ns)

    def _insert(self, stamp_ns: int, pose: Transform) -> None:
        at = bisect.bisect_left(self.stamps, stamp_ns)
        if at < len(self.stamps) and self.stamps[at] == stamp_ns:
            self._poses[at] = pose
            return
        self.stamps.insert(at, stamp_ns)
        self._poses.insert(at, pose)
        drop = bisect.bisect_left(self.stamps, self.present_ns - self._cache_ns)
        del self.stamps[:drop]
        del self._poses[:drop]


def _equal(one: Transform, other: Transform) -> bool:
    """Whether two poses have one parent and are the same."""
    return one.to_frame == other.to_frame and max(one.difference(other)) < STILL


class Edge:
    """All poses of one frame: fixed, moving, in one parent or (by mistake) in several."""

    def __init__(self, child: str, cache_ns: int) -> None:
        self.child = child
        self._cache_ns = cache_ns
        self._fixed: Transform | None = None
        self._fixed_before: Transform | None = None
        self._tracks: dict[str, Track] = {}

    def fix(self, pose: Transform) -> None:
        """Take a pose of /tf_static; as in tf2, it replaces the one before."""
        if self._fixed is not None and not _equal(self._fixed, pose):
            self._fixed_before = self._fixed
        self._fixed = pose

    def move(self, stamp_ns: int, pose: Transform) -> bool:
        """Take a pose of /tf; True where its publisher's clock was set back."""
        track = self._tracks.get(pose.to_frame)
        if track is None:
            track = self._tracks[pose.to_frame] = Track(self._cache_ns)
        jumped = track.add(stamp_ns, pose)
        if jumped:
            self._tracks = {pose.to_frame: track}
        else:
            oldest_ns = max(t.present_ns for t in self._tracks.values()) - self._cache_ns
            self._tracks = {p: t for p, t in self._tracks.items() if t.newest_ns >= oldest_ns}
        return jumped

    def clear(self) -> None:
        """Drop the moving poses."""
        self._tracks.clear()

    @property
    def empty(self) -> bool:
        """Whether nothing is known any more."""
        return self._fixed is None and not self._tracks

    @property
    def names(self) -> set[str]:
        """The frame and its parents."""
        fixed = () if self._fixed is None else (self._fixed.to_frame,)
        return {self.child, *fixed, *self._tracks}

    @property
    def conflict(self) -> str:
        """The contradiction between two publishers of this frame; empty where they agree."""
        if len(self._tracks) > 1:
            return self._two_parents()
        track = self._moves()
        if self._fixed is not None and track is not None:
            return self._fixed_and_moving(self._fixed, track.newest)
        if track is not None:
            return self._two_clocks(track)
        return self._fixed_twice()

    def _fixed_and_moving(self, fixed: Transform, moving: Transform) -> str:
        if _equal(fixed, moving):
            return ""
        return (
            f"{self.child!r} is published on /tf_static (in {fixed.to_frame!r}) and, otherwise, on /tf (in "
            f"{moving.to_frame!r}); /tf is taken: one of the two publishers must go"
        )

    def _two_clocks(self, track: Track) -> str:
        if not track.too_old_s:
            return ""
        return (
            f"{self.child!r} also comes on /tf with stamps {track.too_old_s:.1f} s behind its newest ones, which are too old to "
            "be used: a second publisher of it, or a computer whose clock is wrong"
        )

    def _fixed_twice(self) -> str:
        before, now = self._fixed_before, self._fixed
        if before is None or now is None:
            return ""
        parents = f"in {before.to_frame!r} and then in {now.to_frame!r}"
        if before.to_frame == now.to_frame:
            apart_m, apart_rad = before.difference(now)
            parents = f"with two poses, {apart_m * 1e3:.1f} mm and {math.degrees(apart_rad):.2f} degrees apart"
        return f"{self.child!r} came on /tf_static {parents}; the later one is taken: is there a second publisher?"

    def parent(self, stamp_ns: int) -> str:
        """Return the parent at a time; where none is known at that time, the newest one."""
        track = self._moves()
        if self._fixed is not None and track is None:
            return self._fixed.to_frame
        return self._track(stamp_ns).newest.to_frame

    def at(self, stamp_ns: int) -> Transform:
        """Return parent_from_child at a time.

        Raises:
            FrameError: Two publishers give it two parents at that time.
            ExtrapolationError: It is not known at that time.
        """
        if self._fixed is not None and self._moves() is None:
            return self._fixed
        if sum(t.covers(stamp_ns) for t in self._tracks.values()) > 1:
            raise FrameError(self._two_parents())
        return self._track(stamp_ns).at(stamp_ns)

    def _moves(self) -> Track | None:
        """The newest track that makes this a moving frame. A fixed frame that was once on /tf, too, stays fixed, as in tf2."""
        least = 1 if self._fixed is None else 2
        tracks = [t for t in self._tracks.values() if len(t.stamps) >= least]
        return max(tracks, key=lambda t: t.newest_ns, default=None)

    def _track(self, stamp_ns: int) -> Track:
        tracks = self._tracks.values()
        return next(
            (t for t in tracks if t.covers(stamp_ns)), max(tracks, key=lambda t: t.newest_ns)
        )

    def _two_parents(self) -> str:
        parents = " and ".join(
            f"{name!r} (from {t.stamps[0]} to {t.newest_ns} ns)"
            for name, t in sorted(self._tracks.items())
        )
        return f"{self.child!r} has two parents on /tf: {parents}; one of the publishers must go"
