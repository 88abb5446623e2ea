"""`TransformBuffer`: what /tf and /tf_static said, looked up at an image's stamp.

The same buffer serves the node, the DDS bridge and recorded bags. A lookup walks from both frames towards the root and looks at
nothing else, so that what is wrong elsewhere in the tree does not matter; nothing is ever extrapolated, and "latest" does not
exist here: a point belongs to the stamp of its image.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection

import numpy as np
from molmo_calibration import CalibrationError, FrameError, Transform

from molmo_robot.errors import MessageError
from molmo_robot.ros_types import TFMessage, TransformStamped
from molmo_robot.stamps import stamp_ns_of
from molmo_robot.transform_tracks import Edge

MAX_FRAMES = 2000
"""More frames than any robot has; bounds the memory where a publisher invents names."""

ROUNDED = 0.01
"""tf2 takes quaternions whose squared length is off by less than this: (0, 0, 0.71, 0.71), typed by hand, is a quarter turn."""


class TransformBuffer:
    """Poses of every frame in its parent over the last `cache_s` seconds.

    Args:
        cache_s: Must exceed the time from an image to its answer; 30 s is generous for a large model.
        topics: Where the transforms come from, moving and fixed, for messages.
    """

    def __init__(
        self, cache_s: float = 30.0, topics: tuple[str, str] = ("/tf", "/tf_static")
    ) -> None:
        self._cache_ns = round(cache_s * 1e9)
        self.topics = topics
        self._edges: dict[str, Edge] = {}
        self._changed = threading.Condition()

    def add(self, message: TFMessage, *, static: bool = False) -> bool:
        """Take a `tf2_msgs/TFMessage` in.

        Returns:
            True where a publisher's clock was set back and what it had said before was dropped.

        Raises:
            MessageError: A transform in it is none (unset quaternion, no frame names), or there are too many frames; the good
                ones were kept.
        """
        wrong: list[str] = []
        jumped = False
        with self._changed:
            for stamped in message.transforms:
                try:
                    stamp_ns, transform = stamp_ns_of(stamped.header), transform_of(stamped)
                    jumped |= self._keep(stamp_ns, transform, static)
                except CalibrationError as error:
                    wrong.append(f"{stamped.child_frame_id!r}: {error}")
            self._changed.notify_all()
        if wrong:
            topic = self.topics[int(static)]
            raise MessageError(f"{topic} holds unusable transforms: {'; '.join(wrong)}")
        return jumped

    def lookup(self, target: str, source: str, stamp_ns: int) -> Transform:
        """Return target_from_source at a time.

        Raises:
            FrameError: Unknown or unconnected frames, a loop on the way, or a frame with two parents.
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

    def reach_back(self, seconds: float) -> None:
        """Keep the transforms of frames that are not known yet for so long."""
        with self._changed:
            self._cache_ns = round(seconds * 1e9)

    def clear(self) -> None:
        """Drop the moving transforms; fixed ones hold in any time."""
        with self._changed:
            for edge in self._edges.values():
                edge.clear()
            self._edges = {name: edge for name, edge in self._edges.items() if not edge.empty}

    @property
    def frames(self) -> tuple[str, ...]:
        """Every known frame, sorted."""
        with self._changed:
            return self._names()

    def conflicts(self, children: Collection[str]) -> tuple[str, ...]:
        """What publishers say against each other about some frames, as sentences."""
        with self._changed:
            found = (self._edges[name].conflict for name in children if name in self._edges)
            return tuple(words for words in found if words)

    def _names(self) -> tuple[str, ...]:
        return tuple(sorted({name for edge in self._edges.values() for name in edge.names}))

    def _keep(self, stamp_ns: int, transform: Transform, static: bool) -> bool:
        child = transform.from_frame
        edge = self._edges.get(child)
        if edge is None:
            if len(self._edges) >= MAX_FRAMES:
                raise FrameError(f"not kept, there are {MAX_FRAMES} frames already")
            edge = self._edges[child] = Edge(child, self._cache_ns)
        if static:
            edge.fix(transform)
            return False
        return edge.move(stamp_ns, transform)

    def _lookup(self, target: str, source: str, stamp_ns: int) -> Transform:
        if target == source:
            return Transform.identity(target, source)
        up_source, up_target = self._upwards(source, stamp_ns), self._upwards(target, stamp_ns)
        meeting = next((name for name in up_source if name in up_target), None)
        if meeting is None:
            raise FrameError(self._why_apart(target, source, [*up_target], [*up_source]))
        to_meeting = self._climb(up_source, meeting, stamp_ns)
        return self._climb(up_target, meeting, stamp_ns).inverse() @ to_meeting

    def _upwards(self, frame: str, stamp_ns: int) -> dict[str, str]:
        """{frame: its parent} from a frame to the root (whose parent is ""), or once around a loop."""
        parents: dict[str, str] = {}
        while frame and frame not in parents:
            edge = self._edges.get(frame)
            parents[frame] = edge.parent(stamp_ns) if edge else ""
            frame = parents[frame]
        return parents

    def _climb(self, parents: dict[str, str], end: str, stamp_ns: int) -> Transform:
        """end_from_first, along `parents`."""
        names = [*parents]
        again = parents[names[-1]]
        loop = names[names.index(again) :] if again else []
        result = Transform.identity(names[0], names[0])
        for child in names[: names.index(end)]:
            if child in loop:
                # A frame that is its own ancestor has two ways to everywhere, and they need not agree.
                raise FrameError(
                    f"the frames {' -> '.join([*loop, again])} (child -> parent) form a loop: one of their publishers must go"
                )
            result = self._edges[child].at(stamp_ns) @ result
        return result

    def _why_apart(
        self, target: str, source: str, up_target: list[str], up_source: list[str]
    ) -> str:
        names = self._names()
        for name in (target, source):
            if name not in names:
                return (
                    f"frame {name!r} is not on {' or '.join(self.topics)}, which "
                    f"{'have ' + ', '.join(names) if names else 'have brought no transforms'}"
                )
        return (
            f"nothing connects {target!r} with {source!r}: the root of {target!r} is {up_target[-1]!r}, that of {source!r} "
            f"is {up_source[-1]!r}; the transform between the two is missing"
        )


def transform_of(stamped: TransformStamped) -> Transform:
    """Convert a `geometry_msgs/TransformStamped` to parent_from_child.

    Raises:
        CalibrationError: Quaternion far from length 1, numbers not finite, or a frame without a name.
    """
    parent = stamped.header.frame_id.lstrip("/")
    child = stamped.child_frame_id.lstrip("/")
    if not parent or not child or parent == child:
        raise FrameError(f"expected two different frame names, got {parent!r} and {child!r}")
    t, q = stamped.transform.translation, stamped.transform.rotation
    quaternion = np.array([q.x, q.y, q.z, q.w], np.float64)
    length = float(np.linalg.norm(quaternion))
    if abs(length * length - 1.0) < ROUNDED:
        quaternion /= length
    return Transform.from_quaternion(quaternion, [t.x, t.y, t.z], parent, child)
