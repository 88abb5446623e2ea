"""What is black on a board, in millimetres: rectangles and circles to print."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from molmo_calibration.calibrate.boards import APRILTAGS, Board
from molmo_calibration.imports import opencv

Rectangle = tuple[float, float, float, float]
"""x, y, width and height from the pattern's top left corner, millimetres."""

# Radius of a circle as a share of the distance of neighbours in rows (symmetric) or of rows.
_RADIUS = {"circles": 0.25, "asymmetric_circles": 0.4}


@dataclass(frozen=True)
class Pattern:
    """A pattern, millimetres.

    Args:
        size: width and height.
        black: rectangles drawn first.
        white: rectangles drawn over them.
        circles: (x, y, radius), black.
        first: where the board's origin lies, (x, y).
    """

    size: tuple[float, float]
    black: tuple[Rectangle, ...] = ()
    white: tuple[Rectangle, ...] = ()
    circles: tuple[tuple[float, float, float], ...] = ()
    first: tuple[float, float] = (0.0, 0.0)


def pattern_of(board: Board) -> Pattern:
    """The drawing of a board."""
    if board.has_circles:
        return _circles(board)
    if board.kind == "aprilgrid":
        return _tags(board)
    square = board.square_m * 1000.0
    size = board.columns * square, board.rows * square
    black, white = tuple(_squares(board, square)), tuple(_bits(board, square))
    return Pattern(size, black, white, first=(square, square))


def _circles(board: Board) -> Pattern:
    radius = board.square_m * 1000.0 * _RADIUS[board.kind]
    centres = board.points[:, :2] * 1000.0 + radius
    width, height = centres.max(axis=0) + radius
    circles = tuple((float(x), float(y), radius) for x, y in centres)
    return Pattern((float(width), float(height)), circles=circles, first=(radius, radius))


def _tags(board: Board) -> Pattern:
    """Tags turned by half, and black squares between their corners, as Kalibr prints them."""
    cv2 = opencv("an AprilTag grid")
    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, APRILTAGS))
    side, pitch = (board.marker_m or 0) * 1000.0, board.square_m * 1000.0
    gap, bits = pitch - side, int(dictionary.markerSize)
    bit = side / (bits + 2 * board.border_bits)
    black: list[Rectangle] = []
    white: list[Rectangle] = []
    corners = board.points.reshape(-1, 4, 3)[:, 0, :2] * 1000.0 + gap
    for tag, (x, y) in enumerate(corners):
        black.append((float(x), float(y), side, side))
        inside = board.border_bits * bit
        for j, i in np.argwhere(_bits_of(dictionary, tag, bits)[::-1, ::-1]):
            white.append((float(x + inside + i * bit), float(y + inside + j * bit), bit, bit))
    black += [
        (column * pitch, row * pitch, gap, gap)
        for row in range(board.rows + 1)
        for column in range(board.columns + 1)
    ]
    size = board.columns * pitch + gap, board.rows * pitch + gap
    return Pattern(size, tuple(black), tuple(white), first=(gap, gap))


def _squares(board: Board, square: float) -> list[Rectangle]:
    """Black squares of a chessboard, with the markers of a ChArUco board."""
    cells = [(c, r) for r in range(board.rows) for c in range(board.columns)]
    if board.kind == "chessboard":
        return [(c * square, r * square, square, square) for c, r in cells if (c + r) % 2 == 0]
    side = (board.marker_m or 0) * 1000
    rectangles: list[Rectangle] = []
    for c, r in cells:
        if _white(board, c, r):
            rectangles.append((*_marker_corner(board, square, c, r), side, side))
        else:
            rectangles.append((c * square, r * square, square, square))
    return rectangles


def _white(board: Board, column: int, row: int) -> bool:
    """Whether a ChArUco square is white and holds a marker."""
    start = board.rows % 2 if board.legacy else 1
    return (column + row) % 2 == start


def _marker_corner(board: Board, square: float, column: int, row: int) -> tuple[float, float]:
    border = (square - (board.marker_m or 0) * 1000) / 2
    return column * square + border, row * square + border


def _bits(board: Board, square: float) -> list[Rectangle]:
    """White bits of the ChArUco markers, as rectangles on the black markers."""
    if board.kind != "charuco":
        return []
    drawn = board.charuco()
    dictionary, found = drawn.getDictionary(), []
    side = int(dictionary.markerSize)
    bit = (board.marker_m or 0) * 1000 / (side + 2)
    identifiers = iter(np.asarray(drawn.getIds()).ravel())
    for row in range(board.rows):
        for column in range(board.columns):
            if not _white(board, column, row):
                continue
            x, y = _marker_corner(board, square, column, row)
            for j, i in np.argwhere(_bits_of(dictionary, int(next(identifiers)), side)):
                found.append((x + (i + 1) * bit, y + (j + 1) * bit, bit, bit))
    return found


def _bits_of(dictionary: Any, identifier: int, side: int) -> np.ndarray:
    """(side, side) bool, True for white; drawn by OpenCV at one pixel a bit."""
    image = dictionary.generateImageMarker(identifier, side + 2, borderBits=1)
    return np.asarray(image)[1:-1, 1:-1] > 127
