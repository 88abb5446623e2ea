"""A board as a PDF to print at 100 %: vector squares, and a ruler to check the print with.

PDF 1.4 written by hand, because a page of black rectangles needs no library: five objects and
rectangles in points (1/72 inch).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from molmo_calibration.boards import Board
from molmo_calibration.errors import InvalidArgumentError

__all__ = ["PAPERS", "board_pdf", "save_board_pdf"]

# Width and height in millimetres, landscape.
PAPERS = {
    "a4": (297.0, 210.0),
    "a3": (420.0, 297.0),
    "a2": (594.0, 420.0),
    "a1": (841.0, 594.0),
    "a0": (1189.0, 841.0),
    "letter": (279.4, 215.9),
    "tabloid": (431.8, 279.4),
}

_POINTS_PER_MM = 72.0 / 25.4
_MARGIN_MM = 8.0
_FOOT_MM = 16.0

Rectangle = tuple[float, float, float, float]


def save_board_pdf(board: Board, path: str | Path, paper: str = "a4") -> None:
    """Write `board_pdf` to a file."""
    Path(path).write_bytes(board_pdf(board, paper))


def board_pdf(board: Board, paper: str = "a4") -> bytes:
    """A page with the board, a ruler and the words needed to use it.

    Args:
        board: what to print.
        paper: a key of `PAPERS`.

    Raises:
        InvalidArgumentError: unknown paper, or the board does not fit on it.
    """
    if paper not in PAPERS:
        raise InvalidArgumentError(f"paper must be one of {', '.join(PAPERS)}, got {paper!r}")
    width, height = PAPERS[paper]
    square = board.square_m * 1000.0
    size = board.columns * square, board.rows * square
    room = width - 2 * _MARGIN_MM, height - 2 * _MARGIN_MM - _FOOT_MM
    if size[0] > room[0] or size[1] > room[1]:
        most = min(room[0] / board.columns, room[1] / board.rows)
        raise InvalidArgumentError(
            f"a board of {size[0]:.0f} x {size[1]:.0f} mm does not fit on {paper} "
            f"({room[0]:.0f} x {room[1]:.0f} mm inside the margins); take squares of at most "
            f"{most:.1f} mm, or larger paper"
        )
    left, top = (width - size[0]) / 2, _MARGIN_MM + (room[1] - size[1]) / 2
    black, white = _squares(board, square), _bits(board, square)
    drawing = ["0 g"]
    drawing += [_rectangle(r, left, top, height) for r in black]
    drawing += ["1 g"] + [_rectangle(r, left, top, height) for r in white] if white else []
    drawing += ["0 g", *_ruler(height), _words(board, height)]
    return _document("\n".join(drawing), width, height)


def _squares(board: Board, square: float) -> list[Rectangle]:
    """Black squares (x, y, width, height) in millimetres from the board's top left corner."""
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
            for j, i in np.argwhere(_pattern(dictionary, int(next(identifiers)), side)):
                found.append((x + (i + 1) * bit, y + (j + 1) * bit, bit, bit))
    return found


def _pattern(dictionary: Any, identifier: int, side: int) -> np.ndarray:
    """(side, side) bool, True for white; drawn by OpenCV at one pixel a bit."""
    image = dictionary.generateImageMarker(identifier, side + 2, borderBits=1)
    return np.asarray(image)[1:-1, 1:-1] > 127


def _rectangle(r: Rectangle, left: float, top: float, height: float) -> str:
    x, y = (left + r[0]) * _POINTS_PER_MM, (height - top - r[1] - r[3]) * _POINTS_PER_MM
    return f"{x:.4f} {y:.4f} {r[2] * _POINTS_PER_MM:.4f} {r[3] * _POINTS_PER_MM:.4f} re f"


def _ruler(height: float) -> list[str]:
    """100 mm with a mark for every millimetre, at the bottom left."""
    top = height - _MARGIN_MM - 6.0
    marks: list[Rectangle] = [(0.0, 0.0, 100.0, 0.2)]
    for millimetre in range(101):
        length = 4.0 if millimetre % 10 == 0 else 3.0 if millimetre % 5 == 0 else 2.0
        marks.append((millimetre - 0.05, 0.0, 0.1, length))
    return [_rectangle(mark, _MARGIN_MM, top, height) for mark in marks]


def _words(board: Board, height: float) -> str:
    kind = "chessboard" if board.kind == "chessboard" else f"ChArUco, {board.dictionary}"
    lines = [
        f"{kind}: {board.columns} x {board.rows} squares of {board.square_m * 1000:g} mm"
        + (f", markers {(board.marker_m or 0) * 1000:g} mm" if board.kind == "charuco" else ""),
        f"Print at 100 %. The ruler must measure 100 mm; if it does not, measure a row of "
        f"{board.columns} squares",
        f"and give --square a share of 1/{board.columns} of that. "
        "Glue it onto something flat and stiff.",
    ]
    x = (_MARGIN_MM + 106.0) * _POINTS_PER_MM
    y = (_MARGIN_MM + 8.0) * _POINTS_PER_MM
    shown = " ".join(f"({line}) Tj 0 -10 Td" for line in lines)
    return f"BT /F1 8 Tf {x:.2f} {y:.2f} Td {shown} ET"


def _document(drawing: str, width: float, height: float) -> bytes:
    box = f"[0 0 {width * _POINTS_PER_MM:.3f} {height * _POINTS_PER_MM:.3f}]"
    stream = drawing.encode("ascii")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R /ViewerPreferences << /PrintScaling /None >> >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        (
            f"<< /Type /Page /Parent 2 0 R /MediaBox {box} /Contents 4 0 R "
            "/Resources << /Font << /F1 5 0 R >> >> >>"
        ).encode(),
        b"<< /Length " + str(len(stream)).encode() + b" >>\nstream\n" + stream + b"\nendstream",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, starts = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        starts.append(len(out))
        out += str(number).encode() + b" 0 obj\n" + body + b"\nendobj\n"
    table = "".join(f"{start:010d} 00000 n \n" for start in starts)
    count = len(objects) + 1
    tail = f"xref\n0 {count}\n0000000000 65535 f \n{table}trailer\n"
    tail += f"<< /Size {count} /Root 1 0 R >>\nstartxref\n{len(out)}\n%%EOF\n"
    return out + tail.encode()
