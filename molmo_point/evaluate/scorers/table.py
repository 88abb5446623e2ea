"""Every scorer, by the layouts it is for."""

from __future__ import annotations

from molmo_point.errors import UsageError
from molmo_point.evaluate.scorers import counts, free_space, points, screens
from molmo_point.evaluate.scorers.scorer import Scorer

SCORERS: dict[str, Scorer] = {
    scorer.name: scorer
    for scorer in (
        points.AI2_POINTS,
        points.AI2_POINTS_MOLMO2,
        counts.AI2_COUNT,
        counts.AI2_COUNT_MOLMO2,
        counts.LMMS_COUNT,
        free_space.POINTARENA,
        free_space.AI2_POINT_BENCH,
        free_space.LMMS_POINT_BENCH,
        free_space.ROBOPOINT,
        free_space.LMMS_WHERE2PLACE,
        free_space.ROBOREFER,
        free_space.ROBOREFER_XML,
        free_space.ROBOSPATIAL,
        screens.SCREENSPOT,
        screens.SCREENSPOT_PRO,
    )
}


def scorers_for(layout: str) -> list[Scorer]:
    """Return the scorers for data of a layout."""
    return [scorer for scorer in SCORERS.values() if layout in scorer.layouts]


def find_scorer(name: str) -> Scorer:
    """Return a scorer.

    Raises:
        UsageError: There is none of that name.
    """
    if name not in SCORERS:
        raise UsageError(f"expected a scorer of {', '.join(SCORERS)}, got {name!r}")
    return SCORERS[name]
