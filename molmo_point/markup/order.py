"""The order of points in Molmo 2's text: within an image by x, then y, as the models were trained to write them."""

from __future__ import annotations

import itertools
import re

from molmo_point.points import Pointing

_WRITTEN = re.compile(r' coords="[0-9]')


def first_out_of_order(pointing: Pointing) -> int | None:
    """Return the index of the first point that should stand before the one in front of it; None where there is none.

    A model that breaks the order it was trained with has often lost its place in a crowd: points may be missing, or come twice.
    Answers that are not in thousandths (the first generation's, MolmoPoint's) and tracks have another order: none is reported.
    """
    if not _WRITTEN.search(pointing.text):
        return None
    for before, after in itertools.pairwise(pointing.points):
        same_list = before.image_index == after.image_index and before.label == after.label
        untracked = before.track is None and after.track is None
        if same_list and untracked and (after.x, after.y) < (before.x, before.y):
            return after.index
    return None
