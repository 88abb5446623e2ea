"""ScreenSpot and its successors: the first point lies in the element's box, edges included."""

from __future__ import annotations

from molmo_point.evaluate.scorers.scorer import Scorer, Values, answered, wrong_format
from molmo_point.examples import Example
from molmo_point.points import Pointing, Status


def _clicks(example: Example, pointing: Pointing | None) -> Values | None:
    if not example.regions:
        # Asked for what is not there (negative samples of ScreenSpot-Pro).
        said_no = pointing is not None and pointing.status is Status.NOT_FOUND
        return {"correct": float(said_no), "wrong_format": wrong_format(pointing)}
    first = answered(pointing)[:1]
    right = bool(first) and example.regions[0].contains(*first[0])
    # An answer without a point, also one that denies, is what these owners call a wrong format.
    return {"correct": float(right), "wrong_format": float(not first)}


SCREENSPOT = Scorer(
    "screenspot",
    "njucckevin/SeeClick pretrain/screenspot_test.py (0ef37ac)",
    "The first point lies in the box; an answer without a point is wrong. Published by platform and kind of element "
    "(text, icon), "
    "and as the mean of these six.",
    frozenset({"screenspot", "screenspot-v2"}),
    "correct",
    "categories",
    _clicks,
)
SCREENSPOT_PRO = Scorer(
    "screenspot-pro",
    "likaixin2000/ScreenSpot-Pro-GUI-Grounding eval_screenspot_pro.py (bd8bbbb)",
    "The first point lies in the box; where a negative sample asks for what is not there, saying so is right. The mean "
    "over all items.",
    frozenset({"screenspot-pro"}),
    "correct",
    "items",
    _clicks,
)
