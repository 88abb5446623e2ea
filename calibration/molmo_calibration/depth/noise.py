"""Noise models of depth readings, by kind of sensor.

A noise model is anything that turns a depth in metres into a standard deviation in metres.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from molmo_calibration.arrays import FloatArray, as_positive


class DepthNoise(Protocol):
    """Depth z (...) in metres to one standard deviation (...) in metres."""

    def sigma(self, z_m: FloatArray) -> FloatArray:
        """Standard deviation at depth z."""


@dataclass(frozen=True)
class StereoNoise:
    """Stereo and structured light: sigma = z² sigma_disparity / (f B).

    Args:
        focal_px: focal length of the depth camera in pixels.
        baseline_m: distance of its two eyes in metres.
        disparity_sigma_px: matching error; 0.08 is what Intel states for its D400 cameras in
            their tuning guide, 0.2 is more usual on plain surfaces.
    """

    focal_px: float
    baseline_m: float
    disparity_sigma_px: float = 0.1

    def __post_init__(self) -> None:
        for name in ("focal_px", "baseline_m", "disparity_sigma_px"):
            as_positive(getattr(self, name), name)

    def sigma(self, z_m: FloatArray) -> FloatArray:
        """Standard deviation in metres at depth `z_m`."""
        z = np.asarray(z_m, dtype=np.float64)
        return np.asarray(z * z * self.disparity_sigma_px / (self.focal_px * self.baseline_m))


@dataclass(frozen=True)
class TimeOfFlightNoise:
    """Time of flight: sigma = offset + share * z.

    Args:
        offset_m: metres at no distance.
        share: metres per metre.
    """

    offset_m: float = 0.002
    share: float = 0.003

    def __post_init__(self) -> None:
        as_positive(self.offset_m, "offset_m")

    def sigma(self, z_m: FloatArray) -> FloatArray:
        """Standard deviation in metres at depth `z_m`."""
        return np.asarray(self.offset_m + self.share * np.asarray(z_m, dtype=np.float64))


@dataclass(frozen=True)
class ConstantNoise:
    """The same sigma at every depth, for a sensor without a noise model.

    Args:
        sigma_m: metres.
    """

    sigma_m: float

    def __post_init__(self) -> None:
        as_positive(self.sigma_m, "sigma_m")

    def sigma(self, z_m: FloatArray) -> FloatArray:
        """`sigma_m`, in the shape of `z_m`; NaN where the depth is NaN."""
        z = np.asarray(z_m, dtype=np.float64)
        return np.asarray(np.where(np.isnan(z), np.nan, self.sigma_m))
