"""Boards from Kalibr's target files: `target_type` aprilgrid, checkerboard or circlegrid."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from molmo_calibration.calibrate.boards import Board
from molmo_calibration.errors import CameraFileError
from molmo_calibration.files.camera_files import load_mapping
from molmo_calibration.files.file_fields import entry, number_entry, whole_entry


def load_target(path: str | Path, border_bits: int = 2) -> Board:
    """The board of a Kalibr target file.

    Args:
        path: YAML, as Kalibr's `--target` reads it.
        border_bits: black border of the tags, which the file does not hold; Kalibr prints 2.

    Raises:
        CameraFileError: a key is missing, or a target that is not known.
        InvalidArgumentError: numbers that make no board.
    """
    data, source = load_mapping(path), str(path)
    kind = str(entry(data, "target_type", source))
    if kind == "aprilgrid":
        return _aprilgrid(data, source, border_bits)
    if kind not in ("checkerboard", "circlegrid"):
        raise CameraFileError(
            f"{path}: target_type must be aprilgrid, checkerboard or circlegrid, got {kind!r}"
        )
    columns = whole_entry(data, "targetCols", source)
    rows = whole_entry(data, "targetRows", source)
    if kind == "circlegrid":
        asymmetric = bool(data.get("asymmetricGrid", False))
        shape = "asymmetric_circles" if asymmetric else "circles"
        return Board(columns, rows, number_entry(data, "spacingMeters", source), shape)
    across = number_entry(data, "colSpacingMeters", source)
    down = number_entry(data, "rowSpacingMeters", source)
    if across != down:
        raise CameraFileError(f"{path}: squares must be square, got {across} x {down} m")
    # Kalibr counts inner corners.
    return Board(columns + 1, rows + 1, across)


def _aprilgrid(data: Mapping[str, Any], source: str, border_bits: int) -> Board:
    side = number_entry(data, "tagSize", source)
    spacing = number_entry(data, "tagSpacing", source)
    if not 0 < spacing <= 1:
        raise CameraFileError(
            f"{source}: tagSpacing is the space between tags as a share of tagSize, 0..1, got {spacing}"
        )
    return Board(
        whole_entry(data, "tagCols", source),
        whole_entry(data, "tagRows", source),
        side * (1 + spacing),
        "aprilgrid",
        side,
        border_bits=border_bits,
    )
