"""Chessboards and ChArUco boards in an image: their corners, or why they were not found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from molmo_calibration.arrays import FloatArray
from molmo_calibration.calibrate.boards import Board
from molmo_calibration.calibrate.detection import handedness
from molmo_calibration.imports import opencv

__all__ = [
    "find_charuco",
    "find_chessboard",
    "unmirrored",
    "why_no_charuco",
    "why_no_chessboard",
]

# A view of a ChArUco board may be partial, but a pose from fewer corners than this is shaky.
_LEAST_CORNERS = 8

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
    ids = _marker_ids(grey, board.dictionary)
    most = board.columns * board.rows // 2 - 1
    if len(ids) == 0:
        others = _other_dictionary(grey, board.dictionary)
        return (
            f"no ChArUco board in {where} ({tried}): no marker of {board.dictionary} was found"
            + (
                f", but {others}; try --dictionary"
                if others
                else "; is it sharp and large enough?"
            )
        )
    listed = ", ".join(map(str, ids[:8])) + (", ..." if len(ids) > 8 else "")
    found = f"the markers {listed} of {board.dictionary} were found"
    if max(ids) > most:
        return (
            f"no ChArUco board in {where} ({tried}): {found}, but a board of this size has the "
            f"markers 0 to {most}: it has more squares"
        )
    return (
        f"no ChArUco board in {where} ({tried}): {found}, but fewer than {_LEAST_CORNERS} corners "
        f"between them; the board has perhaps {board.rows} columns and {board.columns} rows, or is "
        "seen too small or cut off"
    )


def _marker_ids(grey: np.ndarray, dictionary: str) -> list[int]:
    cv2 = opencv("finding markers")
    known = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, dictionary))
    _, ids, _ = cv2.aruco.ArucoDetector(known).detectMarkers(grey)
    return [] if ids is None else sorted({int(i) for i in np.asarray(ids).ravel()})


def _other_dictionary(grey: np.ndarray, given: str) -> str:
    """Which dictionary has the most markers in an image, in words; empty if none has three."""
    cv2 = opencv("finding markers")
    names = [name for name in _DICTIONARIES if name != given and hasattr(cv2.aruco, name)]
    counts = {name: len(_marker_ids(grey, name)) for name in names}
    best = max(counts, key=lambda name: counts[name])
    return f"{counts[best]} of {best}" if counts[best] >= 3 else ""
