"""Carries the points of one answer from the frame it is about to the newest frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from molmo_point.points import Pointing
from molmo_point.tracking.flow import FlowTracks
from molmo_point.tracking.frame import Floats, Frame
from molmo_point.tracking.frame_buffer import BufferedFrame

MAX_UNRECOGNIZED = 3
"""Frames in a row that a point may go unrecognized; then it is lost."""

DRIFT_PX = 0.3
"""Standard deviation that one second of tracking adds, in working pixels."""


class CatchUp:
    """Carries points through kept frames. Touches nothing of the tracker, so that it may run in another thread.

    Attributes:
        pointing: The answer.
        asked: The frame that was asked about.
        size: (width, height) of the working frames.
        points: Points of the answer that are still tracked.
        patches: Where they are.
        reached: Number of the frame they are in.
        variance_px2: What tracking has added to each point's variance, working pixels squared.
    """

    def __init__(self, frames: Sequence[BufferedFrame], pointing: Pointing) -> None:
        self.pointing = pointing
        self.asked = frames[0]
        self.size = frames[0].frame.size
        self.points = list(pointing.points)
        self.reached = frames[0].number
        # Frames of its own: the tracker's drop their pyramids while this thread may be using them.
        self._at = Frame(frames[0].frame.grey, max(self.size))
        uv = np.array([(p.x, p.y) for p in self.points], np.float64).reshape(-1, 2)
        self.patches = FlowTracks(self._at, uv * self.size - 0.5)
        self.variance_px2: Floats = np.zeros(len(self.points))
        self._time_s = frames[0].time_s
        self._frames = list(frames[1:])

    def run(self) -> None:
        """Carry through all the frames known at the start."""
        self.go_on(self._frames)
        self._frames = []

    def go_on(self, frames: Sequence[BufferedFrame]) -> None:
        """Carry through `frames`, which follow the one where the points are now."""
        for kept in frames:
            after = Frame(kept.frame.grey, max(self.size))
            self.patches.step(self._at, after)
            self.variance_px2 = self.variance_px2 + growth(
                self.patches, kept.time_s - self._time_s
            )
            alive = (self.patches.doubt < MAX_UNRECOGNIZED) & self.patches.inside(after)
            self.points = [p for p, stays in zip(self.points, alive, strict=True) if stays]
            self.variance_px2 = self.variance_px2[alive]
            self.patches.keep(alive)
            self._at, self._time_s, self.reached = after, kept.time_s, kept.number


def growth(patches: FlowTracks, seconds: float) -> Floats:
    """Return what one step adds to the variance of each patch, working pixels squared, (N,)."""
    grown: Floats = DRIFT_PX**2 * max(0.0, seconds) + 0.25 * patches.residual_px**2
    return grown
