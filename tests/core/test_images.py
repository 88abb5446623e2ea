"""Images of every kind come in as upright RGB; what is none, or too large, is refused before it costs anything."""

from __future__ import annotations

import base64
import io
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from molmo_point.errors import ImageError
from molmo_point.images import MAX_FILE_BYTES, load_image

GOLDEN = Path(__file__).parents[1] / "golden/images"


def _gradient(width: int = 5, height: int = 3) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """An image in which every pixel differs, so that a turn or a swap shows."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 60, columns * 40, 200 - rows * 10 - columns], axis=2).astype(np.uint8)


def _file(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


rgb_arrays = hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)))


@given(rgb_arrays)
def test_a_lossless_file_gives_its_pixels_back(array: np.ndarray[Any, Any]) -> None:
    data = _file(Image.fromarray(array))
    url = "data:image/png;base64," + base64.b64encode(data).decode()
    for source in (array, data, bytearray(data), memoryview(data), Image.fromarray(array), url):
        loaded = load_image(source)  # type: ignore[arg-type]
        assert np.array_equal(loaded, array)
        assert loaded.dtype == np.uint8
        assert loaded.flags.c_contiguous


def test_paths(tmp_path: Path) -> None:
    path = tmp_path / "an image.png"
    Image.fromarray(_gradient()).save(path)
    assert np.array_equal(load_image(path), _gradient())
    assert np.array_equal(load_image(str(path)), _gradient())


def test_a_loaded_image_can_be_written_to() -> None:
    loaded = load_image(_file(Image.fromarray(_gradient())))
    loaded[0, 0] = 7
    assert loaded[0, 0].tolist() == [7, 7, 7]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_every_exif_orientation_comes_upright(orientation: int, kind: str) -> None:
    upright = _gradient()
    # How a camera stores an upright scene under each orientation, from the EXIF standard's table of row 0 and column 0.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(stored[orientation]))
    data = _file(image, kind, exif=exif)
    assert np.array_equal(load_image(data), upright)
    assert np.array_equal(load_image(Image.open(io.BytesIO(data))), upright)
    # Pillow turns TIFF files itself, for the published processor, too.
    unturned = upright if kind == "TIFF" else stored[orientation]
    assert np.array_equal(load_image(data, exif=False), unturned)


def test_the_golden_modes_as_the_reference_reads_them() -> None:
    """Grey is repeated, palettes are looked up, alpha is dropped and not blended."""
    grey = load_image(GOLDEN / "p_150x260_l.png")
    assert grey.shape == (260, 150, 3)
    assert np.array_equal(
        grey, np.repeat(np.asarray(Image.open(GOLDEN / "p_150x260_l.png"))[..., None], 3, 2)
    )
    rgba = np.asarray(Image.open(GOLDEN / "p_150x260_rgba.png"))
    assert rgba[..., 3].min() < 255
    assert np.array_equal(load_image(GOLDEN / "p_150x260_rgba.png"), rgba[..., :3])
    palette = Image.open(GOLDEN / "p_150x260_p.png")
    colours = np.array(palette.getpalette(), np.uint8).reshape(-1, 3)
    assert np.array_equal(load_image(GOLDEN / "p_150x260_p.png"), colours[np.asarray(palette)])


def test_a_grey_array_is_repeated() -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert np.array_equal(load_image(grey), np.stack([grey] * 3, axis=2))


def test_arrays_of_other_classes_are_their_numbers() -> None:
    grey = _gradient()[..., 0]
    with pytest.warns(PendingDeprecationWarning):
        matrix = np.matrix(grey)
    assert np.array_equal(load_image(matrix), load_image(grey))
    assert type(load_image(np.ma.masked_array(_gradient()))) is np.ndarray


def test_cmyk_and_bilevel() -> None:
    cyan = load_image(_file(Image.new("CMYK", (4, 4), (255, 0, 0, 0)), "JPEG", quality=95))
    assert np.abs(cyan.astype(int) - (0, 255, 255)).max() <= 3
    assert load_image(_file(Image.new("1", (2, 2), 1))).tolist() == [[[255] * 3] * 2] * 2
    alpha = Image.new("LA", (2, 2), (90, 0))
    assert load_image(_file(alpha)).tolist() == [[[90] * 3] * 2] * 2


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    values = np.array([[0, 257, 32896, 65535]], np.uint16)
    expected = np.repeat(np.array([[[0], [1], [128], [255]]], np.uint8), 3, axis=2)
    assert np.array_equal(load_image(_file(Image.fromarray(values))), expected)
    assert np.array_equal(load_image(_file(Image.fromarray(values), "TIFF")), expected)
    assert np.array_equal(load_image(Image.fromarray(values.astype(np.int32))), expected)


def test_floats_are_fractions_or_bytes() -> None:
    fractions = np.array([[0.0, 0.5, 1.0, np.nan]], np.float32)
    assert load_image(_file(Image.fromarray(fractions), "TIFF"))[0, :, 0].tolist() == [
        0,
        128,
        255,
        0,
    ]
    levels = np.array([[0.0, 127.6, 255.0]], np.float32)
    assert load_image(Image.fromarray(levels))[0, :, 1].tolist() == [0, 128, 255]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_counts(kind: str) -> None:
    frames = [Image.new("RGB", (6, 6), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    data = _file(frames[0], kind, save_all=True, append_images=frames[1:], duration=50, **options)
    assert load_image(data)[3, 3].tolist() == [255, 0, 0]


def _png_header(width: int, height: int) -> bytes:
    """A PNG that says it is that large and holds next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 1000)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    bomb = _png_header(30_000, 30_000)
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match=r"too large|too many pixels"):
            load_image(bomb)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    # Pillow's own buffers do not show in Python's accounts: had it decoded, this would be "damaged", not "has".
    with pytest.raises(ImageError, match=r"has 9000x9000 = 81,000,000 pixels, the limit is 1,000"):
        load_image(_png_header(9000, 9000), max_pixels=1000)


