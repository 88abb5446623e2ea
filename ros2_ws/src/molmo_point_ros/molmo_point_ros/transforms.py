"""`TransformBuffer`: what /tf and /tf_static said, looked up at a picture's stamp.

The same buffer serves the node, the DDS bridge and recorded bags. Interpolation and frames are `molmo_calibration`'s; nothing
is ever extrapolated, and "latest" does not exist here: a point belongs to the moment its picture was taken.
"""

from __future__ import annotations

import bisect
import threading
import time
from typing import Any

from molmo_calibration import CalibrationError, FrameError, FrameGraph, PoseTrack, Transform

from molmo_point_ros.buffers import JUMP_NS
from molmo_point_ros.errors import MessageError
from molmo_point_ros.stamps import stamp_ns_of

MAX_FRAMES = 2000
"""More frames than any robot has: a publisher that makes up names must not fill the memory."""


class TransformBuffer:
    """Poses of every frame in its parent over the last `cache_s` seconds.

    Args:
        cache_s: Must exceed the time from a picture to its answer; 30 s is generous for a large model.
    """

    def __init__(self, cache_s: float = 30.0) -> None:
        self._cache_ns = round(cache_s * 1e9)
        self._fixed: dict[str, Transform] = {}
        self._moving: dict[str, _Track] = {}
        self._changed = threading.Condition()

    def add(self, message: Any, *, static: bool = False) -> bool:
        """Take a `tf2_msgs/TFMessage` in.

        Returns:
            True where time was set back and the moving transforms before were dropped.

        Raises:
            MessageError: A transform in it is none (unset quaternion, no frame names); the good ones were kept.
        """
        wrong: list[str] = []
        jumped = False
        with self._changed:
            for stamped in message.transforms:
                try:
                    stamp_ns, transform = stamp_ns_of(stamped.header), transform_of(stamped)
                except CalibrationError as error:
                    wrong.append(f"{stamped.child_frame_id!r}: {error}")
                    continue
                jumped |= self._keep(stamp_ns, transform, static)
            self._changed.notify_all()
        if wrong:
            topic = "/tf_static" if static else "/tf"
            raise MessageError(f"{topic} holds unusable transforms: {'; '.join(wrong)}")
        return jumped

    def lookup(self, target: str, source: str, stamp_ns: int) -> Transform:
        """Return target_from_source at a time.

        Raises:
            FrameError: Unknown or unconnected frames.
            ExtrapolationError: A frame on the way is not known at that time.
        """
        with self._changed:
            return self._lookup(target, source, stamp_ns)

    def wait(self, target: str, source: str, stamp_ns: int, timeout_s: float) -> Transform:
        """Like `lookup`, but gives transforms that are still on their way `timeout_s` seconds to arrive."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                try:
                    return self._lookup(target, source, stamp_ns)
                except FrameError:
                    left = deadline - time.monotonic()
                    if left <= 0:
                        raise
                    self._changed.wait(left)

    def clear(self) -> None:
        """Drop the moving transforms; fixed ones hold in any time."""
        with self._changed:
            self._moving.clear()

    @property
    def frames(self) -> tuple[str, ...]:
        """Every frame heard of, sorted."""
        with self._changed:
            edges = [*self._fixed.values(), *(track.newest for track in self._moving.values())]
        return tuple(sorted({name for e in edges for name in (e.to_frame, e.from_frame)}))

    def _keep(self, stamp_ns: int, transform: Transform, static: bool) -> bool:
        child = transform.from_frame
        if len(self._fixed) + len(self._moving) >= MAX_FRAMES and child not in self._moving:
            return False
        if static:
            self._fixed[child] = transform
            return False
        track = self._moving.get(child)
        jumped = track is not None and stamp_ns < track.stamps[-1] - JUMP_NS
        if jumped:
            self._moving.clear()
        if track is None or jumped or track.newest.to_frame != transform.to_frame:
            self._moving[child] = _Track(stamp_ns, transform)
        else:
            track.add(stamp_ns, transform, self._cache_ns)
        return jumped

    def _lookup(self, target: str, source: str, stamp_ns: int) -> Transform:
        if target == source:
            return Transform.identity(target, source)
        graph = FrameGraph()
        for child, fixed in self._fixed.items():
            if child not in self._moving:
                graph.add(fixed)
        for track in self._moving.values():
            graph.add(track.around(stamp_ns))
        return graph.lookup(target, source, stamp_ns)


class _Track:
    """Stamped poses of one frame in its parent, oldest first."""

    def __init__(self, stamp_ns: int, pose: Transform) -> None:
        self.stamps = [stamp_ns]
        self._poses = [pose]

    @property
    def newest(self) -> Transform:
        return self._poses[-1]

    def add(self, stamp_ns: int, pose: Transform, cache_ns: int) -> None:
        at = bisect.bisect_left(self.stamps, stamp_ns)
        if at < len(self.stamps) and self.stamps[at] == stamp_ns:
            self._poses[at] = pose
            return
        self.stamps.insert(at, stamp_ns)
        self._poses.insert(at, pose)
        drop = bisect.bisect_left(self.stamps, self.stamps[-1] - cache_ns)
        del self.stamps[:drop]
        del self._poses[:drop]

    def around(self, stamp_ns: int) -> PoseTrack:
        """The few poses that decide about `stamp_ns`: the two around it, and the ends for the error message."""
        at = bisect.bisect_left(self.stamps, stamp_ns)
        last = len(self.stamps) - 1
        chosen = sorted({0, last, min(max(at - 1, 0), last), min(at, last)})
        return PoseTrack([(self.stamps[i], self._poses[i]) for i in chosen])


def transform_of(stamped: Any) -> Transform:
    """Convert a `geometry_msgs/TransformStamped` to parent_from_child.

    Raises:
        CalibrationError: Quaternion not of length 1, numbers not finite, or a frame without a name.
    """
    parent = stamped.header.frame_id.lstrip("/")
    child = stamped.child_frame_id.lstrip("/")
    if not parent or not child or parent == child:
        raise FrameError(f"expected two different frame names, got {parent!r} and {child!r}")
    t, q = stamped.transform.translation, stamped.transform.rotation
    return Transform.from_quaternion([q.x, q.y, q.z, q.w], [t.x, t.y, t.z], parent, child)
