"""Depth in a `sensor_msgs/CompressedImage`: image_transport's `compressedDepth` (PNG and RVL) and 16-bit PNG of `compressed`.

`compressedDepth` begins with a header of 12 bytes (int32 format, float32 a, float32 b). A 16UC1 image is stored unchanged. A
32FC1 image is stored as 16-bit inverse depth: z = a / (stored - b), where 0 means no reading.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from molmo_point.images import MAX_PIXELS
from molmo_robot.errors import MessageError
from molmo_robot.ros_types import CompressedImageMessage

_HEADER = struct.Struct("<iff")
_SIZE = struct.Struct("<II")
_NIBBLE_BITS = 3

Stored = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class DepthFormat:
    """What `CompressedImage.format` says, e.g. `32FC1; compressedDepth rvl`.

    Attributes:
        encoding: Of the image before it was compressed: 16UC1, mono16 or 32FC1.
        quantized: Whether the bytes begin with the header of `compressedDepth`.
        rvl: Whether they are RVL rather than PNG.
    """

    encoding: str
    quantized: bool
    rvl: bool

    @classmethod
    def of(cls, text: str) -> DepthFormat:
        """Read a format string; without one, the bytes are a PNG of 16UC1."""
        encoding, _, rest = text.partition(";")
        words = rest.lower().split()
        return cls(encoding.strip() or "16UC1", "compresseddepth" in words, "rvl" in words)


def depth_array(message: CompressedImageMessage, topic: str) -> npt.NDArray[Any]:
    """Decode a compressed depth image.

    Args:
        message: The `sensor_msgs/CompressedImage`.
        topic: Where it came from, for the error message.

    Returns:
        (H, W) uint16 in the sender's units (REP 118: millimetres), or float32 in metres with NaN for no reading.

    Raises:
        MessageError: Not depth, truncated, or compressed with loss.
    """
    form = DepthFormat.of(str(message.format))
    data = bytes(np.asarray(message.data, np.uint8))
    floating = form.encoding.lower() == "32fc1"
    if not floating and form.encoding.lower() not in ("16uc1", "mono16"):
        raise MessageError(
            f"{topic}: expected compressed depth of 16UC1 or 32FC1, got the format {str(message.format)!r}"
        )
    if not form.quantized:
        return _image(data, topic, "F" if floating else "I;16")
    if len(data) <= _HEADER.size:
        raise MessageError(
            f"{topic}: expected compressedDepth with a header of {_HEADER.size} bytes and data, got {len(data)} bytes"
        )
    _, a, b = _HEADER.unpack_from(data)
    body = data[_HEADER.size :]
    stored = _rvl(body, topic) if form.rvl else _image(body, topic, "I;16")
    return _metres(stored, a, b) if floating else stored


def _metres(stored: Stored, a: float, b: float) -> npt.NDArray[np.float32]:
    with np.errstate(divide="ignore", invalid="ignore"):
        metres = np.float32(a) / (stored.astype(np.float32) - np.float32(b))
    return np.where(stored == 0, np.float32(np.nan), metres).astype(np.float32)


def _image(data: bytes, topic: str, mode: str) -> npt.NDArray[Any]:
    """Decode a PNG or TIFF that holds 16-bit integers (mode I;16) or 32-bit floats (mode F)."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "TIFF", "JPEG")) as image:
            if image.width * image.height > MAX_PIXELS:
                raise MessageError(
                    f"{topic}: expected at most {MAX_PIXELS:,} pixels, got {image.width}x{image.height}"
                )
            if image.format == "JPEG":
                raise MessageError(
                    f"{topic}: expected depth without loss, got a JPEG: record compressedDepth, or set the topic's "
                    "format to png"
                )
            if image.mode.partition(";")[0] != mode.partition(";")[0]:
                raise MessageError(
                    f"{topic}: expected an image of one channel with {'32-bit floats' if mode == 'F' else '16 bits'}, "
                    f"got the mode {image.mode!r}"
                )
            return np.asarray(image).astype(np.float32 if mode == "F" else np.uint16)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError) as error:
        raise MessageError(f"{topic}: expected depth as a PNG image: {error}") from error


def _rvl(data: bytes, topic: str) -> Stored:
    """Decode RVL (Wilson 2017): runs of zeros and of readings, both as numbers of 3-bit groups, readings as differences."""
    if len(data) < _SIZE.size:
        raise MessageError(
            f"{topic}: expected RVL with the size in 8 bytes, got {len(data)} bytes"
        )
    width, height = _SIZE.unpack_from(data)
    if not 0 < width * height <= MAX_PIXELS:
        raise MessageError(f"{topic}: expected 1 to {MAX_PIXELS:,} pixels, got {width}x{height}")
    numbers = _numbers(data[_SIZE.size :])
    places, sources, counts = [], [], []
    at = pixel = 0
    while pixel < width * height:
        if at + 1 >= len(numbers):
            raise _cut(topic, width, height)
        zeros, readings = int(numbers[at]), int(numbers[at + 1])
        pixel, at = pixel + zeros, at + 2
        places.append(pixel)
        sources.append(at)
        counts.append(readings)
        pixel, at = pixel + readings, at + readings
    if at > len(numbers) or pixel > width * height:
        raise _cut(topic, width, height)
    runs = np.array(counts)
    within = np.arange(runs.sum()) - np.repeat(np.cumsum(runs) - runs, runs)
    coded = numbers[np.repeat(sources, runs) + within]
    differences = (coded >> 1) ^ -(coded & 1)
    image = np.zeros(width * height, np.uint16)
    # The sender counts in 16 bits, around the end and back to zero.
    image[np.repeat(places, runs) + within] = np.cumsum(differences) & 0xFFFF
    return image.reshape(height, width)


def _numbers(data: bytes) -> npt.NDArray[np.int64]:
    """The variable-length numbers of a stream of 32-bit words, four bits at a time from the top: 3 bits and one for "goes on"."""
    words = np.frombuffer(data[: len(data) // 4 * 4], "<u4")
    nibbles = (words[:, None] >> np.arange(28, -1, -4, dtype=np.uint32)) & 15
    nibbles = nibbles.reshape(-1).astype(np.int64)
    last = np.flatnonzero(nibbles < 8)
    if not len(last):
        return np.empty(0, np.int64)
    starts = np.concatenate([[0], last[:-1] + 1])
    lengths = last - starts + 1
    place = np.arange(last[-1] + 1) - np.repeat(starts, lengths)
    parts = (nibbles[: last[-1] + 1] & 7) << np.minimum(_NIBBLE_BITS * place, 48)
    return np.asarray(np.add.reduceat(parts, starts))


def _cut(topic: str, width: int, height: int) -> MessageError:
    return MessageError(f"{topic}: the RVL data end before, or go beyond, {width}x{height} pixels")
