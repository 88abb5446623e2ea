"""File formats: an allow-list, names for what is not read, metadata that cannot spoil an image."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin, TiffImagePlugin

from molmo_point.errors import ImageError
from molmo_point.images import load_image, printable, sniff
from molmo_point.install import install_line
from molmo_point.wire import ImageHeader, ImagePayload, check_image_payload

SCENE = np.zeros((18, 24, 3), np.uint8)
SCENE[4:9, 5:12] = (210, 30, 30)
SCENE[9:, 12:] = (20, 200, 60)
FORMATS = ["jpeg", "png", "webp", "gif", "avif", "bmp", "tiff"]


def _file(kind: str, **options: Any) -> bytes:
    data = io.BytesIO()
    Image.fromarray(SCENE).save(data, kind.upper(), **options)
    return data.getvalue()


def _is_scene(array: np.ndarray[Any, Any], tolerance: int = 0) -> bool:
    return array.shape == SCENE.shape and np.abs(array.astype(int) - SCENE).mean() <= tolerance


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_read_here_is_known_to_the_wire(kind: str) -> None:
    data = _file(kind)
    assert sniff(data) == kind
    assert _is_scene(load_image(data), 0 if kind in ("png", "bmp", "tiff") else 12)
    payload = ImagePayload(ImageHeader(encoding=kind), data)  # type: ignore[arg-type]
    assert check_image_payload(payload, 10**6) == (24, 18)
    with pytest.raises(ImageError, match="24x18 = 432 pixels, this server takes 431"):
        check_image_payload(payload, 431)


@pytest.mark.parametrize("kind", ["PPM", "TGA", "ICO", "DDS", "PCX", "JPEG2000", "SGI"])
def test_other_rasters_are_read(kind: str) -> None:
    options = {"sizes": [(24, 18)]} if kind == "ICO" else {}
    assert load_image(_file(kind, **options)).shape == SCENE.shape


def test_ghostscript_is_never_started(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import EpsImagePlugin

    def started(*_: object, **__: object) -> None:
        raise AssertionError("Ghostscript was started")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", started)
    with pytest.raises(ImageError, match=r"a PostScript \(EPS\) drawing: export it as PNG"):
        load_image(_file("EPS"))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"%PDF-1.7 ...", "a PDF document"),
        (b"<!DOCTYPE html><html>404</html>", "a web page"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
        (b'<?xml version="1.0"?>\n<svg/>', "an SVG drawing"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41", "a video"),
        (b"\xff\x0a\0\0", "a JPEG XL image"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "a camera's raw photo"),
        (b"FUJIFILMCCD-RAW 0201", "a camera's raw photo"),
        (b"hello, this is text", "first bytes b'hello, t'"),
    ],
)
def test_what_is_no_image_is_named(data: bytes, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        load_image(data)


def _tiff_pages(*pages: tuple[Image.Image, dict[int, Any]]) -> bytes:
    data = io.BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(data, True) as writer:
        for image, tags in pages:
            image.save(writer, "TIFF", tiffinfo=tags)
            writer.newFrame()
    return data.getvalue()


def test_a_preview_is_not_the_image_of_a_tiff() -> None:
    preview, image = Image.new("RGB", (16, 12), "red"), Image.new("RGB", (160, 120), "blue")
    reduced = {254: 1}
    assert load_image(_tiff_pages((preview, reduced), (image, {}))).shape == (120, 160, 3)
    assert load_image(_tiff_pages((image, {}), (preview, reduced))).shape == (120, 160, 3)
    assert load_image(_tiff_pages((preview, reduced))).shape == (12, 16, 3)
    with pytest.raises(ImageError, match=r"a camera's raw photo .*export it as JPEG"):
        load_image(_tiff_pages((preview, {254: 1, 50706: b"\1\4\0\0"})))


def test_heic_is_named_with_what_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    photo = b"\0\0\0\x24ftypheic\0\0\0\0mif1heic" + b"\0" * 200
    with pytest.raises(ImageError, match="HEIC photo") as caught:
        load_image(photo)
    assert "convert the photo to JPEG" in str(caught.value)
    assert sniff(photo) == "heic"
    assert install_line("heic") in str(caught.value) or "pillow_heif" in str(caught.value)


def test_heic_is_read_where_the_package_is() -> None:
    heif = pytest.importorskip("pillow_heif")
    data = io.BytesIO()
    heif.from_pillow(Image.fromarray(SCENE).resize((96, 72))).save(data, format="HEIF")
    photo = data.getvalue()
    assert load_image(photo).shape == (72, 96, 3)
    assert check_image_payload(ImagePayload(ImageHeader(encoding="heic"), photo), 10**6) == (
        96,
        72,
    )


def _chunk(kind: bytes, body: bytes, crc: int | None = None) -> bytes:
    right = zlib.crc32(kind + body)
    return (
        struct.pack(">I", len(body))
        + kind
        + body
        + struct.pack(">I", right if crc is None else crc)
    )


def test_metadata_of_any_size_is_not_the_image() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("workflow", "x" * 1_500_000, zip=True)
    assert _is_scene(load_image(_file("png", pnginfo=info)))
    assert _is_scene(load_image(_file("png", icc_profile=b"\0" * 1_200_000)))
    many = PngImagePlugin.PngInfo()
    for number in range(70):
        many.add_text(f"k{number}", "z" * 1_000_000, zip=True)
    assert _is_scene(load_image(_file("png", pnginfo=many)))


@pytest.mark.parametrize(
    "kind", [b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"gAMA", b"eXIf", b"tIME", b"zzZz"]
)
def test_a_wrong_checksum_of_metadata_is_not_the_image(kind: bytes) -> None:
    data = _file("png")
    damaged = data[:33] + _chunk(kind, b"a\0bcd", crc=0) + data[33:]
    assert _is_scene(load_image(damaged))


def test_a_wrong_checksum_of_what_the_pixels_need_is() -> None:
    data = bytearray(_file("png"))
    data[29] ^= 0xFF  # in the checksum of IHDR
    with pytest.raises(ImageError, match="damaged or cut short"):
        load_image(bytes(data))


def test_the_orientation_survives_the_other_metadata() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    info = PngImagePlugin.PngInfo()
    info.add_text("note", "n" * 2_000_000, zip=True)
    assert load_image(_file("png", exif=exif, pnginfo=info)).shape == (24, 18, 3)
    xmp = PngImagePlugin.PngInfo()
    xmp.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>')
    xmp.add_text("note", "n")
    assert load_image(_file("png", pnginfo=xmp)).shape == (24, 18, 3)


@pytest.mark.parametrize("junk", [b"\xff\xff\xff", b"\xff\x00", b"\xff\x00\xff\x00"])
def test_a_server_takes_the_jpegs_that_are_read_here(junk: bytes) -> None:
    data = _file("jpeg")
    data = data[:2] + junk + data[2:]
    assert load_image(data).shape == SCENE.shape
    assert check_image_payload(ImagePayload(ImageHeader(encoding="jpeg"), data), 10**6) == (24, 18)


def test_names_that_are_no_text_are_written_in_messages() -> None:
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    assert printable(name) == r"caf\xe9.png"
    assert printable(Path("café.png")) == "café.png"
    with pytest.raises(ImageError, match=r"there is no file caf\\xe9.png") as caught:
        load_image(name)
    str(caught.value).encode()


def test_a_file_whose_name_is_no_text_is_read(tmp_path: Path) -> None:
    path = bytes(tmp_path) + b"/caf\xe9.png"
    try:
        with open(path, "wb") as file:
            file.write(_file("png"))
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    assert _is_scene(load_image(path.decode("utf-8", "surrogateescape")))


def test_addresses_homes_and_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a b.png"
    path.write_bytes(_file("png"))
    assert _is_scene(load_image(path.as_uri()))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert _is_scene(load_image("~/a b.png"))
    for address in ("https://example.com/table.png", "HTTP://example.com/table.png"):
        with pytest.raises(ImageError, match=r"download it first \(curl -O \w+://example.com"):
            load_image(address)
    if Path("/dev/zero").exists():
        with pytest.raises(ImageError, match="is a device"):
            load_image("/dev/zero")
