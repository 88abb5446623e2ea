"""Chessboards and ChArUco boards in an image: their corners, or why they were not found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from molmo_calibration.arrays import FloatArray
from molmo_calibration.calibrate.boards import Board
from molmo_calibration.calibrate.detection import handedness
from molmo_calibration.calibrate.marker_layout import (
    LEAST_MARKERS,
    Markers,
    best_dictionary,
    charuco_layout,
    markers_in,
)
from molmo_calibration.imports import opencv

# A view of a ChArUco board may be partial, but a pose from fewer corners than this is shaky.
_LEAST_CORNERS = 8


def find_chessboard(grey: np.ndarray, board: Board) -> tuple[FloatArray, FloatArray] | None:
    cv2 = opencv("finding a chessboard")
    flags = cv2.CALIB_CB_ADAPTIVE_THRESH | cv2.CALIB_CB_NORMALIZE_IMAGE
    found, corners = cv2.findChessboardCorners(grey, board.inner, flags=flags)
    if not found:
        return None
    corners = np.asarray(corners, dtype=np.float32).reshape(-1, 1, 2)
    # The search window must not reach the neighbouring corners of a small board.
    grid = corners.reshape(board.inner[1], board.inner[0], 2)
    nearest = float(np.linalg.norm(np.diff(grid, axis=1), axis=2).min())
    reach = int(np.clip(nearest * 0.4, 2, 11))
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 40, 1e-3)
    corners = cv2.cornerSubPix(grey, corners, (reach, reach), (-1, -1), criteria)
    pixels = np.asarray(corners, dtype=np.float64).reshape(-1, 2)
    return board.points, unmirrored(board, pixels)


def unmirrored(board: Board, pixels: FloatArray) -> FloatArray:
    """OpenCV may start at either end of a row, which mirrors the board; rows are turned then."""
    if handedness(board.points, pixels) >= 0:
        return pixels
    columns, rows = board.inner
    return np.asarray(pixels.reshape(rows, columns, 2)[:, ::-1].reshape(-1, 2))


def find_charuco(grey: np.ndarray, board: Board) -> tuple[FloatArray, FloatArray] | None:
    cv2 = opencv("finding a ChArUco board")
    drawn = board.charuco()
    corners, numbers, _, _ = cv2.aruco.CharucoDetector(drawn).detectBoard(grey)
    if numbers is None or len(numbers) < _LEAST_CORNERS:
        return None
    chosen = np.asarray(numbers).ravel()
    return board.points[chosen], np.asarray(corners, dtype=np.float64).reshape(-1, 2)


def why_no_chessboard(board: Board, where: str) -> str:
    """Why a chessboard was not found, in words."""
    inner = f"{board.inner[0]} x {board.inner[1]} inner corners"
    return (
        f"no {board.kind} with {inner} in {where}; all of a chessboard must be in the image, "
        "sharp and with a white border, and columns and rows count squares, not corners"
    )


def why_no_charuco(grey: np.ndarray, board: Board, where: str) -> str:
    if find_charuco(np.ascontiguousarray(grey[:, ::-1]), board) is not None:
        return f"the board in {where} is mirrored: it is found when the image is flipped back"
    if find_charuco(grey, replace(board, legacy=not board.legacy)) is not None:
        word = "--no-legacy" if board.legacy else "--legacy"
        return f"the ChArUco board in {where} has the other pattern; try {word}"
    tried = f"{board.columns} x {board.rows} squares, {board.dictionary}"
    markers = markers_in(grey, board.dictionary)
    # A few are found by chance in a board of another dictionary.
    other = best_dictionary(grey, board.dictionary) if len(markers) < LEAST_MARKERS else ""
    if other:
        return (
            f"no ChArUco board in {where} ({tried}): its markers are those of {other}: try "
            f"--dictionary {other}"
        )
    if not markers:
        return (
            f"no ChArUco board in {where} ({tried}): no marker of {board.dictionary} was found; is "
            "it sharp and large enough?"
        )
    layout = charuco_layout(markers)
    if layout is not None and (layout.columns != board.columns or layout.rows > board.rows):
        return (
            f"no ChArUco board in {where} ({tried}): its markers lie like those of a board with "
            f"{layout.columns} columns and {layout.rows} rows or more: try {layout.options}"
        )
    return (
        f"no ChArUco board in {where} ({tried}): {_listed(markers)} of {board.dictionary} were "
        f"found, but fewer than {_LEAST_CORNERS} corners between them; it is seen too small or cut "
        "off, or --columns, --rows or --marker are not those of the print"
    )


def _listed(markers: Markers) -> str:
    ids = sorted(markers)
    return f"the markers {', '.join(map(str, ids[:8]))}" + (", ..." if len(ids) > 8 else "")
