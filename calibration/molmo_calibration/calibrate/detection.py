"""Finding a board in a picture: corners to a fraction of a pixel, or an error that says why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from molmo_calibration.arrays import FloatArray, as_points
from molmo_calibration.calibrate.boards import Board
from molmo_calibration.calibrate.grids import find_circles, find_tags, why_no_circles, why_no_tags
from molmo_calibration.errors import BoardNotFoundError, InvalidArgumentError
from molmo_calibration.imports import opencv

__all__ = [
    "Detection",
    "check_sizes",
    "detect_board",
    "detect_in_file",
    "likely_board",
    "picture_files",
]

_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".pgm", ".webp")

# A view of a ChArUco board may be partial, but a pose from fewer corners than this is shaky.
_LEAST_CORNERS = 8


# Where the board is not found, other sizes are tried in this many pictures, this large at most.
_TRIED = 3
_LARGEST_PX = 800

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


@dataclass(frozen=True, eq=False)
class Detection:
    """A board seen in a picture.

    Args:
        board_points: (n, 3) metres in the board's frame.
        pixels: (n, 2) uv of the same corners.
        image_size: (width, height) of the picture.
        name: file or other name of the picture.

    Raises:
        InvalidArgumentError: wrong shapes, or too few corners.
        BoardNotFoundError: the corners are mirrored.
    """

    board_points: FloatArray
    pixels: FloatArray
    image_size: tuple[int, int]
    name: str = ""

    def __post_init__(self) -> None:
        points = as_points(self.board_points, "board_points", 3)
        pixels = as_points(self.pixels, "pixels", 2)
        if points.ndim != 2 or len(points) != len(pixels) or len(points) < 4:
            raise InvalidArgumentError(
                "a detection needs at least 4 corners, as many board points as pixels, got "
                f"{points.shape} and {pixels.shape}"
            )
        if not (np.isfinite(points).all() and np.isfinite(pixels).all()):
            raise InvalidArgumentError(f"the corners of {self.name or 'a board'} must not be NaN")
        if _handedness(points, pixels) < 0:
            raise BoardNotFoundError(
                f"the board in {self.name or 'the picture'} is mirrored: going along its rows and "
                "down its columns turns the wrong way. Is the picture flipped (a selfie camera, a "
                "mirror), or are board points and pixels in different orders?"
            )
        object.__setattr__(self, "board_points", points)
        object.__setattr__(self, "pixels", pixels)


def _handedness(points: FloatArray, pixels: FloatArray) -> float:
    """Determinant of the best affine map from the board to the picture: below 0 is a mirror."""
    design = np.column_stack([points[:, :2], np.ones(len(points))])
    linear = np.linalg.lstsq(design, pixels, rcond=None)[0][:2]
    return float(np.linalg.det(linear))


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
    return _charuco(grey, board) if board.kind == "charuco" else _chessboard(grey, board)


def _chessboard(grey: np.ndarray, board: Board) -> tuple[FloatArray, FloatArray] | None:
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
    return board.points, _turned_right(board, pixels)


def _turned_right(board: Board, pixels: FloatArray) -> FloatArray:
    """OpenCV may start at either end of a row, which mirrors the board; rows are turned then."""
    if _handedness(board.points, pixels) >= 0:
        return pixels
    columns, rows = board.inner
    return np.asarray(pixels.reshape(rows, columns, 2)[:, ::-1].reshape(-1, 2))


def _charuco(grey: np.ndarray, board: Board) -> tuple[FloatArray, FloatArray] | None:
    cv2 = opencv("finding a ChArUco board")
    drawn = board.charuco()
    corners, numbers, _, _ = cv2.aruco.CharucoDetector(drawn).detectBoard(grey)
    if numbers is None or len(numbers) < _LEAST_CORNERS:
        return None
    chosen = np.asarray(numbers).ravel()
    return board.points[chosen], np.asarray(corners, dtype=np.float64).reshape(-1, 2)


def _why_not(grey: np.ndarray, board: Board, name: str) -> str:
    where = name or "the picture"
    if board.has_circles:
        return why_no_circles(board, where)
    if board.kind == "aprilgrid":
        return why_no_tags(grey, board, where)
    if board.kind == "charuco":
        return _why_no_charuco(grey, board, where)
    inner = f"{board.inner[0]} x {board.inner[1]} inner corners"
    return (
        f"no {board.kind} with {inner} in {where}; all of a chessboard must be in the picture, "
        "sharp and with a white border, and columns and rows count squares, not corners"
    )


def _why_no_charuco(grey: np.ndarray, board: Board, where: str) -> str:
    if _charuco(np.ascontiguousarray(grey[:, ::-1]), board) is not None:
        return f"the board in {where} is mirrored: it is found when the picture is flipped back"
    if _charuco(grey, replace(board, legacy=not board.legacy)) is not None:
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
    """Which dictionary has the most markers in a picture, in words; empty if none has three."""
    cv2 = opencv("finding markers")
    names = [name for name in _DICTIONARIES if name != given and hasattr(cv2.aruco, name)]
    counts = {name: len(_marker_ids(grey, name)) for name in names}
    best = max(counts, key=lambda name: counts[name])
    return f"{counts[best]} of {best}" if counts[best] >= 3 else ""


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


def check_sizes(detections: Sequence[Detection]) -> tuple[int, int]:
    """The one picture size of all detections.

    Raises:
        InvalidArgumentError: pictures of different sizes.
    """
    sizes = {detection.image_size for detection in detections}
    if len(sizes) != 1:
        raise InvalidArgumentError(
            f"all pictures must have one size, got {sorted(sizes)}; one calibration is for one "
            "resolution"
        )
    return sizes.pop()
