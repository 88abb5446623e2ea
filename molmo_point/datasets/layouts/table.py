"""Every layout that can be read, in the order in which data are tried for them."""

from __future__ import annotations

from molmo_point.datasets.layouts.counting import COUNTBENCHQA, PIXMO_COUNT, PIXMO_POINTS, TALLYQA
from molmo_point.datasets.layouts.free_space import (
    POINT_BENCH,
    REF_SPATIAL,
    ROBO_SPATIAL,
    WHERE2PLACE,
)
from molmo_point.datasets.layouts.layout import Layout, Opened
from molmo_point.datasets.layouts.own_files import COCO, JSON_LINES, LABEL_STUDIO, TABLE
from molmo_point.datasets.layouts.screens import SCREENSPOT, SCREENSPOT_PRO, SCREENSPOT_V2
from molmo_point.datasets.layouts.yolo import YOLO_POSE
from molmo_point.errors import UsageError

LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        PIXMO_POINTS,
        PIXMO_COUNT,
        COUNTBENCHQA,
        TALLYQA,
        POINT_BENCH,
        REF_SPATIAL,
        WHERE2PLACE,
        ROBO_SPATIAL,
        SCREENSPOT_V2,
        SCREENSPOT,
        SCREENSPOT_PRO,
        YOLO_POSE,
        LABEL_STUDIO,
        COCO,
        TABLE,
        JSON_LINES,
    )
}
"""Stricter ones first: RefSpatial's columns hold those of Where2Place."""


def find_layout(data: Opened, name: str | None = None) -> Layout:
    """Return the layout of opened data.

    Args:
        name: Take this one, without looking.

    Raises:
        UsageError: There is no layout of that name, or the data have none of those that are known.
    """
    if name is not None:
        if name not in LAYOUTS:
            raise UsageError(f"expected a layout of {', '.join(sorted(LAYOUTS))}, got {name!r}")
        return LAYOUTS[name]
    for layout in LAYOUTS.values():
        if layout.matches(data):
            return layout
    kind = "a folder" if data.suffix == "/" else "a file"
    raise UsageError(
        f"{data.path} is {kind} in no layout that is known: expected JSON Lines (.jsonl), COCO annotations or Label "
        f"Studio's export (.json), a table of points (.csv), or one of {', '.join(sorted(LAYOUTS))}"
    )
