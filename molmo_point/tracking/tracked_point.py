"""`TrackedPoint`: a point of an answer with its identity, and where it is in a later frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molmo_point.points import Point
from molmo_point.tracking.frame import Floats

UNKNOWN_SIGMA = 0.01
"""Standard deviation of a point whose model gives none, in parts of the image: about that of Molmo's single points."""


@dataclass(frozen=True)
class TrackedPoint:
    """One tracked point.

    Attributes:
        id: Its identity; never used twice.
        query: What it answers.
        point: As the model gave it.
        seen_ns: Stamp of the frame that the model saw it in.
        seen_s: Time of that frame, seconds.
        variance_px2: What tracking has added since, working pixels squared.
        misses: Answers in a row that did not have it.
        lost_s: When it was lost, seconds; None while it is recognized.
        found_again: Frames in a row that have shown a lost point again.
    """

    id: int
    query: str
    point: Point
    seen_ns: int | None
    seen_s: float
    variance_px2: float = 0.0
    misses: int = 0
    lost_s: float | None = None
    found_again: int = 0

    def at(self, uv: Floats, blur_px: float, size: tuple[int, int], index: int) -> Point:
        """Return the point in a later frame.

        Args:
            uv: (2,) its pixel in the working frame, pixel centres on integers.
            blur_px: Standard deviation of its patch's position, working pixels.
            size: (width, height) of the working frame.
            index: Its place in the answer.
        """
        x, y = (uv + 0.5) / size
        variance = self.variance_px2 + blur_px**2
        spread = variance / np.square(np.array(size, np.float64))
        base = self.point.covariance or (UNKNOWN_SIGMA**2, 0.0, UNKNOWN_SIGMA**2)
        return Point(
            x=float(np.clip(x, 0, 1)),
            y=float(np.clip(y, 0, 1)),
            label=self.point.label,
            score=self.point.score,
            covariance=(base[0] + float(spread[0]), base[1], base[2] + float(spread[1])),
            index=index,
        )
