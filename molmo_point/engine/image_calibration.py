"""A calibration as it holds in one image: outside of the images that it was fitted on, scores are lowered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

from molmo_point.engine.domain import OUTSIDE
from molmo_point.engine.score_calibration import Calibration, Floats, RawConfidence
from molmo_point.points import Pointing


@dataclass(frozen=True)
class ImageCalibration:
    """A calibration in one image.

    Attributes:
        calibration: Of the checkpoint.
        in_domain: Probability that the image is like those of the fit; None where that is not known.
    """

    calibration: Calibration
    in_domain: float | None = None

    @classmethod
    def of(
        cls, calibration: Calibration | None, summary: Floats | None
    ) -> ImageCalibration | None:
        """Return a checkpoint's calibration in one image; None where it has none.

        Args:
            summary: Of the image [2 D], see `encoded_image.summarize`; None without an image.
        """
        if calibration is None:
            return None
        if calibration.domain is None or summary is None:
            return cls(calibration)
        return cls(calibration, calibration.domain.probability(summary))

    @property
    def holds(self) -> bool:
        """Whether the image counts as one like those of the fit; true where that is not known."""
        return self.in_domain is None or self.in_domain >= OUTSIDE

    def mark(self, pointing: Pointing) -> Pointing:
        """Return an answer about the image that says whether it is calibrated."""
        return pointing.replace(calibrated=self.holds, in_domain=self.in_domain)

    def point(self, raw: RawConfidence) -> tuple[float, tuple[float, float]]:
        """As `Calibration.point`; by the law of total probability, the score is lowered to what foreign images support."""
        score, variances = self.calibration.point(raw)
        domain = self.calibration.domain
        if domain is None or self.in_domain is None:
            return score, variances
        foreign = min(score, domain.foreign_hits)
        return self.in_domain * score + (1 - self.in_domain) * foreign, variances

    def absent(self, raw: float) -> float:
        """As `Calibration.absent`."""
        return self.calibration.absent(raw)


AnyCalibration = Union[Calibration, ImageCalibration]
"""What rates points: a checkpoint's calibration in any image, or in one."""
