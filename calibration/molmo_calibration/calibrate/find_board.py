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
from molmo_calibration.calibrate.marker_layout import best_dictionary, charuco_layout, markers_in
from molmo_calibration.errors import BoardNotFoundError, InvalidArgumentError
from molmo_calibration.imports import opencv

_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".pgm", ".webp")

# Where the board is not found, other sizes are tried in this many images, this large at most.
_TRIED = 3
_LARGEST_PX = 800


def detect_board(image: np.ndarray, board: Board, name: str = "") -> Detection:
    """Find a board in an image.

    Args:
        image: (H, W) or (H, W, 3) uint8.
        board: what to look for.
        name: of the image, for messages.

    Raises:
        BoardNotFoundError: not there, cut off, blurred, of another size, or mirrored.
        InvalidArgumentError: not an image.
    """
    cv2 = opencv("finding a board")
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.size == 0:
        raise InvalidArgumentError(
            f"an image must be (H, W) or (H, W, 3) uint8, got {image.dtype} {image.shape}"
        )
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    found = _find(np.ascontiguousarray(grey), board)
    size = grey.shape[1], grey.shape[0]
    if found is None:
        raise BoardNotFoundError(_why_not(grey, board, name))
    return Detection(found[0], found[1], size, name)


def detect_in_file(path: str | Path, board: Board) -> Detection:
    """Find a board in an image file.

    Raises:
        BoardNotFoundError: not an image, or no board in it.
    """
    cv2 = opencv("reading an image")
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise BoardNotFoundError(f"{path} cannot be read as an image")
    return detect_board(image, board, Path(path).name)


def image_files(folder: str | Path) -> list[Path]:
    """Images of a folder, sorted by name.

    Raises:
        InvalidArgumentError: no such folder, or no images in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InvalidArgumentError(f"expected a folder with images, {folder} is none")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in _IMAGES)
    if not files:
        raise InvalidArgumentError(f"{folder} holds no images ({', '.join(_IMAGES)})")
    return files


def _find(grey: np.ndarray, board: Board) -> tuple[FloatArray, FloatArray] | None:
    if board.has_circles:
        return find_circles(grey, board)
    if board.kind == "aprilgrid":
        return find_tags(grey, board)
    return find_charuco(grey, board) if board.kind == "charuco" else find_chessboard(grey, board)


def _why_not(grey: np.ndarray, board: Board, name: str) -> str:
    where = name or "the image"
    if board.has_circles:
        return why_no_circles(board, where)
    if board.kind == "aprilgrid":
        return why_no_tags(grey, board, where)
    if board.kind == "charuco":
        return why_no_charuco(grey, board, where)
    return why_no_chessboard(board, where)


def likely_board(paths: Sequence[str | Path], board: Board) -> str:
    """Which other board is in images without the given chessboard, in words; empty if none is found.

    Args:
        paths: images; the first few are tried.
        board: that was looked for.
    """
    if board.kind != "chessboard":
        return ""
    cv2 = opencv("reading an image")
    for path in paths[:_TRIED]:
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if image is None:
            continue
        other = _charuco_options(image) or _chessboard_options(_shrunk(image))
        if other:
            kind = "board with markers" if "charuco" in other else "chessboard of another size"
            return f"{Path(path).name} holds a {kind}: try {other}"
    return ""


def _charuco_options(grey: np.ndarray) -> str:
    """The options for the ChArUco board in an image; empty if there is none."""
    dictionary = best_dictionary(grey)
    if not dictionary:
        return ""
    layout = charuco_layout(markers_in(grey, dictionary))
    size = f" {layout.options}" if layout else ""
    return f"--pattern charuco --dictionary {dictionary}{size}"


def _chessboard_options(grey: np.ndarray) -> str:
    """The options for the largest chessboard in an image; empty if there is none.

    A part of a board is a board too, so the largest that is found is the one.
    """
    cv2 = opencv("finding a chessboard")
    flags = cv2.CALIB_CB_ADAPTIVE_THRESH | cv2.CALIB_CB_FAST_CHECK
    # OpenCV looks for no fewer than 3 corners in either direction.
    sizes = [(columns, rows) for columns in range(4, 15) for rows in range(4, columns + 1)]
    for columns, rows in sorted(sizes, key=lambda size: -size[0] * size[1]):
        found, _ = cv2.findChessboardCorners(grey, (columns - 1, rows - 1), flags=flags)
        if found:
            return f"--columns {columns} --rows {rows}"
    return ""


def _shrunk(image: np.ndarray) -> np.ndarray:
    cv2 = opencv("reading an image")
    scale = _LARGEST_PX / max(image.shape)
    if scale >= 1.0:
        return image
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
