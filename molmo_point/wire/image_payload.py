"""An image on its way: the bytes as they are sent, and the header that says how to read them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from PIL import Image

from molmo_point.errors import ImageError
from molmo_point.image_like import ImageLike
from molmo_point.images import FileFormat, decode_file, file_bytes, load_image, sniff
from molmo_point.wire.codec import Buffer
from molmo_point.wire.image_header import stored_size
from molmo_point.wire.messages import ImageHeader

ArrayEncoding = Literal["raw", "png", "jpeg"]

SENT_AS_FILES: frozenset[FileFormat] = frozenset({"jpeg", "png", "webp"})
"""Files that every server of this protocol version takes; the other formats came later, so they are read on this side."""


@dataclass(frozen=True, eq=False)
class ImagePayload:
    """An image ready to be sent.

    Attributes:
        header: How to read `data`.
        data: A whole file, or rows of pixels.
    """

    header: ImageHeader
    data: Buffer

    @property
    def parts(self) -> tuple[ImagePayload, ...]:
        """The images in it: itself."""
        return (self,)

    def fields(self) -> dict[str, Any]:
        """Return the fields of a `Request` that describe it."""
        return {"image": self.header}

    def image(self) -> ImageLike:
        """Return what `load_image` and every `Pointer` take, not copied: file bytes, or an (H, W, 3) or (H, W) uint8 array."""
        shape = self.header.shape
        if shape is None:
            # A view of the socket's memory where it came over one; `load_image` reads those like bytes.
            return cast("bytes", self.data)
        array: np.ndarray[Any, np.dtype[np.uint8]] = np.frombuffer(self.data, np.uint8)
        array = array.reshape(shape)
        return array[..., ::-1] if self.header.channels == "bgr" and array.ndim == 3 else array


def make_image_payload(
    image: ImageLike, arrays: ArrayEncoding = "raw", quality: int = 95
) -> ImagePayload:
    """Make an image ready to be sent.

    JPEG, PNG and WebP files go as they are. Everything else is read here and sent as `arrays` says: raw and png keep every pixel,
    jpeg is a tenth of the size and may move an answer by a hair.

    Args:
        image: What `load_image` takes.
        arrays: Encoding of whatever is not such a file.
        quality: Of the JPEG, 1-100.

    Raises:
        ImageError: As in `load_image`; the inside of a file that goes as it is is checked by the server.
    """
    if not isinstance(image, (Image.Image, np.ndarray)):
        name, data = file_bytes(image)
        encoding = sniff(data)
        if encoding is not None and encoding in SENT_AS_FILES:
            return ImagePayload(ImageHeader(encoding=encoding), data)
        array = decode_file(data, name)
    else:
        array = load_image(image)
    if arrays == "raw":
        height, width = array.shape[:2]
        header = ImageHeader(encoding="raw", shape=(height, width, 3), dtype="uint8")
        return ImagePayload(header, np.ascontiguousarray(array).data.cast("B"))
    buffer = io.BytesIO()
    options = {"quality": quality, "subsampling": 0} if arrays == "jpeg" else {"compress_level": 1}
    Image.fromarray(array).save(buffer, format=arrays.upper(), **options)
    return ImagePayload(ImageHeader(encoding=arrays), buffer.getvalue())


def check_image_payload(image_payload: ImagePayload, max_pixels: int) -> tuple[int, int]:
    """Check a received image without decoding it.

    Returns:
        (width, height) as stored.

    Raises:
        ImageError: Another format than it says, unreadable, larger than `max_pixels`, or of another size than it says.
    """
    header = image_payload.header
    if header.shape is not None:
        size = (header.shape[1], header.shape[0])
    else:
        found = sniff(image_payload.data)
        if found is None or found != header.encoding:
            raise ImageError(
                f"the image is said to be {header.encoding}, but begins like {found or 'something else'}"
            )
        size = stored_size(image_payload.data, found)
    if size[0] * size[1] > max_pixels:
        raise ImageError(
            f"the image has {size[0]}x{size[1]} = {size[0] * size[1]:,} pixels, this server takes {max_pixels:,}: "
            "scale it down first"
        )
    if header.size is not None and header.size != size:
        raise ImageError(f"the image is said to be {header.size}, but is {size} pixels")
    return size
