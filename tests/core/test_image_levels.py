"""16-bit and float greys: what is white is chosen by many pixels and never jumps."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from molmo_point.images import load_image
from molmo_point.images.levels import FLOAT_WHITES, WHITES, to_eight_bits, white_of

SCENE = np.full((120, 160), 140, np.uint8)
SCENE[20:60, 30:80] = 60
SCENE[70:100, 90:140] = 220
FRACTION = SCENE.astype(np.float32) / 255


def _read(values: np.ndarray[Any, Any], kind: str = "TIFF") -> np.ndarray[Any, np.dtype[np.uint8]]:
    data = io.BytesIO()
    Image.fromarray(values).save(data, kind)
    return load_image(data.getvalue())[..., 0]


@pytest.mark.parametrize("outlier", [1.002, 2.0, 99.0, 255.4, 1e6, -0.01, -1e6, np.inf, np.nan])
def test_one_pixel_does_not_choose_the_range_of_fractions(outlier: float) -> None:
    values = FRACTION.copy()
    values[0, 0] = outlier
    read = _read(values)
    assert np.array_equal(read.ravel()[1:], SCENE.ravel()[1:])


@pytest.mark.parametrize("outlier", [255.4, 300.0, 65_535.0, 1e9])
def test_one_pixel_does_not_choose_the_range_of_byte_values(outlier: float) -> None:
    values = SCENE.astype(np.float32)
    values[3, 4] = outlier
    assert np.array_equal(np.delete(_read(values), 4, 1), np.delete(SCENE, 4, 1))


def test_a_dead_column_does_not_either() -> None:
    values = FRACTION.copy()
    values[:90, 7] = 4000.0
    assert np.array_equal(_read(values)[:, 8:], SCENE[:, 8:])


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_usual_depths_in_sixteen_bits_come_as_they_looked(bits: int) -> None:
    values = np.rint(FRACTION * (2**bits - 1)).astype(np.uint16)
    for kind in ("PNG", "TIFF"):
        assert np.abs(_read(values, kind).astype(int) - SCENE).max() <= 1


def test_percent_and_negative_values_stay_visible() -> None:
    assert np.array_equal(_read(FRACTION * 100), SCENE)
    centred = _read(FRACTION * 2 - 1)
    assert np.abs(centred.astype(int) - SCENE).max() < 64
    assert len(np.unique(centred)) == 3


def test_no_number_at_all_is_black() -> None:
    assert not _read(np.full((4, 5), np.nan, np.float32)).any()
    assert not _read(np.zeros((4, 5), np.float32)).any()
    assert not to_eight_bits(np.zeros((1, 1), np.uint16)).any()


def test_the_ranges_themselves_are_white() -> None:
    for ranges, fractions in ((FLOAT_WHITES, True), (WHITES, False)):
        for white in ranges:
            assert white_of(white, fractions) == white
            assert white_of(0.51 * white, fractions) == white
    assert white_of(0.2, fractions=True) == 1.0
    assert white_of(1e7, fractions=True) == 1e7


@given(st.floats(1e-3, 1e6), st.booleans())
def test_a_hair_more_light_is_a_hair_less_or_more_brightness(top: float, fractions: bool) -> None:
    """No cliff: 0.1 % more light moves white by 0.4 % at most, and white is never below what it must hold."""
    white, more = white_of(top, fractions), white_of(top * 1.001, fractions)
    assert white <= more <= white * 1.004
    assert white >= top or white == pytest.approx(top)


@given(st.floats(1.0, 1e6))
def test_bright_parts_stay_bright(top: float) -> None:
    assert top / white_of(top, fractions=True) >= 0.5 - 1e-9


def _png(values: np.ndarray[Any, np.dtype[np.uint16]], colour: int) -> bytes:
    """A PNG of (H, W, C) uint16, which Pillow cannot write; `colour` is PNG's type: 2 RGB, 4 grey and alpha, 6 RGBA."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def _tiff(values: np.ndarray[Any, np.dtype[np.uint16]], order: str) -> bytes:
    """A TIFF of (H, W, 3) uint16 in one strip, its bytes in the order "<" or ">", on its side (orientation 6)."""
    height, width, _ = values.shape
    pixels = values.astype(f"{order}u2").tobytes()
    bits = 8 + len(pixels)
    entries = (
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, bits), (262, 3, 1, 2), (273, 4, 1, 8), (274, 3, 1, 6),
        (277, 3, 1, 3), (278, 4, 1, height), (279, 4, 1, len(pixels)),
    )  # fmt: skip
    table = struct.pack(f"{order}H", len(entries))
    for tag, kind, count, value in entries:
        short = kind == 3 and count == 1
        table += struct.pack(f"{order}HHI" + ("Hxx" if short else "I"), tag, kind, count, value)
    magic = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", bits + 6)
    return magic + pixels + struct.pack(f"{order}3H", 16, 16, 16) + table + b"\0\0\0\0"


COLOUR = np.dstack([SCENE, SCENE[::-1], SCENE[:, ::-1]])


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_colour_of_usual_depths_in_sixteen_bits_comes_as_it_looked(bits: int) -> None:
    values = np.rint(COLOUR / 255 * (2**bits - 1)).astype(np.uint16)
    opaque = np.dstack([values, np.full(SCENE.shape, 65_535, np.uint16)])
    files = {
        "rgb": (_png(values, 2), COLOUR),
        "rgba": (_png(opaque, 6), COLOUR),
        "grey and alpha": (_png(opaque[..., [0, 3]], 4), np.repeat(SCENE[..., None], 3, 2)),
        "tiff, low byte first": (_tiff(values, "<"), np.rot90(COLOUR, -1)),
        "tiff, high byte first": (_tiff(values, ">"), np.rot90(COLOUR, -1)),
    }
    for name, (data, looked) in files.items():
        read = load_image(data)
        assert read.shape == looked.shape, name
        assert np.abs(read.astype(int) - looked).max() <= 1, name


def test_colour_in_the_upper_half_of_the_range_keeps_the_bytes_of_the_reference() -> None:
    values = np.random.default_rng(0).integers(0, 65_536, (40, 50, 3)).astype(np.uint16)
    assert np.array_equal(load_image(_png(values, 2)), values >> 8)
