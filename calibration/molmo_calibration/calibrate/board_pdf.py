"""A board as a PDF to print at 100 %: vector squares, and a ruler to check the print with.

PDF 1.4 written by hand, because a page of black rectangles needs no library: five objects and
rectangles in points (1/72 inch).
"""

from __future__ import annotations

from pathlib import Path

from molmo_calibration.calibrate.boards import Board
from molmo_calibration.calibrate.patterns import Rectangle, pattern_of
from molmo_calibration.errors import InvalidArgumentError

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

# Control points of four Bezier curves that make a circle, as a share of its radius.
_CURVE = 0.5522847498


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
    pattern = pattern_of(board)
    size = pattern.size
    room = width - 2 * _MARGIN_MM, height - 2 * _MARGIN_MM - _FOOT_MM
    if size[0] > room[0] or size[1] > room[1]:
        most = board.square_m * 1000.0 * min(room[0] / size[0], room[1] / size[1])
        raise InvalidArgumentError(
            f"a board of {size[0]:.0f} x {size[1]:.0f} mm does not fit on {paper} "
            f"({room[0]:.0f} x {room[1]:.0f} mm inside the margins); take {_step(board)} "
            f"of at most {most:.1f} mm, or larger paper"
        )
    left, top = (width - size[0]) / 2, _MARGIN_MM + (room[1] - size[1]) / 2
    drawing = ["0 g"]
    drawing += [_rectangle(r, left, top, height) for r in pattern.black]
    drawing += [_circle(*c, left, top, height) for c in pattern.circles]
    if pattern.white:
        drawing += ["1 g", *(_rectangle(r, left, top, height) for r in pattern.white)]
    drawing += ["0 g", *_ruler(height), _words(board, height)]
    return _document("\n".join(drawing), width, height)


def _rectangle(r: Rectangle, left: float, top: float, height: float) -> str:
    x, y = (left + r[0]) * _POINTS_PER_MM, (height - top - r[1] - r[3]) * _POINTS_PER_MM
    return f"{x:.4f} {y:.4f} {r[2] * _POINTS_PER_MM:.4f} {r[3] * _POINTS_PER_MM:.4f} re f"


def _circle(x: float, y: float, radius: float, left: float, top: float, height: float) -> str:
    x, y = (left + x) * _POINTS_PER_MM, (height - top - y) * _POINTS_PER_MM
    r = radius * _POINTS_PER_MM
    c = r * _CURVE
    curves = (
        (r, c, c, r, 0.0, r),
        (-c, r, -r, c, -r, 0.0),
        (-r, -c, -c, -r, 0.0, -r),
        (c, -r, r, -c, r, 0.0),
    )
    drawn = [f"{x + r:.4f} {y:.4f} m"]
    for a, b, d, e, f, g in curves:
        drawn.append(f"{x + a:.4f} {y + b:.4f} {x + d:.4f} {y + e:.4f} {x + f:.4f} {y + g:.4f} c")
    return " ".join([*drawn, "f"])


def _step(board: Board) -> str:
    """What `square_m` is on this board, for messages."""
    return "squares" if board.has_squares else f"a distance between {board.things}"


def _ruler(height: float) -> list[str]:
    """100 mm with a mark for every millimetre, at the bottom left."""
    top = height - _MARGIN_MM - 6.0
    marks: list[Rectangle] = [(0.0, 0.0, 100.0, 0.2)]
    for millimetre in range(101):
        length = 4.0 if millimetre % 10 == 0 else 3.0 if millimetre % 5 == 0 else 2.0
        marks.append((millimetre - 0.05, 0.0, 0.1, length))
    return [_rectangle(mark, _MARGIN_MM, top, height) for mark in marks]


def _words(board: Board, height: float) -> str:
    lines = [
        f"{board.words[:1].upper()}{board.words[1:]}",
        "Print at 100 %. The ruler must measure 100 mm; if it does not, measure the board",
        f"({_whole(board)}) and give --square what was measured.",
        "Glue it onto something flat and stiff.",
    ]
    x = (_MARGIN_MM + 106.0) * _POINTS_PER_MM
    y = (_MARGIN_MM + 8.0) * _POINTS_PER_MM
    shown = " ".join(f"({_escaped(line)}) Tj 0 -10 Td" for line in lines)
    return f"BT /F1 8 Tf {x:.2f} {y:.2f} Td {shown} ET"


def _whole(board: Board) -> str:
    """Advice which long distance to measure and divide."""
    count = board.columns if board.has_squares else board.columns - 1
    if board.has_squares:
        return f"a row of {count} squares, divided by {count}"
    if board.kind == "asymmetric_circles":
        return f"from the first to the last circle of a row, divided by {2 * count}"
    return f"from the first to the last of a row of {board.things}, divided by {count}"


def _escaped(line: str) -> str:
    """Text for a PDF string, in which parentheses mean something."""
    return line.replace("(", "\\(").replace(")", "\\)")


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
