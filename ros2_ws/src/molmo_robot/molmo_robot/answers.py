"""`AnswerBuilder`: the points of the model or of the tracker become an answer with pixels and, where asked for, positions."""

from __future__ import annotations

from molmo_point.points import Pointing
from molmo_robot.positions.locate import PositionEstimator
from molmo_robot.result_codes import best_points
from molmo_robot.settings import Settings
from molmo_robot.snapshot import SnapshotBuilder
from molmo_robot.types import Answer, Request, Snapshot


class AnswerBuilder:
    """Builds answers; what a snapshot still lacks (a late transform) is fetched first, for its own stamp.

    Args:
        snapshots: Fetches it.
        positions: Estimates the positions.
    """

    def __init__(self, snapshots: SnapshotBuilder, positions: PositionEstimator) -> None:
        self._snapshots = snapshots
        self._positions = positions

    def build(
        self,
        snapshot: Snapshot,
        pointing: Pointing,
        request: Request,
        settings: Settings,
        *,
        inference_s: float = 0.0,
        evidence_stamp_ns: int | None = None,
        track_ids: tuple[int, ...] = (),
    ) -> Answer:
        """Return the answer to a request.

        Args:
            snapshot: Of the image whose header the answer carries.
            pointing: In norm of that image as published.
            request: What was asked.
            settings: The parameters.
            inference_s: Seconds the model took.
            evidence_stamp_ns: Stamp of the image the model saw, where that is an older one.
            track_ids: Identities of the points, where they are tracked.
        """
        if not track_ids:
            pointing = best_points(pointing, request.max_points)
        if request.compute_position:
            snapshot = self._snapshots.complete(snapshot, settings)
            points = self._positions.locate(snapshot, pointing, settings, track_ids)
        else:
            points = self._positions.in_pixels(snapshot, pointing, track_ids)
        return Answer(
            snapshot=snapshot,
            pointing=pointing,
            points=points,
            position_frame=snapshot.target_frame if request.compute_position else "",
            evidence_stamp_ns=snapshot.stamp_ns
            if evidence_stamp_ns is None
            else evidence_stamp_ns,
            request_id=request.request_id,
            inference_s=inference_s,
        )

    def partial(self, snapshot: Snapshot, pointing: Pointing, request: Request) -> Answer:
        """Return the points so far, in pixels only."""
        return Answer(
            snapshot=snapshot,
            pointing=pointing,
            points=self._positions.in_pixels(snapshot, pointing),
            position_frame="",
            evidence_stamp_ns=snapshot.stamp_ns,
            request_id=request.request_id,
        )
