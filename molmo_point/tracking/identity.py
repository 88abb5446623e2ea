"""Which point of a new answer is which tracked point: by appearance and by distance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from molmo_point.tracking.flow import FlowTracks
from molmo_point.tracking.frame import Floats, Frame

SAME_PLACE = 0.015
"""How far, in parts of the image's diagonal, it may lie from a recognized point that does not look alike: what models scatter."""

MATCH_GATE = 0.05
"""How far, in parts of the image's diagonal, an answer may lie from a tracked point and still be the same object."""


def match_points(
    frame: Frame, patches: FlowTracks, old: Sequence[int], new_uv: Floats
) -> dict[int, int]:
    """Pair new points with tracked ones, nearest pairs first; return {index of new_uv: index into patches}.

    A pair is the same thing if the new point lies within `SAME_PLACE` of a patch that was recognized in this frame, or if the old
    first look is found at the new place. Distance alone is no evidence: something else may have come to the old place.

    Args:
        frame: The newest frame.
        patches: All tracked patches.
        old: Which of them belong to the query, recognized or lost.
        new_uv: (M, 2) places of the new points in `frame`.
    """
    if not len(old) or not len(new_uv):
        return {}
    distance = np.linalg.norm(new_uv[:, None] - patches.uv[list(old)][None], axis=-1)
    diagonal_px = float(np.hypot(*frame.size))
    gate_px = MATCH_GATE * diagonal_px
    near = [(int(i), int(j)) for i, j in np.argwhere(distance <= gate_px)]
    which = np.array([old[j] for _, j in near], np.int64)
    places = np.array([new_uv[i] for i, _ in near], np.float64).reshape(-1, 2)
    alike = patches.recognize(frame, which, places, SAME_PLACE * diagonal_px)
    same = [
        (distance[i, j], i, old[j])
        for (i, j), looks in zip(near, alike, strict=True)
        if looks or (patches.doubt[old[j]] == 0 and distance[i, j] <= SAME_PLACE * diagonal_px)
    ]
    pairs: dict[int, int] = {}
    for _, i, j in sorted(same):
        if i not in pairs and j not in pairs.values():
            pairs[i] = j
    return pairs


def replaced(frame: Frame, patches: FlowTracks, old: Sequence[int], fresh_uv: Floats) -> set[int]:
    """Return which patches of `old`, all without a point in the new answer, have a new one within the gate.

    The model says that the thing is there and not here: the old point goes at once, so that nothing is shown twice.
    """
    if not len(old) or not len(fresh_uv):
        return set()
    gate_px = MATCH_GATE * float(np.hypot(*frame.size))
    distance = np.linalg.norm(patches.uv[list(old)][:, None] - fresh_uv[None], axis=-1)
    close = (distance <= gate_px).any(axis=1)
    return {patch for patch, is_close in zip(old, close, strict=True) if is_close}
