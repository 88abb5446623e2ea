"""What ArUco markers in an image say about the board that they are on: dictionary, columns, rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molmo_calibration.arrays import FloatArray
from molmo_calibration.imports import opencv

# One of each kind of marker; their larger lists begin with the same markers.
_DICTIONARIES = (
    "DICT_4X4_1000",
    "DICT_5X5_1000",
    "DICT_6X6_1000",
    "DICT_7X7_1000",
    "DICT_ARUCO_ORIGINAL",
    "DICT_APRILTAG_16h5",
    "DICT_APRILTAG_36h11",
)

# Fewer are found by chance in anything that has squares in it.
LEAST_MARKERS = 3

# A layout is told from 6 markers on, whose centres fit it to this share of a marker's side (a wrong number
# of columns is off by a square or more, a lens by much less).
_LAYOUT_MARKERS = 6
_LAYOUT_SHARE = 0.3

_COLUMNS = range(3, 31)

Markers = dict[int, FloatArray]
"""(4, 2) corners in pixels by id."""


@dataclass(frozen=True)
class Layout:
    """Size of a ChArUco board.

    Args:
        columns: squares in a row.
        rows: squares in a column, at least: rows below the last marker that is seen are not counted.
        legacy: whether it has the pattern of OpenCV before 4.6.
    """

    columns: int
    rows: int
    legacy: bool

    @property
    def options(self) -> str:
        """The options of `molmo-calibrate` for it."""
        legacy = " --legacy" if self.legacy else ""
        return f"--columns {self.columns} --rows {self.rows}{legacy}"


def markers_in(grey: np.ndarray, dictionary: str) -> Markers:
    """Markers of a dictionary in an image; ids that are seen twice are left out."""
    cv2 = opencv("finding markers")
    known = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, dictionary))
    corners, ids, _ = cv2.aruco.ArucoDetector(known).detectMarkers(grey)
    numbers = [] if ids is None else [int(i) for i in np.asarray(ids).ravel()]
    return {
        number: np.asarray(quad, np.float64).reshape(4, 2)
        for number, quad in zip(numbers, corners, strict=True)
        if numbers.count(number) == 1
    }


def best_dictionary(grey: np.ndarray, given: str = "") -> str:
    """The dictionary with the most markers in an image, other than the given; empty if none has enough."""
    cv2 = opencv("finding markers")
    names = [name for name in _DICTIONARIES if hasattr(cv2.aruco, name)]
    counts = {name: len(markers_in(grey, name)) for name in names if not _same(name, given)}
    best = max(counts, key=lambda name: counts[name])
    return best if counts[best] >= LEAST_MARKERS else ""


def charuco_layout(markers: Markers) -> Layout | None:
    """Number of columns and rows of the ChArUco board that markers lie on, or None if too few are seen."""
    if len(markers) < _LAYOUT_MARKERS:
        return None
    numbers = np.array(sorted(markers))
    quads = np.array([markers[number] for number in numbers])
    centres = quads.mean(axis=1)
    side = float(np.median(np.linalg.norm(np.diff(quads, axis=1), axis=2)))
    tried = [(columns, start) for columns in _COLUMNS for start in (1, 0)]
    misfits = [_misfit(_cells(numbers, *way), centres) for way in tried]
    best = int(np.argmin(misfits))
    if misfits[best] > _LAYOUT_SHARE * side:
        return None
    columns, start = tried[best]
    rows = int(_cells(numbers, columns, start)[:, 1].max()) + 1
    # Only boards of an even number of rows begin with a marker, and only in the old pattern.
    legacy = start == 0
    return Layout(columns, rows + rows % 2 if legacy else rows, legacy)


def _same(one: str, other: str) -> bool:
    """Whether two dictionaries have the same kind of markers (DICT_4X4_50 and DICT_4X4_1000)."""
    return one == other or ("X" in one and one.rpartition("_")[0] == other.rpartition("_")[0])


def _cells(numbers: np.ndarray, columns: int, start: int) -> FloatArray:
    """(n, 2) column and row of markers by id: row by row on every other square."""
    first, second = (columns + 1 - start) // 2, (columns + start) // 2
    pair, rest = np.divmod(numbers, columns)
    below = rest >= first
    row = 2 * pair + below
    within = np.where(below, rest - first, rest)
    assert first + second == columns
    return np.stack([2 * within + (row + start) % 2, row], axis=1).astype(np.float64)


def _misfit(cells: FloatArray, centres: FloatArray) -> float:
    """Mean distance in pixels of centres from the best homography of their cells."""
    cv2 = opencv("finding markers")
    homography, _ = cv2.findHomography(cells, centres)
    if homography is None:
        return float("inf")
    mapped = np.column_stack([cells, np.ones(len(cells))]) @ np.asarray(homography).T
    with np.errstate(divide="ignore", invalid="ignore"):
        off = np.linalg.norm(mapped[:, :2] / mapped[:, 2:] - centres, axis=1).mean()
    return float(off) if np.isfinite(off) else float("inf")
