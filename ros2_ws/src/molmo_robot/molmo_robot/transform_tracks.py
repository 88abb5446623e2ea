"""`Track`: the stamped poses of one frame in one parent, and `Edge`: what /tf and /tf_static say about one frame."""

from __future__ import annotations

import bisect

from molmo_calibration import FrameError, PoseTrack, Transform

from molmo_robot.stamped_buffer import JUMP_NS

SET_BACK_NS = 300_000_000
"""Stamps this far behind the newest one, with nothing newer in between, mean that the publisher's clock was set back."""

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

    @property
    def newest(self) -> Transform:
        """The pose with the newest stamp."""
        return self._poses[-1]

    @property
    def newest_ns(self) -> int:
        """The newest stamp."""
        return self.stamps[-1]

    def add(self, stamp_ns: int, pose: Transform) -> bool:
        """Keep a pose.

        Returns:
            True where the publisher's clock was set back: only what it has said since is kept.
        """
        if self._set_back(stamp_ns, pose):
            behind, self._behind = self._behind, []
            self.stamps, self._poses = [s for s, _ in behind], [p for _, p in behind]
            return True
        if not self.stamps or stamp_ns >= self.stamps[-1] - self._cache_ns:
            self._insert(stamp_ns, pose)
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
        period_ns = self.stamps[-1] - self.stamps[-2] if len(self.stamps) > 1 else 0
        return self._behind[-1][0] - self._behind[0][0] > max(SET_BACK_NS, 2 * period_ns)

    def _insert(self, stamp_ns: int, pose: Transform) -> None:
        at = bisect.bisect_left(self.stamps, stamp_ns)
        if at < len(self.stamps) and self.stamps[at] == stamp_ns:
            self._poses[at] = pose
            return
        self.stamps.insert(at, stamp_ns)
        self._poses.insert(at, pose)
        drop = bisect.bisect_left(self.stamps, self.stamps[-1] - self._cache_ns)
        del self.stamps[:drop]
        del self._poses[:drop]


class Edge:
    """All poses of one frame: fixed, moving, in one parent or (by mistake) in several."""

    def __init__(self, child: str, cache_ns: int) -> None:
        self.child = child
        self._cache_ns = cache_ns
        self._fixed: Transform | None = None
        self._tracks: dict[str, Track] = {}

    def fix(self, pose: Transform) -> None:
        """Take a pose of /tf_static."""
        self._fixed = pose

    def move(self, stamp_ns: int, pose: Transform) -> bool:
        """Take a pose of /tf; True where its publisher's clock was set back."""
        track = self._tracks.get(pose.to_frame)
        if track is None:
            track = self._tracks[pose.to_frame] = Track(self._cache_ns)
        jumped = track.add(stamp_ns, pose)
        newest_ns = max(t.newest_ns for t in self._tracks.values())
        if jumped:
            self._tracks = {pose.to_frame: track}
        else:
            oldest_ns = newest_ns - self._cache_ns
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
        if self._fixed is None:
            return ""
        track = self._moves()
        if track is None:
            return ""
        fixed, moving = self._fixed, track.newest
        if fixed.to_frame == moving.to_frame and max(fixed.difference(moving)) < STILL:
            return ""
        return (
            f"{self.child!r} is published on /tf_static (in {fixed.to_frame!r}) and, otherwise, on /tf (in "
            f"{moving.to_frame!r}); /tf is taken: one of the two publishers must go"
        )

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
