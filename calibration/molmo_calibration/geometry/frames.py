"""Poses over time, and a small graph of named frames: enough of tf2 to work without ROS.

Times are whole nanoseconds, as in ROS stamps. A pose is interpolated between the two stamps around
it and never extrapolated, because a robot that moved on is not where it was heading.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from molmo_calibration.errors import (
    CalibrationError,
    ExtrapolationError,
    FrameError,
    InvalidArgumentError,
)
from molmo_calibration.geometry.rotations import slerp
from molmo_calibration.geometry.transforms import Transform


def interpolate(start: Transform, end: Transform, fraction: float) -> Transform:
    """A pose between two: straight line for the origin, shortest turn for the axes.

    Args:
        start: pose at fraction 0.
        end: pose at fraction 1, between the same frames.
        fraction: 0..1.

    Returns:
        Pose with the larger of the two covariances, by trace.

    Raises:
        ExtrapolationError: fraction outside 0..1.
    """
    if not 0.0 <= fraction <= 1.0:
        raise ExtrapolationError(f"fraction must be between 0 and 1, got {fraction}")
    translation = start.translation + fraction * (end.translation - start.translation)
    rotation = slerp(start.rotation, end.rotation, fraction)
    known = [t.covariance for t in (start, end) if t.covariance is not None]
    covariance = max(known, key=lambda c: float(np.trace(c))) if known else None
    return Transform.from_parts(
        rotation, translation, start.to_frame, start.from_frame, covariance
    )


class PoseTrack:
    """One transform at many times.

    Args:
        poses: pairs of (stamp in nanoseconds, transform), in any order.
        max_gap_ns: longest gap over which to interpolate; None for any.

    Raises:
        InvalidArgumentError: no poses, the same stamp twice, or different frames.
    """

    def __init__(
        self, poses: Iterable[tuple[int, Transform]], max_gap_ns: int | None = None
    ) -> None:
        ordered = sorted(poses, key=lambda pair: pair[0])
        if not ordered:
            raise InvalidArgumentError("poses must hold at least one stamped transform, got none")
        self._stamps = [int(stamp) for stamp, _ in ordered]
        self._poses = [pose for _, pose in ordered]
        self._max_gap_ns = max_gap_ns
        if len(set(self._stamps)) != len(self._stamps):
            raise InvalidArgumentError("poses must have different stamps, got one stamp twice")
        names = {(pose.to_frame, pose.from_frame) for pose in self._poses}
        if len(names) != 1:
            raise InvalidArgumentError(
                f"poses of a track must be between the same two frames, got {sorted(names)}"
            )
        self.to_frame, self.from_frame = names.pop()

    def at(self, stamp_ns: int) -> Transform:
        """The pose at a time between the first and the last.

        Raises:
            ExtrapolationError: outside the track, or inside too long a gap.
        """
        first, last = self._stamps[0], self._stamps[-1]
        if not first <= stamp_ns <= last:
            late = stamp_ns > last
            by = (stamp_ns - last if late else first - stamp_ns) * 1e-9
            raise ExtrapolationError(
                f"{self.to_frame or '?'}_from_{self.from_frame or '?'} was asked for {by:.3f} s "
                f"{'after its last' if late else 'before its first'} pose; it is known from "
                f"{first} to {last} ns, and poses are never extrapolated"
            )
        index = bisect_left(self._stamps, stamp_ns)
        if self._stamps[index] == stamp_ns:
            return self._poses[index]
        before, after = self._stamps[index - 1], self._stamps[index]
        if self._max_gap_ns is not None and after - before > self._max_gap_ns:
            raise ExtrapolationError(
                f"the poses around {stamp_ns} ns are {(after - before) * 1e-9:.3f} s apart, "
                f"more than max_gap_ns = {self._max_gap_ns}"
            )
        fraction = (stamp_ns - before) / (after - before)
        return interpolate(self._poses[index - 1], self._poses[index], fraction)


class FrameGraph:
    """Named frames and the transforms between them.

    Edges are either fixed or a `PoseTrack`. There may be only one way from a frame to another.
    """

    def __init__(self) -> None:
        self._edges: dict[str, dict[str, Transform | PoseTrack]] = {}

    def add(self, edge: Transform | PoseTrack) -> None:
        """Add a fixed or a moving transform; the same pair of frames again replaces it.

        Raises:
            FrameError: a frame without a name, a frame onto itself, or a second way around.
        """
        a, b = edge.to_frame, edge.from_frame
        if not a or not b or a == b:
            raise FrameError(
                f"an edge needs two different frame names, got {a!r} and {b!r}; "
                "pass to_frame= and from_frame= when making the transform"
            )
        known = b in self._edges.get(a, {})
        if not known and a in self._edges and b in self._edges and self._path(a, b):
            raise FrameError(
                f"{a!r} and {b!r} are connected already, through {' -> '.join(self._path(a, b))}; "
                "a second way would give two answers"
            )
        self._edges.setdefault(a, {})[b] = edge
        self._edges.setdefault(b, {})[a] = edge

    @property
    def frames(self) -> tuple[str, ...]:
        """All frame names, sorted."""
        return tuple(sorted(self._edges))

    def lookup(self, to_frame: str, from_frame: str, stamp_ns: int | None = None) -> Transform:
        """to_frame_from_from_frame, so that p_to = result.apply(p_from).

        Args:
            to_frame: where the points should go.
            from_frame: where they are.
            stamp_ns: the time; needed if an edge on the way moves.

        Raises:
            FrameError: unknown or unconnected frames, or a moving edge and no time.
            ExtrapolationError: a moving edge is not known at that time.
        """
        for name in (to_frame, from_frame):
            if name not in self._edges:
                raise FrameError(
                    f"frame {name!r} is not in the graph, which has "
                    f"{', '.join(self.frames) or 'no frames'}"
                )
        path = self._path(to_frame, from_frame)
        if not path:
            raise FrameError(
                f"nothing connects {to_frame!r} with {from_frame!r}: from {to_frame!r} one "
                f"reaches {', '.join(self._reachable(to_frame))}; add the missing transform"
            )
        result = Transform.identity(to_frame, to_frame)
        for a, b in pairwise(path):
            result = result @ self._step(a, b, stamp_ns)
        return result

    def _step(self, a: str, b: str, stamp_ns: int | None) -> Transform:
        edge = self._edges[a][b]
        if isinstance(edge, PoseTrack):
            if stamp_ns is None:
                raise FrameError(
                    f"{edge.to_frame}_from_{edge.from_frame} moves; pass stamp_ns= of the image"
                )
            edge = edge.at(stamp_ns)
        if not isinstance(edge, Transform):
            raise CalibrationError(f"an edge must be a Transform or PoseTrack, got {edge!r}")
        return edge if edge.to_frame == a else edge.inverse()

    def _path(self, start: str, goal: str) -> list[str]:
        parents = {start: start}
        queue = deque([start])
        while queue and goal not in parents:
            here = queue.popleft()
            for neighbour in self._edges.get(here, {}):
                if neighbour not in parents:
                    parents[neighbour] = here
                    queue.append(neighbour)
        if goal not in parents:
            return []
        path = [goal]
        while path[-1] != start:
            path.append(parents[path[-1]])
        return path[::-1]

    def _reachable(self, start: str) -> list[str]:
        return [name for name in self.frames if name != start and self._path(start, name)] or [
            "nothing"
        ]
