"""Which file formats are read: one allow-list for Python, the command line and the server, and what a file begins like.

Pillow reads more than these: some of its readers start other programs (Ghostscript for EPS), are stubs, or know a file by a
weak signature. What is not listed is not opened.
"""

from __future__ import annotations

from typing import Literal, Union

FileFormat = Literal["jpeg", "png", "webp", "gif", "avif", "bmp", "tiff", "heic"]
"""Formats whose files a server takes as they are; their names on the wire and in media types (image/...)."""

Buffer = Union[bytes, memoryview]

PILLOW_FORMATS = (
    "JPEG", "MPO", "PNG", "WEBP", "GIF", "AVIF", "BMP", "DIB", "TIFF", "HEIF",
    "JPEG2000", "PPM", "TGA", "ICO", "ICNS", "DDS", "PCX", "PSD", "QOI", "SGI",
)  # fmt: skip
"""Names of Pillow's readers that may be used: rasters that are decoded in this process. HEIF needs the package pillow-heif."""

READABLE = "JPEG, PNG, WebP, GIF, AVIF, BMP, TIFF or HEIC"
"""The usual ones of these, for messages."""

_HEIF_BRANDS = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"heif", b"mif1", b"msf1"}
)

_RAW = (b"FUJIFILMCCD-RAW", b"IIU\0", b"IIRO", b"IIRS", b"MMOR", b"FOVb", b"\0MRM")
"""Fujifilm, Panasonic, Olympus (three), Sigma, Minolta. Raw photos that are TIFF files are told by their pages."""

_OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "a PDF document: export the page as PNG first"),
    (b"%!PS", "a PostScript (EPS) drawing: export it as PNG first"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript (EPS) drawing: export it as PNG first"),
    (b"\xff\x0a", "a JPEG XL image: convert it to PNG or JPEG first"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL image: convert it to PNG or JPEG first"),
    *((begin, "a camera's raw photo: export it as JPEG first") for begin in _RAW),
    (b"version https://git-lfs", "a Git LFS pointer, not the image itself: run `git lfs pull`"),
    (b"\x1aE\xdf\xa3", "a video (Matroska or WebM): take a frame out of it first"),
    (b"PK\x03\x04", "a ZIP archive: unpack it first"),
    (b"\x1f\x8b", "a gzip archive: unpack it first"),
    (b"\xd7\xcd\xc6\x9a", "a Windows metafile (WMF): export it as PNG first"),
)
"""What people hand over by mistake, and what to do about it."""


def sniff(data: Buffer) -> FileFormat | None:
    """Return which of the formats a server takes `data` begins like, or None."""
    head = bytes(data[:32])
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "tiff"
    # The two reserved words behind a BMP's length are 0: text that begins with "BM" has other bytes there.
    if head.startswith(b"BM") and head[6:10] == b"\0\0\0\0":
        return "bmp"
    return _iso_media(data, head)


def _iso_media(data: Buffer, head: bytes) -> FileFormat | None:
    """Return which image an ISO base media file (`ftyp` box) holds: its brands say so."""
    if head[4:8] != b"ftyp":
        return None
    brands = _brands(data)
    if brands & {b"avif", b"avis"}:
        return "avif"
    return "heic" if brands & _HEIF_BRANDS else None


def _brands(data: Buffer) -> set[bytes]:
    length = min(int.from_bytes(bytes(data[:4]), "big"), 256)
    box = bytes(data[:length])
    return {box[at : at + 4] for at in (8, *range(16, len(box) - 3, 4))}


def other_kind(data: Buffer) -> str | None:
    """Return in words what a file is that is none of the formats, and what to do with it; None where that cannot be told."""
    head = bytes(data[:256])
    for begin, words in _OTHERS:
        if head.startswith(begin):
            return words
    if head[4:12] == b"ftypcrx ":
        return "a camera's raw photo (Canon CR3): export it as JPEG first"
    if head[4:8] == b"ftyp":
        return "a video (MP4 or QuickTime): take a frame out of it first"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page (HTML), not an image: check where it was downloaded from"
    if text.startswith(b"<svg") or (text.startswith(b"<?xml") and b"<svg" in text):
        return "an SVG drawing: export it as PNG first"
    return None
