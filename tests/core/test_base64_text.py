"""Base64 in every form that clients send."""

from __future__ import annotations

import base64
import textwrap
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molmo_point.errors import ImageError
from molmo_point.images import decode_base64

data_ = st.binary(min_size=1, max_size=200)


@given(data_)
def test_every_form_of_it(data: bytes) -> None:
    plain = base64.b64encode(data).decode()
    safe = base64.urlsafe_b64encode(data).decode()
    lines = "\r\n".join(textwrap.wrap(plain, 76))
    for text in (
        plain,
        safe,
        plain.rstrip("="),
        safe.rstrip("="),
        lines,
        plain + "\n",
        f"  {plain} \n",
    ):
        assert decode_base64(text) == data
        assert decode_base64("data:image/png;base64," + text) == data
    assert decode_base64("data:image/png;base64," + quote(plain, safe="")) == data


@pytest.mark.parametrize(
    "head",
    [
        "DATA:image/png;base64,",
        "Data:;BASE64,",
        "data:image/png; base64,",
        "data:image/jpeg;name=a.jpg;base64,",
        " data:application/octet-stream;base64,",
    ],
)
def test_heads_of_data_urls(head: str) -> None:
    assert decode_base64(head + "aGVsbG8=") == b"hello"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("aGVs*G8=", r"the character '\*' at 4"),
        ("aGVsb", "cut short: 5 characters"),
        ("aG=sbG8=", "the character '=' at 2"),
        ("aGVsbG8===", "3 of padding"),
        ("", r"is empty \(0 bytes\)"),
        ("data:image/png;base64,", r"is empty \(0 bytes\)"),
        ("data:image/png,hello", "expected data:image"),
        ("data:image/png;base64", "expected data:image"),
        ("caf\u00e9", "the character '\u00e9'"),
    ],
)
def test_damage_is_named(text: str, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        decode_base64(text, "the image")


@pytest.mark.parametrize(
    "text", ["file:///srv/table.jpg", "https://example.org/a.png", "s3://b/c"]
)
def test_an_address_is_called_one(text: str) -> None:
    with pytest.raises(ImageError, match="an address") as caught:
        decode_base64(text)
    assert "damaged" not in str(caught.value)
