"""Finding circle grids and AprilTag grids in a grey image: points on the board and their pixels, or None."""

from __future__ import annotations

from typing import Any

import numpy as np

from molmo_calibration.arrays import FloatArray
from molmo_calibration.calibrate.boards import APRILTAGS, Board
from molmo_calibration.calibrate.detection import handedness
from molmo_calibration.imports import opencv

Found = tuple[FloatArray, FloatArray]

# A view of tags may be partial; with fewer, nothing tells how the print turns them.
_LEAST_TAGS = 2

# Kalibr prints black squares between the corners of its tags, which join them in a blurred image.
# They come apart where white grows by this many pixels.
_GROWN_PX = (0, 1, 2, 4)

# A corner may be this share of a tag's side from where the detector has it.
_CORNER_SHARE = 0.15


def find_circles(grey: np.ndarray, board: Board) -> Found | None:
    """Centres of dark circles on light, or of light ones on dark; all of them must be there."""
    for image in (grey, 255 - grey):
        centres = _circle_centres(image, board)
        if centres is not None:
            return board.points, _ordered(board, centres)
    return None


def why_no_circles(board: Board, where: str) -> str:
    """The error message where `find_circles` found nothing."""
    return (
        f"no {board.words} in {where}; all circles must be in the image, sharp and on an even "
        "ground, and columns and rows count circles"
    )


def find_tags(grey: np.ndarray, board: Board) -> Found | None:
    """Corners of the tags that are seen, in the order of their ids."""
    count = board.columns * board.rows
    best = _most_tags(grey, board.border_bits, count)
    if len(best) < _LEAST_TAGS:
        return None
    # Some tags can be read with a border that is not theirs, and their corners are then beside them.
    if len(best) < count and len(_most_tags(grey, 3 - board.border_bits, count)) > len(best):
        return None
    tags = np.array(sorted(best))
    points = board.points.reshape(-1, 4, 3)[tags]
    corners = _turned_like(points, np.array([best[tag] for tag in tags]))
    sharp, good = _sharpened(grey, corners)
    if good.sum() < 4 * _LEAST_TAGS:
        return None
    return points[good], sharp[good]


def why_no_tags(grey: np.ndarray, board: Board, where: str) -> str:
    """The error message where `find_tags` found nothing."""
    flipped = np.ascontiguousarray(grey[:, ::-1])
    if find_tags(flipped, board) is not None:
        return f"the board in {where} is mirrored: it is found when the image is flipped back"
    other = 3 - board.border_bits
    if len(_tags(_whiter(grey, 1), other, 1000)) >= _LEAST_TAGS:
        return f"the tags in {where} have a black border of {other} bits; try --border {other}"
    count = len(_tags(_whiter(grey, 1), board.border_bits, 1000))
    return (
        f"no {board.words} in {where}: {count} of its tags ({APRILTAGS}) were found with ids 0 to "
        f"{board.columns * board.rows - 1}, at least {_LEAST_TAGS} are needed; are they sharp and "
        "at least 20 pixels wide?"
    )


def _circle_centres(grey: np.ndarray, board: Board) -> FloatArray | None:
    cv2 = opencv("finding a circle grid")
    shape = "ASYMMETRIC" if board.kind == "asymmetric_circles" else "SYMMETRIC"
    blobs = cv2.SimpleBlobDetector_Params()
    # OpenCV's own limit is a circle of 80 pixels; here the circles may fill the image.
    blobs.maxArea = float(grey.size) / len(board.points)
    blobs.minArea = 12.0
    blobs.minDistBetweenBlobs = 3.0
    detector = cv2.SimpleBlobDetector_create(blobs)
    for way in (0, cv2.CALIB_CB_CLUSTERING):
        flags = getattr(cv2, f"CALIB_CB_{shape}_GRID") | way
        found, centres = cv2.findCirclesGrid(grey, board.inner, flags=flags, blobDetector=detector)
        if found:
            return np.asarray(centres, dtype=np.float64).reshape(-1, 2)
    return None


