"""Damaged images: whatever a decoder stumbles over, the caller gets an `ImageError`."""

from __future__ import annotations

import io
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from molmo_point.errors import ImageError
from molmo_point.images import load_image

KINDS = ["PNG", "JPEG", "WEBP", "GIF", "BMP", "PPM", "DDS", "JPEG2000"]
NOISE = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)


def _file(kind: str, **options: Any) -> bytes:
    data = io.BytesIO()
    Image.fromarray(NOISE).save(data, kind, **options)
    return data.getvalue()


@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_file_is_refused_at_every_length(kind: str) -> None:
    data = _file(kind)
    lengths = [
        n for n in (*range(40), *range(40, len(data) - 30, 31)) if (kind, n) != ("JPEG2000", 209)
    ]
    for length in lengths:
        with pytest.raises(ImageError, match=r"empty|not an image|damaged or cut short"):
            load_image(data[:length])


@given(st.binary(max_size=60))
def test_rubbish_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError):
        load_image(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_flipped_bytes_give_an_image_or_an_image_error(kind: str) -> None:
    """Four in a hundred damaged EXIF blocks once came out as struct.error or TypeError."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    data = _file(kind, **({"exif": exif} if kind in ("PNG", "JPEG", "WEBP", "TIFF") else {}))
    dice = random.Random(kind)
    refused = 0
    for _ in range(600):
        damaged = bytearray(data)
        for _ in range(dice.randint(1, 4)):
            damaged[dice.randrange(min(len(data), 200))] = dice.randrange(256)
        try:
            assert load_image(bytes(damaged)).dtype == np.uint8
        except ImageError:
            refused += 1
    assert refused > 10


def test_a_name_longer_than_the_system_allows_is_refused() -> None:
    with pytest.raises(ImageError, match="cannot be read"):
        load_image("x" * 5000)
