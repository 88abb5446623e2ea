"""Entries of a file or message, read by name; what is missing or unreadable is an error that names it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from molmo_calibration.arrays import FloatArray
from molmo_calibration.errors import CameraFileError

_SHOWN = 60


def entry(data: Any, key: str, source: str) -> Any:
    """A required entry of a mapping.

    Args:
        data: what should be a mapping.
        key: the name.
        source: file, and where in it, for the message.

    Raises:
        CameraFileError: not there, or no mapping; the message lists what is there.
    """
    if not isinstance(data, Mapping):
        raise CameraFileError(
            f"{source} must hold keys and values with the key {key!r}, got {_short(data)}"
        )
    if key not in data:
        raise CameraFileError(
            f"{source} must have the key {key!r}, it has: {', '.join(map(str, data)) or 'nothing'}"
        )
    return data[key]


def number_entry(data: Any, key: str, source: str) -> float:
    """A required finite number.

    Raises:
        CameraFileError: missing, or something else.
    """
    value = entry(data, key, source)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if isinstance(value, bool) or not np.isfinite(number):
        raise CameraFileError(f"{source}: {key!r} must be a finite number, got {_short(value)}")
    return number


def whole_entry(data: Any, key: str, source: str) -> int:
    """A required whole number.

    Raises:
        CameraFileError: missing, or something else.
    """
    number = number_entry(data, key, source)
    if number != int(number):
        raise CameraFileError(f"{source}: {key!r} must be a whole number, got {number}")
    return int(number)


def list_entry(data: Any, key: str, source: str) -> list[Any]:
    """A required list.

    Raises:
        CameraFileError: missing, or something else.
    """
    value = entry(data, key, source)
    if not isinstance(value, list):
        raise CameraFileError(f"{source}: {key!r} must be a list, got {_short(value)}")
    return value


def matrix_entry(data: Any, key: str, source: str, shape: tuple[int, int]) -> FloatArray:
    """A required matrix: nested lists, a flat list, or a mapping with rows, cols and data.

    Args:
        data: a mapping.
        key: the name.
        source: for the message.
        shape: (rows, columns); -1 for any number of columns.

    Raises:
        CameraFileError: missing, not numbers, or of another size.
    """
    value = entry(data, key, source)
    if isinstance(value, Mapping):
        value = entry(value, "data", f"{source}, {key}")
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise CameraFileError(
            f"{source}: {key!r} must hold numbers, got {_short(value)}"
        ) from error
    if -1 not in shape and array.size != shape[0] * shape[1]:
        raise CameraFileError(
            f"{source}: {key!r} must hold {shape[0]} x {shape[1]} numbers, got {array.size}"
        )
    return array.reshape(shape)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
