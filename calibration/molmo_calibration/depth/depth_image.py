"""Depth images as they come from drivers, turned into metres with NaN where there is none.

REP 118: 32-bit float images are metres, 16-bit ones millimetres with 0 for "no reading". NaN,
infinity, 0 and negative readings all mean none, and none is NaN from here to the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from molmo_calibration.arrays import ArrayLike, FloatArray, as_positive
from molmo_calibration.errors import InvalidArgumentError

MILLIMETRE = 1e-3

# mono16 is how rosbag and image_transport name the same 16 bits.
_ENCODINGS = {"16uc1": np.uint16, "mono16": np.uint16, "32fc1": np.float32, "64fc1": np.float64}

# Parts of the names of encodings that show colour or grey, not depth.
_COLOUR = ("rgb", "bgr", "yuv", "yuy", "uyvy", "bayer", "nv12", "nv21", "mono8", "8uc")


@dataclass(frozen=True, eq=False)
class DepthImage:
    """Depth of every pixel.

    Args:
        metres: (H, W) float; NaN where there is no reading.
        radial: False if depth is measured along the optical axis (z), True if along the ray.
    """

    metres: FloatArray
    radial: bool = False

    def __post_init__(self) -> None:
        array = np.asarray(self.metres)
        if array.ndim != 2 or array.size == 0:
            raise InvalidArgumentError(
                f"a depth image must be (height, width) and not empty, got shape {array.shape}"
            )
        if not np.issubdtype(array.dtype, np.floating):
            raise InvalidArgumentError(
                f"DepthImage takes float metres, got {array.dtype}; "
                "use depth_from_array, which knows the units of integer images"
            )
        with np.errstate(invalid="ignore"):
            missing = ~((array > 0) & np.isfinite(array))
        if missing.any():
            array = np.where(missing, np.nan, array)
        object.__setattr__(self, "metres", array)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.metres.shape[1], self.metres.shape[0]


def depth_from_array(
    array: ArrayLike, metres_per_unit: float | None = None, radial: bool = False
) -> DepthImage:
    """A depth image from an array.

    Args:
        array: (H, W) uint16 in millimetres, or float in metres.
        metres_per_unit: for drivers that do otherwise, e.g. 0.0001 for 0.1 mm steps.
        radial: whether readings are along the ray.

    Raises:
        InvalidArgumentError: another dtype without `metres_per_unit`, or not two-dimensional.
    """
    values = np.asarray(array)
    if metres_per_unit is not None:
        unit = as_positive(metres_per_unit, "metres_per_unit")
    elif values.dtype == np.uint16:
        unit = MILLIMETRE
    elif np.issubdtype(values.dtype, np.floating):
        unit = 1.0
    else:
        raise InvalidArgumentError(
            f"a depth array must be uint16 millimetres or float metres, got {values.dtype}; "
            "pass metres_per_unit= if it holds something else"
        )
    kind = np.float32 if values.dtype in (np.float32, np.float16) else np.float64
    return DepthImage(values.astype(kind) * kind(unit), radial)


def depth_from_bytes(
    data: bytes | bytearray | memoryview | ArrayLike,
    width: int,
    height: int,
    encoding: str,
    step: int | None = None,
    big_endian: bool = False,
    radial: bool = False,
) -> DepthImage:
    """A depth image from the bytes of a message.

    Args:
        data: at least `step` * height bytes.
        width: in pixels.
        height: in pixels.
        encoding: "16UC1", "mono16", "32FC1" or "64FC1".
        step: bytes per row, padding included; width times the size of a pixel if left out.
        big_endian: byte order of the sender.
        radial: whether readings are along the ray.

    Raises:
        InvalidArgumentError: unknown encoding, too short rows or too few bytes.
    """
    kind = _ENCODINGS.get(str(encoding).lower())
    if kind is None:
        colour = any(word in str(encoding).lower() for word in _COLOUR)
        raise InvalidArgumentError(
            f"depth encoding must be 16UC1, mono16, 32FC1 or 64FC1, got {encoding!r}"
            + ("; is this the colour image?" if colour else "")
        )
    item = np.dtype(kind).newbyteorder(">" if big_endian else "<")
    row = width * item.itemsize
    step = row if step is None else int(step)
    raw = np.frombuffer(_bytes(data), dtype=np.uint8)
    if width < 1 or height < 1 or step < row or raw.size < step * (height - 1) + row:
        raise InvalidArgumentError(
            f"a {width} x {height} image of {encoding} needs {height} rows of at least {row} "
            f"bytes, got step {step} and {raw.size} bytes"
        )
    # The last row may come without its padding.
    padded = np.zeros(step * height, dtype=np.uint8)
    used = min(raw.size, padded.size)
    padded[:used] = raw[:used]
    rows = np.ascontiguousarray(padded.reshape(height, step)[:, :row])
    return depth_from_array(rows.view(item).astype(item.newbyteorder("=")), radial=radial)


def depth_from_message(message: Any, radial: bool = False) -> DepthImage:
    """A depth image from anything with the fields of `sensor_msgs/Image`.

    Raises:
        InvalidArgumentError: a field is missing, or the contents do not fit together.
    """
    names = ("width", "height", "encoding", "step", "is_bigendian", "data")
    missing = [name for name in names if not hasattr(message, name)]
    if missing:
        raise InvalidArgumentError(
            f"a depth message must have {', '.join(names)}; {type(message).__name__} "
            f"lacks {', '.join(missing)}"
        )
    return depth_from_bytes(
        message.data,
        int(message.width),
        int(message.height),
        message.encoding,
        int(message.step),
        bool(message.is_bigendian),
        radial,
    )


def _bytes(data: Any) -> Any:
    """Something with the buffer protocol; rosbags gives arrays, rclpy gives array.array."""
    if isinstance(data, (bytes, bytearray, memoryview)):
        return data
    return np.ascontiguousarray(data, dtype=np.uint8).data
