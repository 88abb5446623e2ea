"""An image as it is sent to a foreign model: upright pixels, of the size whose pixels the model names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from PIL import Image

from molmo_point.image_like import ImageLike
from molmo_point.images import load_image
from molmo_point.wire import make_image_payload

Encoding = Literal["png", "jpeg"]


class SentImage(NamedTuple):
    """A file to be sent.

    Attributes:
        data: The bytes of the file.
        encoding: Its format.
        size: (width, height) of the original image after EXIF rotation.
        sent_size: Of the file's image.
    """

    data: bytes
    encoding: Encoding
    size: tuple[int, int]
    sent_size: tuple[int, int]


def encode_image(
    image: ImageLike,
    encoding: Encoding,
    resized: Callable[[tuple[int, int]], tuple[int, int]] | None,
) -> SentImage:
    """Return the file to be sent: without metadata, so that no server turns or scales it by them.

    Args:
        encoding: png keeps every pixel; jpeg (quality 95) is a tenth of the size.
        resized: From the image's size to the size that is sent; None to keep it.

    Raises:
        ImageError: As `load_image`.
    """
    upright = Image.fromarray(load_image(image))
    size = upright.size
    sent_size = size if resized is None else resized(size)
    if sent_size != size:
        upright = upright.resize(sent_size, Image.Resampling.BICUBIC)
    return SentImage(bytes(make_image_payload(upright, encoding).data), encoding, size, sent_size)
