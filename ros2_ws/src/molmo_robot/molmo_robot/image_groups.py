"""The values of a question about several images: the request, the images with the data of their stamps, the answer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Union

from molmo_calibration import rotate

from molmo_point.errors import ModelFailed
from molmo_point.images import Array
from molmo_point.pointer import Video
from molmo_point.points import Pointing
from molmo_robot.codes import Code
from molmo_robot.image_rotation import unrotate_point
from molmo_robot.types import LocatedPoint, Request, Snapshot


@dataclass(frozen=True)
class ImagesRequest:
    """One question about the newest image of several cameras, or about the last frames of one camera.

    Attributes:
        query: What to point to.
        cameras: Names, one image of each; none means all cameras, of a video the first.
        frames: 0 for images, else the largest number of frames of a video.
        not_before_ns, target_frame, compute_position, max_points, timeout_s, request_id: As of `Request`.
    """

    query: str
    cameras: tuple[str, ...] = ()
    frames: int = 0
    not_before_ns: int = 0
    target_frame: str | None = None
    compute_position: bool = True
    max_points: int = 0
    timeout_s: float | None = None
    request_id: str = ""

    def about(self, camera: str) -> Request:
        """Return the same question about the newest image of one camera."""
        return Request(
            query=self.query,
            camera=camera,
            not_before_ns=self.not_before_ns,
            target_frame=self.target_frame,
            compute_position=self.compute_position,
            timeout_s=self.timeout_s,
            request_id=self.request_id,
        )


@dataclass(frozen=True, eq=False)
class ImageGroup:
    """The images of a question, each with the data of its own stamp: what the model is shown, and what brings its points back.

    Attributes:
        snapshots: In the order of the question; frames of a video by their stamps.
        is_video: Whether they are frames of one camera.
    """

    snapshots: tuple[Snapshot, ...]
    is_video: bool = False

    @cached_property
    def times_s(self) -> tuple[float, ...]:
        """Seconds since the first frame; NaN where the images are no video."""
        first_ns = self.snapshots[0].stamp_ns
        return tuple(
            (s.stamp_ns - first_ns) / 1e9 if self.is_video else math.nan for s in self.snapshots
        )

    @property
    def stamp_ns(self) -> int:
        """Stamp of the newest image."""
        return max(snapshot.stamp_ns for snapshot in self.snapshots)

    @property
    def frame_id(self) -> str:
        """Optical frame of the first image."""
        return self.snapshots[0].frame_id

    @cached_property
    def upright(self) -> Union[Array, list[Array], Video]:
        """What the model is asked about. One image stands for itself: every model takes that."""
        images = [snapshot.upright for snapshot in self.snapshots]
        if self.is_video:
            return Video(images, self.times_s)
        return images if len(images) > 1 else images[0]

    @property
    def upright_size(self) -> tuple[int, int]:
        """(width, height) in pixels of the first image as the model sees it."""
        return self.snapshots[0].upright_size

    def as_published(self, pointing: Pointing) -> Pointing:
        """Return an answer about `upright` in norm of the images as published, each point in its own.

        Raises:
            ModelFailed: A point lies in an image that was not shown.
        """
        beyond = [p.image_index for p in pointing.points if p.image_index >= len(self.snapshots)]
        if beyond:
            raise ModelFailed(
                f"expected points in {len(self.snapshots)} images, got one in image {beyond[0]}, counted from 0"
            )
        back = [rotate(s.image_size, s.camera.rotation).inverse() for s in self.snapshots]
        points = tuple(
            unrotate_point(point, back[point.image_index])
            if self.snapshots[point.image_index].camera.rotation
            else point
            for point in pointing.points
        )
        sizes = tuple(snapshot.image_size for snapshot in self.snapshots)
        return pointing.replace(points=points, image_size=sizes[0], image_sizes=sizes)


@dataclass(frozen=True, eq=False)
class GroupAnswer:
    """An answer about several images with positions, ready to become a message.

    Attributes:
        group: The images.
        pointing: In norm of the images as published.
        points: In the order of the answer, each located in its own image.
        position_frames: Of each image the frame of its positions; empty where none was asked for.
        inference_s: Seconds from the question to the answer.
        doubts: Why positions that could be computed may be wrong, in words.
    """

    group: ImageGroup
    pointing: Pointing
    points: tuple[LocatedPoint, ...]
    position_frames: tuple[str, ...]
    inference_s: float = 0.0
    doubts: tuple[str, ...] = ()

    @property
    def position_message(self) -> str:
        """Why positions are missing; empty where none is."""
        seen = dict.fromkeys(p.position.message for p in self.points if p.position.message)
        return "; ".join(seen)


@dataclass(frozen=True, eq=False)
class GroupOutcome:
    """How a question about several images ended; `answer` is None where no image or no model got that far."""

    request: ImagesRequest
    code: Code
    message: str = ""
    answer: GroupAnswer | None = None
