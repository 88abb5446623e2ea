"""`sensor_msgs/CompressedImage` to arrays, by its bytes and by what its `format` says about them.

image_transport writes `ENCODING; CODEC compressed STORED`, e.g. `rgb8; jpeg compressed bgr8`: the camera's encoding, and the one
of the array that was handed to OpenCV's encoder, which takes every array of three channels for BGR.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from molmo_point.errors import ImageError
from molmo_point.images import MAX_PIXELS, Array, load_image
from molmo_robot.contrast import Grey16, grey8, repeated
from molmo_robot.errors import MessageError
from molmo_robot.ros_types import CompressedImageMessage

DEBAYER = "run image_proc's debayer node before"


@dataclass(frozen=True)
class ImageFormat:
    """What `CompressedImage.format` says.

    Attributes:
        encoding: Of the camera's image; empty where a driver names the codec only (`jpeg`).
        codec: `jpeg`, `png`, `compresseddepth`, ...
        stored: Encoding of the array that was compressed; empty where it is the camera's.
    """

    encoding: str
    codec: str
    stored: str

    @classmethod
    def of(cls, text: str) -> ImageFormat:
        """Read a format string, in any case and spacing."""
        head, separator, rest = text.lower().partition(";")
        if not separator:
            return cls("", head.strip(), "")
        words = rest.split()
        stored = words[-1] if len(words) > 1 and words[-1] != "compressed" else ""
        return cls(head.strip(), words[0] if words else "", stored)

    @property
    def mosaic(self) -> bool:
        """Whether its one channel still holds the Bayer pattern."""
        return (self.stored or self.encoding).startswith("bayer")

    @property
    def swapped(self) -> bool:
        """Whether RGB was handed to an encoder that takes BGR: red and blue are exchanged in the file."""
        return self.stored.startswith("rgb")


def rgb_of_compressed(
    message: CompressedImageMessage, topic: str, contrast: str = "none"
) -> Array:
    """Decode a `sensor_msgs/CompressedImage` (JPEG or PNG) to (H, W, 3) uint8 RGB.

    Args:
        message: The image.
        topic: Where it came from, for the error message.
        contrast: How 16 bits of grey become 8, see `contrast.grey8`.

    Raises:
        MessageError: The bytes are not an image, truncated, or too large; or its format says that it is depth or a Bayer mosaic.
    """
    form = ImageFormat.of(str(getattr(message, "format", "")))
    if form.codec.startswith("compresseddepth"):
        raise MessageError(
            f"{topic}: expected an image, got depth ({str(message.format)!r}): name it as depth_topic"
        )
    data = bytes(np.asarray(message.data, np.uint8))
    deep = _grey16(data)
    if form.mosaic and (deep is not None or _channels(data) == 1):
        raise MessageError(
            f"{topic}: expected an image in colour or grey, got a Bayer mosaic ({str(message.format)!r}): {DEBAYER} it is "
            "compressed"
        )
    if deep is not None:
        return repeated(grey8(deep, contrast))
    try:
        # exif=False: a driver's camera_info describes the pixels as they are stored.
        rgb = load_image(data, exif=False)
    except ImageError as error:
        raise MessageError(f"{topic}: expected a JPEG or PNG image: {error}") from error
    return np.ascontiguousarray(rgb[..., ::-1]) if form.swapped else rgb


def _grey16(data: bytes) -> Grey16 | None:
    """A PNG with one channel of 16 bits, else None; `load_image` reports what is broken."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if not image.mode.startswith("I") or image.width * image.height > MAX_PIXELS:
                return None
            return np.asarray(image).astype(np.uint16)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError):
        return None


def _channels(data: bytes) -> int:
    """How many channels an image has; 0 where it cannot be read."""
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
            return len(image.getbands())
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError):
        return 0
