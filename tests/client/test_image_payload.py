"""Images on their way: what a user has comes out as the same pixels, and a file's size is read as Pillow reads it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from molmo_point.errors import ImageError
from molmo_point.images import load_image
from molmo_point.wire import (
    ImageHeader,
    ImagePayload,
    check_image_payload,
    make_image_payload,
    sniff,
    stored_size,
)

FORMATS = ["jpeg", "png", "webp"]


def image_bytes(width: int, height: int, kind: str, **options: Any) -> bytes:
    rng = np.random.default_rng(width * 1000 + height)
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(
        buffer, kind.upper(), **options
    )
    return buffer.getvalue()


@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from(FORMATS), st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_size_of_a_file_is_what_pillow_says(
    width: int, height: int, kind: str, other: bool
) -> None:
    options = {"jpeg": {"progressive": other}, "png": {}, "webp": {"lossless": other}}[kind]
    data = image_bytes(width, height, kind, **options)
    assert sniff(data) == kind
    assert stored_size(memoryview(data), kind) == (width, height)  # type: ignore[arg-type]


def test_the_size_of_an_animated_webp_is_read() -> None:
    frames = [Image.new("RGB", (70, 40), colour) for colour in ("red", "blue")]
    buffer = io.BytesIO()
    frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:])
    assert stored_size(buffer.getvalue(), "webp") == (70, 40)


def test_the_size_of_a_jpeg_behind_a_long_exif_block_is_read() -> None:
    exif = Image.Exif()
    exif[0x010E] = "x" * 60_000
    data = image_bytes(33, 21, "jpeg", exif=exif)
    assert stored_size(data, "jpeg") == (33, 21)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_cut_of_a_file_gives_its_size_or_an_error(kind: str) -> None:
    data = image_bytes(40, 30, kind)
    sizes = [size_or_none(data[:length], kind) for length in range(len(data))]
    assert sizes[0] is None
    assert sizes[-1] == (40, 30)
    assert set(sizes) == {None, (40, 30)}


def size_or_none(data: bytes, kind: Any) -> tuple[int, int] | None:
    try:
        return stored_size(data, kind)
    except ImageError:
        return None


@given(st.binary(max_size=60), st.sampled_from(FORMATS))
def test_rubbish_behind_a_signature_is_an_image_error_or_a_size(rubbish: bytes, kind: str) -> None:
    data = image_bytes(8, 6, kind)[:16] + rubbish
    try:
        width, height = stored_size(data, kind)  # type: ignore[arg-type]
        assert width >= 1
        assert height >= 1
    except ImageError:
        pass


def test_a_bomb_is_refused_before_anything_is_decoded() -> None:
    header = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (30_000).to_bytes(4, "big") * 2
    bomb = ImagePayload(
        ImageHeader(encoding="png"), header + b"\x08\x02\x00\x00\x00" + bytes(10**6)
    )
    with pytest.raises(ImageError, match="30000x30000 = 900,000,000 pixels, this server takes"):
        check_image_payload(bomb, 50_000_000)


def test_an_image_that_is_not_what_it_says_is_refused() -> None:
    data = image_bytes(8, 6, "png")
    with pytest.raises(ImageError, match="said to be jpeg, but begins like png"):
        check_image_payload(ImagePayload(ImageHeader(encoding="jpeg"), data), 10**6)
    with pytest.raises(ImageError, match="begins like something else"):
        check_image_payload(ImagePayload(ImageHeader(encoding="png"), b"%!PS-Adobe"), 10**6)
    with pytest.raises(ImageError, match=r"said to be \(9, 6\)"):
        check_image_payload(ImagePayload(ImageHeader(encoding="png", size=(9, 6)), data), 10**6)
    assert check_image_payload(
        ImagePayload(ImageHeader(encoding="png", size=(8, 6)), data), 48
    ) == (8, 6)


def test_files_go_as_they_are(tmp_path: Path) -> None:
    for kind in FORMATS:
        data = image_bytes(20, 10, kind)
        path = tmp_path / f"image.{kind}"
        path.write_bytes(data)
        for source in (data, bytearray(data), path, str(path)):
            payload = make_image_payload(source)  # type: ignore[arg-type]
            assert payload.header.encoding == kind
            assert bytes(payload.data) == data
            assert payload.image() == data


@given(st.integers(1, 30), st.integers(1, 30), st.sampled_from(["raw", "png"]))
@settings(max_examples=30, deadline=None)
def test_pixels_come_back_exactly(width: int, height: int, arrays: Any) -> None:
    array = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    payload = make_image_payload(array, arrays)
    assert check_image_payload(payload, 10**6) == (width, height)
    np.testing.assert_array_equal(load_image(payload.image()), array)


def test_raw_pixels_are_not_copied() -> None:
    array = np.zeros((40, 30, 3), np.uint8)
    payload = make_image_payload(array)
    assert np.shares_memory(np.frombuffer(payload.data, np.uint8), array)
    received = payload.image()
    assert isinstance(received, np.ndarray)
    assert np.shares_memory(received, array)


def test_opencv_order_is_turned_into_ours() -> None:
    bgr = np.zeros((2, 3, 3), np.uint8)
    bgr[..., 0] = 200  # blue
    header = ImageHeader(encoding="raw", shape=(2, 3, 3), dtype="uint8", channels="bgr")
    image = load_image(ImagePayload(header, bgr.tobytes()).image())
    assert image[0, 0].tolist() == [0, 0, 200]


def test_other_files_are_read_here_and_sent_as_pixels(tmp_path: Path) -> None:
    path = tmp_path / "image.bmp"
    Image.new("RGB", (5, 4), (1, 2, 3)).save(path)
    payload = make_image_payload(path)
    assert payload.header.shape == (4, 5, 3)
    with pytest.raises(ImageError, match="there is no file"):
        make_image_payload(tmp_path / "none.png")
    with pytest.raises(ImageError, match="is a folder"):
        make_image_payload(tmp_path)


def test_an_upright_pil_image_stays_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    image = Image.open(io.BytesIO(image_bytes(40, 20, "jpeg", exif=exif)))
    assert make_image_payload(image).header.shape == (40, 20, 3)
