"""Multipart bodies: what httpx writes comes back byte for byte, and nothing else is taken for one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molmo_point.errors import UsageError
from molmo_point.service.http.multipart import MAX_PARTS, parts_of
from molmo_point.service.run import Service

KIND = "multipart/form-data; boundary=x"


@given(
    st.binary(max_size=300) | st.sampled_from([b"\r\n--", b"\r\n--y", b"--x", b"\r\n-", b"\r"]),
    st.text(max_size=40),
)
def test_bodies_come_back_as_they_were_written(data: bytes, text: str) -> None:
    httpx = pytest.importorskip("httpx", reason="the extra 'client' is not installed")
    request = httpx.Request(
        "POST", "http://a/", data={"query": text}, files={"image": ("a.png", data, "image/png")}
    )
    body = bytearray(request.read())
    query, image = parts_of(body, request.headers["content-type"])
    assert (query.name, query.is_file, query.text()) == ("query", False, text)
    assert (image.name, image.is_file, bytes(image.data)) == ("image", True, data)
    if data:
        assert image.data.obj is body  # not a copy


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "boundary is missing"),
        (b"rubbish", "boundary is missing"),
        (b"--x\r\n", "cut short"),
        (b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\nvalue", "cut short"),
        (b"--x\r\nContent-Type: text/plain\r\n\r\nvalue\r\n--x--", "no name"),
        (b"--x\r\nContent-Disposition: form-data\r\n\r\nvalue\r\n--x--", "no name"),
        (b"--x\r\n" + b"a" * 10_000 + b"\r\n\r\nvalue\r\n--x--", "end of its headers"),
        (b"--xy\r\n\r\n\r\n--x--", "something else follows"),
    ],
)
def test_what_is_none_is_refused(body: bytes, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parts_of(bytearray(body), KIND)


def test_parts_and_fields_are_bounded() -> None:
    part = b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n"
    with pytest.raises(UsageError, match="at most"):
        parts_of(bytearray(part * (MAX_PARTS + 1) + b"--x--"), KIND)
    head = b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n"
    (long,) = parts_of(bytearray(head + b"1" * 70_000 + b"\r\n--x--"), KIND)
    with pytest.raises(UsageError, match="65,536 bytes"):
        long.text()
    (latin,) = parts_of(bytearray(head + b"\xe4\r\n--x--"), KIND)
    with pytest.raises(UsageError, match="not UTF-8"):
        latin.text()
    for kind in (
        "multipart/form-data",
        "multipart/form-data; boundary=",
        f"a; boundary={'b' * 300}",
    ):
        with pytest.raises(UsageError, match="no boundary"):
            parts_of(bytearray(b"--x--"), kind)


@pytest.mark.parametrize(
    "name", ["filename=a", 'filename=""', "filename*=UTF-8''%C3%A9.png", "FILENAME* = utf-8''a"]
)
def test_a_file_is_known_by_any_kind_of_file_name(name: str) -> None:
    # Older clients give only the encoded one where a name is not ASCII.
    head = f'Content-Disposition: form-data; name="image"; {name}'
    (part,) = parts_of(bytearray(f"--x\r\n{head}\r\n\r\n\x01\r\n--x--".encode()), KIND)
    assert (part.name, part.is_file, bytes(part.data)) == ("image", True, b"\x01")


def test_an_image_without_a_file_name_is_told_what_it_lacks(start: Callable[..., Service]) -> None:
    httpx = pytest.importorskip("httpx", reason="the extra 'client' is not installed")
    service = start(http=True)
    assert service.http is not None
    body = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % part
        for part in ((b"query", b"mug"), (b"image", b"\x89PNG\xff"))
    )
    answer = httpx.post(
        f"{service.http.url}/v1/point",
        content=body + b"--x--\r\n",
        headers={"Content-Type": KIND},
    )
    assert answer.status_code == 400
    assert '"image" must be a file' in answer.json()["error"]["message"]
