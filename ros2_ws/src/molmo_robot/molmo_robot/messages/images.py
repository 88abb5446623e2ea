"""`sensor_msgs/Image` to arrays, without cv_bridge and without a loop over pixels.

Duck-typed: rclpy messages, rosbags dataclasses and test doubles have the same field names.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from molmo_point.images import MAX_PIXELS, Array
from molmo_robot.contrast import grey8, repeated
from molmo_robot.errors import MessageError
from molmo_robot.messages.compressed_images import DEBAYER
from molmo_robot.ros_types import ByteData, ImageMessage

Bytes = npt.NDArray[np.uint8]

# encoding: (bytes per pixel, channel order into RGB; None for a grey that is repeated)
_PACKED: dict[str, tuple[int, tuple[int, int, int]]] = {
    "rgb8": (3, (0, 1, 2)),
    "bgr8": (3, (2, 1, 0)),
    "8UC3": (3, (2, 1, 0)),
    "rgba8": (4, (0, 1, 2)),
    "bgra8": (4, (2, 1, 0)),
    "8UC4": (4, (2, 1, 0)),
    "mono8": (1, (0, 0, 0)),
    "8UC1": (1, (0, 0, 0)),
}
# Of 16 bits each; what 8UC3 is to bgr8, 16UC3 is to bgr16.
_DEEP: dict[str, tuple[int, tuple[int, int, int]]] = {
    "rgb16": (3, (0, 1, 2)),
    "bgr16": (3, (2, 1, 0)),
    "16UC3": (3, (2, 1, 0)),
    "rgba16": (4, (0, 1, 2)),
    "bgra16": (4, (2, 1, 0)),
    "16UC4": (4, (2, 1, 0)),
}
_YUV = {"yuv422_yuy2": 0, "yuyv": 0, "yuv422": 1, "uyvy": 1}
_GREY16 = ("mono16", "16UC1")
# Where blue stands in the pairs of chroma that follow the plane of luma.
_PLANES = {"nv12": 0, "nv21": 1}
ENCODINGS = (*_PACKED, *_YUV, *_GREY16, *_DEEP, *_PLANES)

# Drivers disagree about capitals.
_NAMES = {name.lower(): name for name in ENCODINGS}


def rgb_of(message: ImageMessage, topic: str, contrast: str = "none") -> Array:
    """Decode a `sensor_msgs/Image`.

    Args:
        message: The image; `step` may be wider than a row (padding is skipped).
        topic: Where it came from, for the error message.
        contrast: How 16 bits of grey become 8, see `contrast.grey8`.

    Returns:
        (H, W, 3) uint8 RGB. Shares memory with the message for `rgb8` without padding, so do not write into it.

    Raises:
        MessageError: Unknown encoding, or fewer bytes than its size promises; names topic, expected and found.
    """
    encoding = _NAMES.get(str(message.encoding).lower(), str(message.encoding))
    if encoding in _PACKED:
        width, order = _PACKED[encoding]
        rows = rows_of(message, width, topic).reshape(message.height, message.width, width)
        return np.ascontiguousarray(
            rows if order == (0, 1, 2) and width == 3 else rows[..., order]
        )
    if encoding in _YUV:
        return _from_yuv422(rows_of(message, 2, topic), _YUV[encoding])
    if encoding in _DEEP:
        width, order = _DEEP[encoding]
        deep = rows_of(message, 2 * width, topic).view(">u2" if message.is_bigendian else "<u2")
        pixels = deep.reshape(message.height, message.width, width)[..., order]
        return np.ascontiguousarray((pixels >> 8).astype(np.uint8))
    if encoding in _PLANES:
        return _from_planes(message, topic, _PLANES[encoding])
    if encoding in _GREY16:
        grey = rows_of(message, 2, topic).view(">u2" if message.is_bigendian else "<u2")
        return repeated(grey8(grey, contrast))
    raise MessageError(
        f"{topic}: expected an encoding out of {', '.join(ENCODINGS)}, got {encoding!r}"
        + (f"; {DEBAYER}" if encoding.startswith("bayer") else "")
    )


def rows_of(message: ImageMessage, pixel_bytes: int, topic: str) -> Bytes:
    """Return an image's bytes without row padding, (height, width * pixel_bytes) uint8.

    Raises:
        MessageError: An empty image, a step shorter than a row, or too few bytes.
    """
    height, width, step = int(message.height), int(message.width), int(message.step)
    needed = width * pixel_bytes
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise MessageError(
            f"{topic}: expected 1 to {MAX_PIXELS:,} pixels, got {width}x{height} ({message.encoding})"
        )
    data = _bytes_of(message.data)
    if step < needed or data.size < step * (height - 1) + needed:
        raise MessageError(
            f"{topic}: {width}x{height} {message.encoding} needs rows of {needed} bytes and "
            f"{needed * height} bytes in all, got a step of {step} and {data.size} bytes"
        )
    if step == needed:
        return data[: needed * height].reshape(height, needed)
    if data.size < step * height:
        data = np.concatenate([data, np.zeros(step * height - data.size, np.uint8)])
    return np.ascontiguousarray(data[: step * height].reshape(height, step)[:, :needed])


def _bytes_of(data: ByteData) -> Bytes:
    # array.array('B') (rclpy), bytes (some doubles) and ndarray (rosbags) all give a buffer: no copy.
    return data if isinstance(data, np.ndarray) else np.frombuffer(data, np.uint8)


def _from_yuv422(rows: Bytes, luma_at: int) -> Array:
    """4:2:2: two pixels of a row share their chroma."""
    height, width = rows.shape[0], rows.shape[1] // 2
    if width % 2:
        raise MessageError(f"4:2:2 images have an even width, got {width}")
    quads = rows.reshape(height, width // 2, 4)
    luma = quads[..., luma_at::2].reshape(height, width)
    blue, red = (np.repeat(quads[..., (1 - luma_at) + shift], 2, axis=1) for shift in (0, 2))
    return _from_yuv(luma, blue, red)


def _from_planes(message: ImageMessage, topic: str, blue_at: int) -> Array:
    """4:2:0: a plane of luma, then one of pairs of chroma that two by two pixels share."""
    height, width, step = int(message.height), int(message.width), int(message.step)
    if height % 2 or width % 2:
        raise MessageError(f"{topic}: 4:2:0 images have even sides, got {width}x{height}")
    luma = rows_of(message, 1, topic)
    data = _bytes_of(message.data)[step * height :]
    if data.size < step * (height // 2 - 1) + width:
        raise MessageError(
            f"{topic}: {width}x{height} {message.encoding} needs {step * height * 3 // 2} bytes, the "
            f"chroma after the luma, got {step * height + data.size}"
        )
    chroma = np.zeros(step * height // 2, np.uint8)
    chroma[: data.size] = data[: chroma.size]
    pairs = chroma.reshape(height // 2, step)[:, :width].reshape(height // 2, width // 2, 2)
    blue, red = (
        pairs[..., at].repeat(2, axis=0).repeat(2, axis=1) for at in (blue_at, 1 - blue_at)
    )
    return _from_yuv(luma, blue, red)


def _from_yuv(luma_plane: Bytes, blue_plane: Bytes, red_plane: Bytes) -> Array:
    """ITU-R BT.601, limited range, as OpenCV converts it; three planes (H, W)."""
    luma = np.maximum(luma_plane.astype(np.float32) - 16.0, 0.0) * 1.164
    blue, red = blue_plane.astype(np.float32) - 128.0, red_plane.astype(np.float32) - 128.0
    rgb = np.stack(
        [luma + 1.596 * red, luma - 0.813 * red - 0.391 * blue, luma + 2.018 * blue], axis=-1
    )
    return np.clip(np.rint(rgb), 0, 255).astype(np.uint8)
