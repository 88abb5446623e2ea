"""What is published between the model's answers: points carried to a frame, and the seam behind which they are carried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from molmo_point.images import Array
from molmo_point.points import Pointing, Status
from molmo_robot.types import Moment


@dataclass(frozen=True)
class Tracked:
    """Points carried to a frame.

    Attributes:
        pointing: In norm of the frame; covariances have grown with time and residual.
        track_ids: One for each point; stable while the object is followed.
        evidence_stamp_ns: Stamp of the frame the model saw.
    """

    pointing: Pointing
    track_ids: tuple[int, ...]
    evidence_stamp_ns: int


def pending(query: str, moment: Moment) -> Pointing:
    """Return the answer that there is none yet."""
    return Pointing(
        query=query,
        status=Status.PENDING,
        image_size=moment.image_size,
        stamp_ns=moment.stamp_ns,
        frame_id=moment.frame_id,
    )


class Follower(Protocol):
    """What carries points along; `follower.FlowFollower` is the one for real pictures."""

    def frame(self, stamp_ns: int, image: Array) -> Tracked | None:
        """Take the next frame in; return the points in it, None while there is nothing new to say.

        Once after the last point was lost, what it returns has the status PENDING and no points.
        """

    def expect(self, stamp_ns: int) -> None:
        """The model is asked about a frame: keep it until `release`."""

    def release(self, stamp_ns: int) -> None:
        """The answer about a frame has come, or will not come."""

    def answer(self, stamp_ns: int, pointing: Pointing) -> str | None:
        """Take the model's answer about an earlier frame in; return why its points are not followed, nothing where they are."""
