"""Whether an image is like those that a calibration was fitted on: a probability from the summary of its embeddings.

One logistic regression answers two questions: how far the image lies from the calibration's own images, and on which side of a
border between them and foreign images (photographs, for `nano`) it lies. `molmo-point calibrate-scores --foreign` fits it.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

OUTSIDE = 0.5
"""Probability below which an image counts as foreign."""

FARTHEST = 8.0
"""Standard deviations at which a feature is cut off, so that one alone decides nothing."""

Vectors = NDArray[np.float64]


class Domain(BaseModel):
    """The images of a fit, and the foreign images that they were told from.

        in_domain = sigmoid(bias + distance_weight * log(distance) + weights . z)

    z: an image's summary [2 D] (`encoded_image.summarize`), standardised; distance: root mean square of z.

    Attributes:
        mean, deviation: Of the summaries of the calibration's own images.
        weights, distance_weight, bias: As above.
        foreign_hits: Upper 95 % bound of the share of points on foreign images that are right, 0-1.
        foreign: Description of the foreign images.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mean: tuple[float, ...] = Field(min_length=1)
    deviation: tuple[float, ...]
    weights: tuple[float, ...]
    distance_weight: float
    bias: float
    foreign_hits: float = Field(ge=0, le=1)
    foreign: str

    @model_validator(mode="after")
    def _fits(self) -> Domain:
        widths = len(self.mean), len(self.deviation), len(self.weights)
        if len(set(widths)) > 1:
            raise ValueError(f"expected mean, deviation and weights of one width, got {widths}")
        if min(self.deviation) <= 0:
            raise ValueError(f"expected deviations above 0, got {min(self.deviation)}")
        return self

    @functools.cached_property
    def _arrays(self) -> tuple[Vectors, Vectors, Vectors]:
        return np.array(self.mean), np.array(self.deviation), np.array(self.weights)

    def probability(self, summary: NDArray[Any]) -> float:
        """Return the probability that an image is like those of the fit, 0-1.

        Args:
            summary: [2 D].
        """
        mean, deviation, weights = self._arrays
        z, log_distance = domain_features(summary, mean, deviation)
        odds = self.bias + self.distance_weight * float(log_distance) + float(z @ weights)
        return 1 / (1 + math.exp(-min(max(odds, -30.0), 30.0)))


def domain_features(
    summaries: NDArray[Any], mean: Vectors, deviation: Vectors
) -> tuple[Vectors, Vectors]:
    """Return standardised summaries [..., 2 D] and the logarithms of their distances [...]."""
    z = np.clip((summaries - mean) / deviation, -FARTHEST, FARTHEST)
    return z, 0.5 * np.log(np.square(z).mean(-1) + 1e-12)
