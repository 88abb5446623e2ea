"""Options that several commands of `molmo-calibrate` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Columns = Annotated[int, typer.Option(help="squares from left to right")]
Rows = Annotated[int, typer.Option(help="squares from top to bottom")]
Square = Annotated[float, typer.Option(help="side of a square in millimetres, as measured")]
Marker = Annotated[float | None, typer.Option(help="side of a ChArUco marker in millimetres")]
Charuco = Annotated[bool, typer.Option("--charuco", help="a ChArUco board, not a chessboard")]
Dictionary = Annotated[str, typer.Option(help="ArUco dictionary of a ChArUco board")]
Legacy = Annotated[bool, typer.Option(help="ChArUco pattern of OpenCV before 4.6")]
CameraName = Annotated[
    str | None, typer.Option("--camera-name", help="which camera of the file, e.g. cam1")
]
Size = Annotated[
    str | None, typer.Option("--size", help="WxH of the picture, if the camera file has none")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace files that are there")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON for machines")]
Report = Annotated[Path | None, typer.Option(help="write a report as one HTML page")]
