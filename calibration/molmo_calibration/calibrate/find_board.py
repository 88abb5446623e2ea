"""Find a board in an image: corners to a fraction of a pixel, or an error that says why not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from molmo_calibration.arrays import FloatArray
from molmo_calibration.calibrate.boards import Board
from molmo_calibration.calibrate.chessboards import (
    find_charuco,
    find_chessboard,
    why_no_charuco,
    why_no_chessboard,
)
from molmo_calibration.calibrate.detection import Detection
from molmo_calibration.calibrate.grids import find_circles, find_tags, why_no_circles, why_no_tags
from molmo_calibration.errors import BoardNotFoundError, InvalidArgumentError
from molmo_calibration.imports import opencv

__all__ = ["detect_board", "detect_in_file", "likely_board", "picture_files"]

_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".pgm", ".webp")

# Where the board is not found, other sizes are tried in this many pictures, this large at most.
_TRIED = 3
_LARGEST_PX = 800


def detect_board(picture: np.ndarray, board: Board, name: str = "") -> Detection:
    """Find a board in a picture.

    Args:
        picture: (H, W) or (H, W, 3) uint8.
        board: what to look for.
        name: of the picture, for messages.

    Raises:
        BoardNotFoundError: not there, cut off, blurred, of another size, or mirrored.
        InvalidArgumentError: not a picture.
    """
    cv2 = opencv("finding a board")
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or picture.size == 0:
        raise InvalidArgumentError(
            f"a picture must be (H, W) or (H, W, 3) uint8, got {picture.dtype} {picture.shape}"
        )
    grey = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    found = _find(np.ascontiguousarray(grey), board)
    size = grey.shape[1], grey.shape[0]
    if found is None:
        raise BoardNotFoundError(_why_not(grey, board, name))
    return Detection(found[0], found[1], size, name)


def detect_in_file(path: str | Path, board: Board) -> Detection:
    """Find a board in a picture file.

    Raises:
        BoardNotFoundError: not a picture, or no board in it.
    """
    cv2 = opencv("reading a picture")
    picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise BoardNotFoundError(f"{path} cannot be read as a picture")
    return detect_board(picture, board, Path(path).name)


def picture_files(folder: str | Path) -> list[Path]:
    """Pictures of a folder, sorted by name.

    Raises:
        InvalidArgumentError: no such folder, or no pictures in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InvalidArgumentError(f"expected a folder with pictures, {folder} is none")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in _PICTURES)
    if not files:
        raise InvalidArgumentError(f"{folder} holds no pictures ({', '.join(_PICTURES)})")
    return files


def _find(grey: np.ndarray, board: Board) -> tuple[FloatArray, FloatArray] | None:
    if board.has_circles:
        return find_circles(grey, board)
    if board.kind == "aprilgrid":
        return find_tags(grey, board)
    return find_charuco(grey, board) if board.kind == "charuco" else find_chessboard(grey, board)


def _why_not(grey: np.ndarray, board: Board, name: str) -> str:
    where = name or "the picture"
    if board.has_circles:
        return why_no_circles(board, where)
    if board.kind == "aprilgrid":
        return why_no_tags(grey, board, where)
    if board.kind == "charuco":
        return why_no_charuco(grey, board, where)
    return why_no_chessboard(board, where)


def likely_board(paths: Sequence[str | Path], board: Board) -> str:
    """Which other chessboard is in pictures without the given one, in words; empty if none is.

    Args:
        paths: pictures; the first few are tried.
        board: that was looked for.
    """
    if board.kind != "chessboard":
        return ""
    cv2 = opencv("reading a picture")
    sizes = [(c, r) for c in range(4, 15) for r in range(3, c + 1)]
    # A part of a board is a board too, so the largest that is found is the one.
    sizes.sort(key=lambda size: -size[0] * size[1])
    for path in paths[:_TRIED]:
        picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if picture is None:
            continue
        shrunk = _shrunk(picture)
        for columns, rows in sizes:
            flags = cv2.CALIB_CB_ADAPTIVE_THRESH | cv2.CALIB_CB_FAST_CHECK
            found, _ = cv2.findChessboardCorners(shrunk, (columns - 1, rows - 1), flags=flags)
            if found:
                return (
                    f"{Path(path).name} holds a chessboard of {columns} x {rows} squares: try "
                    f"--columns {columns} --rows {rows}"
                )
    return ""


def _shrunk(picture: np.ndarray) -> np.ndarray:
    cv2 = opencv("reading a picture")
    scale = _LARGEST_PX / max(picture.shape)
    if scale >= 1.0:
        return picture
    return np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