def _ordered(board: Board, centres: FloatArray) -> FloatArray:
    """The one of OpenCV's possible point orders that fits the board.

    It may start at any end of a row, and of the last row; only one or two of these fit a grid that
    is not mirrored.
    """
    columns, rows = board.inner
    grid = centres.reshape(rows, columns, 2)
    orders = [grid, grid[::-1, ::-1], grid[:, ::-1], grid[::-1]]
    flat = [np.asarray(order.reshape(-1, 2)) for order in orders]
    right = [order for order in flat if handedness(board.points, order) > 0]
    return min(right or flat, key=lambda order: _misfit(board.points, order))


def _misfit(points: FloatArray, pixels: FloatArray) -> float:
    """Mean distance in pixels from the best homography; a lens bends it by little."""
    cv2 = opencv("finding a grid")
    flat = np.ascontiguousarray(points[:, :2])
    homography, _ = cv2.findHomography(flat, np.ascontiguousarray(pixels))
    if homography is None:
        return float("inf")
    mapped = np.column_stack([flat, np.ones(len(flat))]) @ np.asarray(homography).T
    return float(np.linalg.norm(mapped[:, :2] / mapped[:, 2:] - pixels, axis=1).mean())


def _whiter(grey: np.ndarray, grown: int) -> np.ndarray:
    if not grown:
        return grey
    cv2 = opencv("finding tags")
    side = 2 * grown + 1
    return np.asarray(cv2.dilate(grey, np.ones((side, side), np.uint8)))


def _most_tags(grey: np.ndarray, border_bits: int, count: int) -> dict[int, FloatArray]:
    best: dict[int, FloatArray] = {}
    for grown in _GROWN_PX:
        seen = _tags(_whiter(grey, grown), border_bits, count)
        if len(seen) > len(best):
            best = seen
        if len(best) == count:
            break
    return best


def _tags(grey: np.ndarray, border_bits: int, count: int) -> dict[int, FloatArray]:
    """(4, 2) corners of each tag with an id below `count`; ids seen twice are of other boards."""
    cv2 = opencv("finding tags")
    options = cv2.aruco.DetectorParameters()
    options.markerBorderBits = border_bits
    # One wrong bit at most: with more, half the tags are read with a border that is not theirs.
    options.errorCorrectionRate = 0.2
    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, APRILTAGS))
    corners, ids, _ = cv2.aruco.ArucoDetector(dictionary, options).detectMarkers(grey)
    found: dict[int, list[Any]] = {}
    for tag, quad in zip([] if ids is None else np.ravel(ids), corners, strict=True):
        found.setdefault(int(tag), []).append(np.asarray(quad, np.float64).reshape(4, 2))
    return {tag: seen[0] for tag, seen in found.items() if len(seen) == 1 and tag < count}


def _turned_like(points: FloatArray, corners: FloatArray) -> FloatArray:
    """Corners (n, 4, 2) in the order of the board's: prints may turn all their tags (Kalibr's by half a turn)."""
    flat = points.reshape(-1, 3)
    orders = [np.roll(corners, turn, axis=1) for turn in range(4)]
    return min(orders, key=lambda order: _misfit(flat, order.reshape(-1, 2)))


def _sharpened(grey: np.ndarray, corners: FloatArray) -> tuple[FloatArray, Any]:
    """Corners (n, 4, 2) to a fraction of a pixel, and which of them (n, 4) stayed where they were."""
    cv2 = opencv("finding tags")
    sides = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).min(axis=1)
    sharp = corners.copy()
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 40, 1e-3)
    for tag, side in enumerate(sides):
        # Inside the black border, so that no bit of the tag's pattern is in the window.
        reach = int(np.clip(side * 0.1, 2, 11))
        start = corners[tag].astype(np.float32).reshape(-1, 1, 2)
        found = cv2.cornerSubPix(grey, start, (reach, reach), (-1, -1), criteria)
        sharp[tag] = np.asarray(found).reshape(4, 2)
    moved = np.linalg.norm(sharp - corners, axis=2)
    return sharp, moved <= np.maximum(_CORNER_SHARE * sides, 3.0)[:, None]
