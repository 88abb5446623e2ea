"""The .ini files of ROS's cameracalibrator ("oST version 5.0 parameters"): ost.ini, ost.txt."""

from __future__ import annotations

import re

import numpy as np

from molmo_calibration.arrays import FloatArray
from molmo_calibration.cameras.camera import Camera
from molmo_calibration.errors import CameraFileError

_RATIONAL = "rational_polynomial"
_HEADS = ("width", "height", "camera matrix", "distortion", "rectification", "projection")


def is_ini(text: str) -> bool:
    """Whether the text is such a file: sections in brackets, with a camera matrix."""
    return bool(re.search(r"^\[image\]\s*$", text, re.MULTILINE)) and "camera matrix" in text


def camera_from_ini(text: str, source: str) -> Camera:
    """Read a camera; the model is plumb_bob, or rational_polynomial with 8 coefficients.

    Args:
        text: of the file.
        source: its name, for messages.

    Raises:
        CameraFileError: a part is missing, has another size, or there are two cameras.
    """
    parts: dict[str, list[float]] = {}
    sections = re.findall(r"^\[(.+)\]\s*$", text, re.MULTILINE)
    if len(sections) > 2:
        raise CameraFileError(
            f"{source} holds the cameras {', '.join(sections[1:])}; split it into one file each"
        )
    head = ""
    for line in (line.strip() for line in text.splitlines()):
        if line in _HEADS:
            head = line
            parts[head] = []
        elif head and line and line[0] not in "#[":
            parts[head] += _numbers(line, f"{source}, {head}")
    coefficients = np.array(parts.get("distortion", []))
    return Camera(
        int(_part(parts, "width", 1, source)[0]),
        int(_part(parts, "height", 1, source)[0]),
        _part(parts, "camera matrix", 9, source).reshape(3, 3),
        coefficients,
        "none" if not coefficients.any() else "plumb_bob" if len(coefficients) <= 5 else _RATIONAL,
        rectification=_part(parts, "rectification", 9, source).reshape(3, 3),
        projection=_part(parts, "projection", 12, source).reshape(3, 4),
    )


def _numbers(line: str, source: str) -> list[float]:
    try:
        return [float(word) for word in line.split()]
    except ValueError as error:
        raise CameraFileError(f"{source} must hold numbers, got {line[:60]!r}") from error


def _part(parts: dict[str, list[float]], name: str, count: int, source: str) -> FloatArray:
    found = parts.get(name, [])
    if len(found) != count:
        raise CameraFileError(f"{source}: {name!r} must hold {count} numbers, got {len(found)}")
    if not np.isfinite(found).all():
        raise CameraFileError(f"{source}: {name!r} must hold finite numbers, got {found}")
    return np.array(found)
