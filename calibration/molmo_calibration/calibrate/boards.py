"""Calibration boards, and the 3D points that are found on them.

chessboard, charuco    inner corners of squares
circles                centres of circles in rows and columns
asymmetric_circles     centres of circles; every other row is set off by half their distance
aprilgrid              corners of AprilTags, in Kalibr's layout

The board's frame has its origin at its top left point, x along the rows, y down the columns and z into
the board, so that a camera in front sees it with its own z about along it. Metres.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from molmo_calibration.arrays import FloatArray, as_positive
from molmo_calibration.errors import InvalidArgumentError
from molmo_calibration.imports import opencv

KINDS = ("chessboard", "charuco", "circles", "asymmetric_circles", "aprilgrid")

APRILTAGS = "DICT_APRILTAG_36h11"

# Side of a marker as a share of a square, or of the distance from tag to tag (Kalibr's 0.3 apart).
_MARKER_SHARE = {"charuco": 0.75, "aprilgrid": 1 / 1.3}

# Fewest columns and rows of a pattern.
_LEAST = {"aprilgrid": 2}


@dataclass(frozen=True)
class Board:
    """A flat board with a pattern.

    Args:
        columns: squares from left to right (a chessboard with 9 x 6 inner corners has 10), or
            circles in a row, or tags.
        rows: squares from top to bottom (7 for that one), or rows of circles, or tags.
        square_m: side of a square in metres, measured on the print. Of circles: distance of their
            centres; of asymmetric ones, distance from row to row, half of that within a row. Of
            tags: distance from a tag's left edge to the next one's.
        kind: one of `KINDS`.
        marker_m: side of a ChArUco marker or an AprilTag with its black border, metres; three
            quarters of a square, or for Kalibr's spacing of 0.3, if left out.
        dictionary: ArUco dictionary of a ChArUco board.
        legacy: ChArUco boards printed with OpenCV before 4.6 with an even number of rows start
            with a marker at the top left; set this if such a print is not found.
        border_bits: black border of an AprilTag in bits: 2 as Kalibr prints them, else 1.
    """

    columns: int
    rows: int
    square_m: float
    kind: str = "chessboard"
    marker_m: float | None = None
    dictionary: str = "DICT_4X4_250"
    legacy: bool = False
    border_bits: int = 2

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InvalidArgumentError(
                f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}"
            )
        least = _LEAST.get(self.kind, 3)
        if min(self.columns, self.rows) < least:
            hint = "; squares are counted, not inner corners" if self.has_squares else ""
            raise InvalidArgumentError(
                f"a board must have at least {least} x {least} {self.things}, got "
                f"{self.columns} x {self.rows}{hint}"
            )
        as_positive(self.square_m, "square_m", "metres")
        marker = self.square_m * _MARKER_SHARE.get(self.kind, 0.75)
        if self.marker_m is not None:
            marker = self.marker_m
        object.__setattr__(self, "marker_m", as_positive(marker, "marker_m", "metres"))
        if marker >= self.square_m:
            raise InvalidArgumentError(
                f"marker_m must be smaller than square_m = {self.square_m}, got {marker}"
            )
        if self.border_bits not in (1, 2):
            raise InvalidArgumentError(f"border_bits must be 1 or 2, got {self.border_bits}")

    @property
    def has_squares(self) -> bool:
        """Whether it is a chessboard, with markers or without."""
        return self.kind in ("chessboard", "charuco")

    @property
    def has_circles(self) -> bool:
        """Whether centres of circles are its points."""
        return self.kind in ("circles", "asymmetric_circles")

    @property
    def things(self) -> str:
        """What columns and rows count: squares, circles or tags."""
        return "squares" if self.has_squares else "circles" if self.has_circles else "tags"

    @property
    def inner(self) -> tuple[int, int]:
        """Inner corners (columns, rows) of squares; circles of a circle grid."""
        if self.has_circles:
            return self.columns, self.rows
        return self.columns - 1, self.rows - 1

    @property
    def words(self) -> str:
        """Description of the board for reports and messages."""
        millimetres = f"{self.square_m * 1e3:g} mm"
        marker = f"{(self.marker_m or 0) * 1e3:g} mm"
        count = f"{self.columns} x {self.rows} {self.things}"
        if self.kind == "aprilgrid":
            return (
                f"AprilTag grid, {count} of {marker}, {millimetres} from tag to tag, "
                f"border of {self.border_bits} bits"
            )
        if self.has_circles:
            kind = "circle grid" if self.kind == "circles" else "asymmetric circle grid"
            apart = "apart" if self.kind == "circles" else "from row to row"
            return f"{kind}, {count} {millimetres} {apart}"
        text = f"{self.kind}, {count} of {millimetres}"
        return (
            f"{text}, markers of {marker}, {self.dictionary}" if self.kind == "charuco" else text
        )

    @property
    def looks_the_same_upside_down(self) -> bool:
        """Whether half a turn maps the pattern onto itself, so that an image has two poses."""
        if self.kind == "chessboard":
            return (self.columns + self.rows) % 2 == 0
        if self.kind == "asymmetric_circles":
            return self.rows % 2 == 0
        return self.kind == "circles"

    @property
    def unlike_upside_down(self) -> str:
        """Advice: a board without a half-turn symmetry."""
        if self.has_circles:
            return "an asymmetric circle grid with an odd number of rows (4 x 11)"
        return "one with an odd and an even number of squares (10 x 7)"

    @property
    def points(self) -> FloatArray:
        """(n, 3) points row by row, metres in the board's frame; of tags (tags * 4, 3) corners,
        tag by tag in the order of their ids, each from its top left corner to the right."""
        if self.kind == "aprilgrid":
            return self._tag_corners()
        columns, rows = self.inner
        grid = np.mgrid[:columns, :rows].T.reshape(-1, 2).astype(np.float64)
        if self.kind == "asymmetric_circles":
            grid[:, 0] = 2 * grid[:, 0] + grid[:, 1] % 2
        return np.column_stack([grid * self.square_m, np.zeros(len(grid))])

    def _tag_corners(self) -> FloatArray:
        """Tag 0 is at the bottom left, as Kalibr counts; the origin is the top left corner."""
        side = float(self.marker_m or 0)
        corners = np.array([[0, 0], [side, 0], [side, side], [0, side]])
        tags = np.mgrid[: self.columns, : self.rows].T.reshape(-1, 2).astype(np.float64)
        tags[:, 1] = self.rows - 1 - tags[:, 1]
        flat = (tags[:, None] * self.square_m + corners).reshape(-1, 2)
        return np.column_stack([flat, np.zeros(len(flat))])

    def charuco(self) -> Any:
        """OpenCV's own board.

        Raises:
            InvalidArgumentError: a dictionary OpenCV does not have.
        """
        cv2 = opencv("a ChArUco board")
        if not hasattr(cv2.aruco, self.dictionary):
            known = [name for name in dir(cv2.aruco) if name.startswith("DICT_")]
            raise InvalidArgumentError(
                f"dictionary must be one of {', '.join(known)}, got {self.dictionary!r}"
            )
        dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, self.dictionary))
        board = cv2.aruco.CharucoBoard(
            (self.columns, self.rows), float(self.square_m), float(self.marker_m or 0), dictionary
        )
        if self.legacy:
            board.setLegacyPattern(True)
        return board
