"""The depth at a pixel, or the status that says why there is none."""

from __future__ import annotations

from dataclasses import dataclass, field

NOT_KNOWN = float("nan")


@dataclass(frozen=True)
class DepthCandidate:
    """One of the surfaces found near a pixel.

    Args:
        z_m: median depth in metres.
        spread_m: robust sigma of its readings in metres.
        samples: number of readings.
        distance_px: from the pixel to the nearest of them.
    """

    z_m: float
    spread_m: float
    samples: int
    distance_px: float


@dataclass(frozen=True)
class DepthResult:
    """The depth at a pixel.

    Args:
        z_m: metres along the colour camera's optical axis; NaN unless the status is `ok`.
        spread_m: robust sigma of the readings about the surface, metres; NaN if there is one
            reading, or none.
        samples: number of readings used.
        status: `ok`; `none` (no readings, or too few); `ambiguous` (several surfaces, see
            `candidates`); `out_of_range` (readings, but none between min_m and max_m).
        slope: dz/du, dz/dv of the surface in metres per colour pixel, 0 where it cannot be told
            from noise; NaN from `pixel` and `median`, which fit no surface.
        candidates: surfaces near the pixel, nearest to the camera first, if there were several.
    """

    z_m: float
    spread_m: float
    samples: int
    status: str
    slope: tuple[float, float] = (NOT_KNOWN, NOT_KNOWN)
    candidates: tuple[DepthCandidate, ...] = field(default=())


def no_depth(status: str, candidates: tuple[DepthCandidate, ...] = ()) -> DepthResult:
    """A result without a depth."""
    return DepthResult(NOT_KNOWN, NOT_KNOWN, 0, status, candidates=candidates)
