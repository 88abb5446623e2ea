"""Calibration boards: chessboards and ChArUco boards, and the 3D points of their corners.

The board's frame has its origin at the first inner corner, x along the rows, y down the columns
and z into the board, so that a camera in front sees it with its own z about along it. Metres.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from molmo_calibration.arrays import FloatArray, as_positive
from molmo_calibration.errors import InvalidArgumentError
from molmo_calibration.imports import opencv

__all__ = ["Board"]


@dataclass(frozen=True)
class Board:
    """A flat board with a pattern.

    Args:
        columns: squares from left to right (a chessboard with 9 x 6 inner corners has 10).
        rows: squares from top to bottom (7 for that one).
        square_m: side of a square in metres, measured on the print.
        kind: `chessboard` or `charuco`.
        marker_m: side of a ChArUco marker in metres; three quarters of a square if left out.
        dictionary: ArUco dictionary of a ChArUco board.
        legacy: ChArUco boards printed with OpenCV before 4.6 with an even number of rows start
            with a marker at the top left; set this if such a print is not found.
    """

    columns: int
    rows: int
    square_m: float
    kind: str = "chessboard"
    marker_m: float | None = None
    dictionary: str = "DICT_4X4_250"
    legacy: bool = False

    def __post_init__(self) -> None:
        if self.kind not in ("chessboard", "charuco"):
            raise InvalidArgumentError(f"kind must be chessboard or charuco, got {self.kind!r}")
        if min(self.columns, self.rows) < 3:
            raise InvalidArgumentError(
                f"a board must have at least 3 x 3 squares, got {self.columns} x {self.rows}; "
                "squares are counted, not inner corners"
            )
        as_positive(self.square_m, "square_m", "metres")
        marker = 0.75 * self.square_m if self.marker_m is None else self.marker_m
        object.__setattr__(self, "marker_m", as_positive(marker, "marker_m", "metres"))
        if marker >= self.square_m:
            raise InvalidArgumentError(
                f"marker_m must be smaller than square_m = {self.square_m}, got {marker}"
            )

    @property
    def inner(self) -> tuple[int, int]:
        """Inner corners (columns, rows)."""
        return self.columns - 1, self.rows - 1

    @property
    def words(self) -> str:
        """The board in words, as reports and messages have it."""
        text = f"{self.kind}, {self.columns} x {self.rows} squares of {self.square_m * 1e3:g} mm"
        if self.kind == "charuco":
            text += f", markers of {(self.marker_m or 0) * 1e3:g} mm, {self.dictionary}"
        return text

    @property
    def looks_the_same_upside_down(self) -> bool:
        """Whether half a turn maps the pattern onto itself, so that a picture has two poses."""
        return self.kind == "chessboard" and (self.columns + self.rows) % 2 == 0

    @property
    def points(self) -> FloatArray:
        """(n, 3) inner corners row by row, metres in the board's frame."""
        columns, rows = self.inner
        grid = np.mgrid[:columns, :rows].T.reshape(-1, 2) * self.square_m
        return np.column_stack([grid, np.zeros(len(grid))])

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
