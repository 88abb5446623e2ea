"""Options that several commands of `molmo-calibrate` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Columns = Annotated[int, typer.Option(help="squares (circles, tags) from left to right")]
Rows = Annotated[int, typer.Option(help="squares (circles, tags) from top to bottom")]
Square = Annotated[
    float,
    typer.Option(
        help="side of a square in millimetres, as measured; of circles the distance of neighbours (asymmetric: from row to "
        "row), of tags the distance from tag to tag"
    ),
]
Marker = Annotated[
    float | None, typer.Option(help="side of a ChArUco marker or an AprilTag in millimetres")
]
Kind = Annotated[
    str,
    typer.Option(
        "--pattern", help="chessboard, charuco, circles, asymmetric_circles or aprilgrid"
    ),
]
Charuco = Annotated[bool, typer.Option("--charuco", help="the same as --pattern charuco")]
Border = Annotated[
    int, typer.Option(help="black border of AprilTags in bits: 2 as Kalibr prints them, or 1")
]
Target = Annotated[
    Path | None,
    typer.Option(help="Kalibr's file of the board (YAML), instead of the options above"),
]
Dictionary = Annotated[str, typer.Option(help="ArUco dictionary of a ChArUco board")]
Legacy = Annotated[bool, typer.Option(help="ChArUco pattern of OpenCV before 4.6")]
CameraName = Annotated[
    str | None, typer.Option("--camera-name", help="which camera of the file, e.g. cam1")
]
Size = Annotated[
    str | None, typer.Option("--size", help="WxH of the image, if the camera file has none")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace files that are there")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON for machines")]
Report = Annotated[Path | None, typer.Option(help="write a report as one HTML page")]