def test_a_whole_bomb_leaves_the_memory_of_the_process_alone() -> None:
    resource = pytest.importorskip("resource")
    black = zlib.compressobj(1)
    row = b"\0" * (30_000 * 3 + 1)
    body = b"".join(black.compress(row) for _ in range(2_000)) + black.flush()
    head = _png_header(30_000, 30_000)[:33]
    bomb = (
        head
        + struct.pack(">I", len(body))
        + b"IDAT"
        + body
        + struct.pack(">I", zlib.crc32(b"IDAT" + body))
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ImageError, match=r"too large|too many pixels"):
        load_image(bomb)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_the_limit_holds_for_every_source() -> None:
    array = np.zeros((20, 20, 3), np.uint8)
    for source in (array, Image.fromarray(array), _file(Image.fromarray(array))):
        assert load_image(source, max_pixels=400).shape == (20, 20, 3)
        with pytest.raises(ImageError, match="20x20 = 400 pixels, the limit is 399"):
            load_image(source, max_pixels=399)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"", r"empty \(0 bytes\)"),
        (b"hello, no image", "is not an image that can be read"),
        (b"%PDF-1.7 text", "is not an image that can be read"),
        ("data:image/png;base64,@@", "base64 is damaged"),
        ("data:image/png,abc", "expected data:image"),
        ("data:image/png;base64,aGVsbG8=", "the data URL is not an image"),
        ("no/such/file.png", "there is no file .*check the path"),
        ("a\0b.png", "cannot be read"),
        (np.zeros((4, 4, 4), np.uint8), r"expected an \(H, W, 3\) uint8 RGB array.*\(4, 4, 4\)"),
        (np.zeros((4, 4, 3), np.float32), "got shape .* of float32"),
        (np.zeros((0, 4, 3), np.uint8), "the array is empty"),
        (np.zeros(4, np.uint8), r"got shape \(4,\)"),
        ("s3://bucket/a.png", "got the address s3://bucket/a.png"),
        (None, "expected a path, image bytes, .* got NoneType"),
        (3, "got int"),
    ],
)  # fmt: skip
def test_what_is_no_image_is_refused(source: Any, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        load_image(source)


def test_folders_and_huge_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="is a folder: give the path of one image"):
        load_image(tmp_path)
    sparse = tmp_path / "huge.png"
    with sparse.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(ImageError, match=r"bytes, the limit is .*make the image smaller"):
        load_image(sparse)


def test_an_array_that_already_fits_is_not_copied() -> None:
    array = _gradient()
    assert load_image(array) is array
    turned = array[::-1]
    loaded = load_image(turned)
    assert loaded.flags.c_contiguous
    assert np.array_equal(loaded, turned)
