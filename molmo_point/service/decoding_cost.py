"""What decoding the images of a request costs, known from their first bytes: what costs too much is refused before it waits.

Of one image its pixels, and the number of passes that a JPEG makes over them; of several also their number, since each becomes
crops of a fixed size, however small it is.
"""

from __future__ import annotations

from molmo_point.errors import ImageError
from molmo_point.service.file_structure import check_png, jpeg_scans
from molmo_point.service.settings import Settings
from molmo_point.wire import ImagePayload, JoinedPayload, Payload, check_image_payload
from molmo_point.wording import counted

QUICK_PIXELS = 2_500_000
"""Up to a Full HD frame: 15 ms for a photograph, 65 ms for noise as lossless WebP."""

QUICK_FILES = frozenset({"jpeg", "png", "webp"})
"""Formats whose size is known without a decoder."""

MAX_SCANS = 64
"""Scans of one JPEG. Cameras write 1, progressive encoders about 10."""

MAX_WORK = 16
"""Scans of a JPEG times its pixels, in units of the largest image: 5 s of one core at 50 megapixels."""

FRAME_COST = 378 * 378 * 4
"""Pixels of three bytes in a video's frame as the model takes it: a crop of 378 x 378 float32 pixels."""

IMAGE_COST = 9 * FRAME_COST
"""The same of one of several images, which is cut into nine crops at most."""


def check_payload(payload: Payload, settings: Settings) -> tuple[int, bool]:
    """Check what came with a request, without decoding it.

    Returns:
        `Job.decode_pixels` and `Job.quick`.

    Raises:
        ImageError: An image is unreadable or too large, or they are too many or too large together.
        UsageError: The times of a video do not ascend.
    """
    if not isinstance(payload, JoinedPayload):
        size = check_image_payload(payload, settings.max_pixels)
        return decode_pixels(payload, size, settings.max_pixels)
    _check_number(payload, settings)
    payload.image()  # raises where its times do not ascend
    pixels = work = 0
    # What one image may take, all of them together may.
    share = settings.max_pixels // len(payload.parts)
    for number, part in enumerate(payload.parts):
        try:
            width, height = check_image_payload(part, settings.max_pixels)
            work += decode_pixels(part, (width, height), share)[0]
        except ImageError as error:
            raise ImageError(f"image {number}: {error}") from None
        pixels += width * height
    if pixels > settings.max_pixels:
        raise ImageError(
            f"{len(payload.parts)} images have {pixels:,} pixels together, this server takes {settings.max_pixels:,}: "
            "scale them down first"
        )
    crops = len(payload.parts) * (FRAME_COST if payload.times_s else IMAGE_COST)
    if crops > settings.decode_ahead:
        raise ImageError(
            f"cutting {len(payload.parts)} images takes {3 * crops:,} bytes, this server has {3 * settings.decode_ahead:,} for "
            "that: use fewer"
        )
    return max(crops, work), False


def _check_number(payload: JoinedPayload, settings: Settings) -> None:
    frames = bool(payload.times_s)
    most = settings.max_frames if frames else settings.max_images
    if len(payload.parts) > most:
        given = counted(len(payload.parts), "frame" if frames else "image")
        raise ImageError(f"expected at most {most} in one question, got {given}: use fewer")


def decode_pixels(
    image_payload: ImagePayload, size: tuple[int, int] | None, max_pixels: int
) -> tuple[int, bool]:
    """Return how many pixels have to be decoded, 0 for raw ones, and whether that takes little time.

    Args:
        image_payload: As it came.
        size: (width, height) as its first bytes say, None where they do not.
        max_pixels: Largest image.

    Raises:
        ImageError: It takes more work than any camera's image, or states two sizes.
    """
    encoding = image_payload.header.encoding
    if encoding == "raw":
        return 0, True
    if size is None or encoding not in QUICK_FILES:
        return max_pixels, False
    pixels = size[0] * size[1]
    scans = 1
    if encoding == "jpeg":
        most = min(MAX_SCANS, MAX_WORK * max_pixels // pixels)
        scans = jpeg_scans(image_payload.data, most)
        if scans > most:
            raise ImageError(
                f"the JPEG has more than {most} scans over its {pixels:,} pixels: save it as a baseline JPEG"
            )
    elif encoding == "png":
        check_png(image_payload.data)
    return pixels, pixels * scans <= QUICK_PIXELS
