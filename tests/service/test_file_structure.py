"""Images that say one thing and decode to another, or that cost far more than they weigh."""

from __future__ import annotations

import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from molmo_point.errors import ImageError
from molmo_point.service.decoding_cost import decode_pixels
from molmo_point.service.file_structure import check_png, jpeg_scans
from molmo_point.wire import ImageHeader, ImagePayload, check_image_payload


def jpeg(width: int = 64, height: int = 48, **options: object) -> bytes:
    array = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "JPEG", **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def repeated_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan is there `count` times more."""
    data = jpeg(progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * count + b"\xff\xd9"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def ihdr(width: int, height: int) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


def test_scans_are_counted() -> None:
    assert jpeg_scans(jpeg(), 99) == 1
    plain = jpeg_scans(jpeg(progressive=True), 99)
    assert 2 <= plain <= 12
    assert jpeg_scans(repeated_scans(30), 99) == plain + 30
    assert jpeg_scans(repeated_scans(300), 50) == 51  # more than enough
    assert (
        jpeg_scans(jpeg(progressive=True) + b"\xff\xda" * 500, 99) == plain
    )  # behind the end, as of motion photos


def test_a_size_that_is_stated_twice_is_refused() -> None:
    good = jpeg()
    frame = good.index(b"\xff\xc0")
    (length,) = struct.unpack_from(">H", good, frame + 2)
    segment = good[frame : frame + 2 + length]
    with pytest.raises(ImageError, match="twice"):
        jpeg_scans(good[:frame] + segment + good[frame:], 99)
    # Markers that one decoder skips by a length and another one does not.
    for marker in (b"\xff\xc8", b"\xff\xde", b"\xff\x01", b"\xff\xf0"):
        with pytest.raises(ImageError, match="before the pixels"):
            jpeg_scans(good[:2] + marker + b"\x00\x04ab" + good[2:], 99)
    signature = b"\x89PNG\r\n\x1a\n"
    check_png(signature + ihdr(8, 6) + chunk(b"IDAT", b"") + ihdr(9, 9))
    with pytest.raises(ImageError, match="twice"):
        check_png(signature + ihdr(8, 6) + chunk(b"tEXt", b"a\0b") + ihdr(9000, 9000))


@pytest.mark.parametrize("cut", [3, 20, 200])
def test_a_damaged_file_is_an_error_of_the_image(cut: int) -> None:
    with pytest.raises(ImageError):
        jpeg_scans(jpeg()[:cut], 99)


SIZE = struct.pack(">HBHHB", 11, 8, 6, 8, 1) + b"\1\x11\0"
COMMENT = b"\xff\xfe\0\2"


def box(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", 8 + len(data)) + kind + data


LONG = {
    "jpeg junk": (b"\xff\xd8\xff" + bytes(4_000_000), "jpeg"),
    "jpeg padding": (b"\xff\xd8" + b"\xff" * 4_000_000, "jpeg"),
    "jpeg segments": (b"\xff\xd8" + COMMENT * 1_000_000, "jpeg"),
    "jpeg restarts": (b"\xff\xd8" + b"\xff\xd0" * 2_000_000, "jpeg"),
    "jpeg segments before pixels": (b"\xff\xd8\xff\xc0" + SIZE + COMMENT * 1_000_000, "jpeg"),
    "jpeg segments in pixels": (
        b"\xff\xd8\xff\xc2" + SIZE + b"\xff\xda\0\2" + COMMENT * 1_000_000,
        "jpeg",
    ),
    "png chunks": (b"\x89PNG\r\n\x1a\n" + ihdr(8, 6) + chunk(b"tEXt", b"") * 300_000, "png"),
    "png chunks behind": (
        b"\x89PNG\r\n\x1a\n" + ihdr(8, 6) + chunk(b"IDAT", b"") + chunk(b"tEXt", b"") * 300_000,
        "png",
    ),
    "avif boxes": (
        box(b"ftyp", b"avif\0\0\0\0")
        + box(b"meta", bytes(4) + box(b"iprp", box(b"ipco", box(b"free", b"") * 900)) * 900),
        "avif",
    ),
}


@pytest.mark.parametrize("name", LONG)
def test_a_file_of_millions_of_pieces_is_judged_at_once(name: str) -> None:
    """It is read in the thread that serves everybody; reading all pieces takes 0.1 s and more, 16 times that at 64 MB."""
    data, encoding = LONG[name]
    payload = ImagePayload(ImageHeader(encoding=encoding), memoryview(data))  # type: ignore[arg-type]
    began = time.thread_time()
    with pytest.raises(ImageError):
        decode_pixels(payload, check_image_payload(payload, 50_000_000), 50_000_000)
    assert time.thread_time() - began < 0.15


def test_what_takes_long_to_decode_is_told_from_what_does_not() -> None:
    def pixels(
        data: bytes, encoding: str, size: tuple[int, int] | None, most: int = 50_000_000
    ) -> tuple[int, bool]:
        header = ImageHeader(encoding=encoding)  # type: ignore[arg-type]
        return decode_pixels(ImagePayload(header, data), size, most)

    assert pixels(jpeg(), "jpeg", (1920, 1080)) == (1920 * 1080, True)
    assert pixels(jpeg(), "jpeg", (4000, 3000)) == (12_000_000, False)
    assert pixels(jpeg(progressive=True), "jpeg", (1920, 1080)) == (1920 * 1080, False)
    assert pixels(b"", "gif", (10, 10), 1000) == (
        1000,
        False,
    )  # its frames may be larger than it says
    with pytest.raises(ImageError, match="more than 64 scans"):
        pixels(repeated_scans(80), "jpeg", (64, 48))
    with pytest.raises(ImageError, match="more than 16 scans"):
        pixels(repeated_scans(20), "jpeg", (10_000, 5_000))
