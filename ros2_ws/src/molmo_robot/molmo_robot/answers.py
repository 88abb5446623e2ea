"""`AnswerBuilder`: the points of the model or of the tracker become an answer with pixels and, where asked for, positions."""

from __future__ import annotations

import dataclasses

from molmo_point.points import Pointing, Status
from molmo_robot.image_groups import GroupAnswer, ImageGroup, ImagesRequest
from molmo_robot.positions.camera_info import camera_of
from molmo_robot.positions.doubts import doubts_of
from molmo_robot.positions.locate import PositionEstimator
from molmo_robot.result_codes import best_points
from molmo_robot.settings import Settings
from molmo_robot.snapshot import SnapshotBuilder
from molmo_robot.types import Answer, LocatedPoint, Request, Snapshot


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
        doubts: tuple[str, ...] = ()
        if request.compute_position:
            snapshot, points, doubts = self._located(snapshot, pointing, settings, track_ids)
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
            doubts=doubts,
        )

    def _located(
        self, snapshot: Snapshot, pointing: Pointing, settings: Settings, tracks: tuple[int, ...]
    ) -> tuple[Snapshot, tuple[LocatedPoint, ...], tuple[str, ...]]:
        """Return the snapshot, complete, its points with positions, and what is doubtful about them."""
        snapshot = self._snapshots.complete(snapshot, settings)
        if not pointing.points:
            return snapshot, (), ()
        camera = camera_of(snapshot)
        points = self._positions.locate(snapshot, pointing, camera, settings, tracks)
        return snapshot, points, doubts_of(snapshot, points, camera, settings)

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

    def build_group(
        self,
        group: ImageGroup,
        pointing: Pointing,
        request: ImagesRequest,
        settings: Settings,
        *,
        inference_s: float = 0.0,
    ) -> GroupAnswer:
        """Return the answer to a question about several images: every point in its own image, positions at that image's stamp.

        Args:
            group: The images.
            pointing: In norm of the images as published.
            request: What was asked.
            settings: The parameters.
            inference_s: Seconds the model took.
        """
        pointing = best_points(pointing, request.max_points)
        located: dict[int, LocatedPoint] = {}
        frames = []
        doubts: dict[str, None] = {}
        for number, snapshot in enumerate(group.snapshots):
            places, of_image, tracks = _in_image(pointing, number, snapshot)
            # Frames of a video are old: what belongs to their stamps has come, or does not come any more.
            waits = not group.is_video or number == len(group.snapshots) - 1
            patience = settings if waits else dataclasses.replace(settings, tf_timeout_s=0.0)
            if request.compute_position and places:
                snapshot, points, found = self._located(snapshot, of_image, patience, tracks)
                doubts.update(dict.fromkeys(found))
            else:
                points = self._positions.in_pixels(snapshot, of_image, tracks)
            located.update(zip(places, points, strict=True))
            frames.append(snapshot.target_frame if request.compute_position else "")
        return GroupAnswer(
            group=group,
            pointing=pointing,
            points=tuple(located[n] for n in range(len(pointing.points))),
            position_frames=tuple(frames),
            inference_s=inference_s,
            doubts=tuple(doubts),
        )

    def partial_group(
        self, group: ImageGroup, pointing: Pointing, settings: Settings
    ) -> GroupAnswer:
        """Return the points so far, in pixels only."""
        in_pixels = ImagesRequest(pointing.query, compute_position=False)
        return self.build_group(group, pointing, in_pixels, settings)


def _in_image(
    pointing: Pointing, number: int, snapshot: Snapshot
) -> tuple[list[int], Pointing, tuple[int, ...]]:
    """Return the points that lie in one of several images: their places in the answer, an answer of them alone, their tracks."""
    places = [n for n, point in enumerate(pointing.points) if point.image_index == number]
    points = tuple(pointing.points[n] for n in places)
    alone = pointing.replace(
        points=points,
        status=Status.FOUND if points else Status.NOT_FOUND,
        image_size=snapshot.image_size,
        image_sizes=(),
    )
    return places, alone, tuple(-1 if p.track is None else p.track for p in points)
