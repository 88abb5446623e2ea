"""Images named on the command line: files, globs, folders, `-` for stdin, data URLs."""

from __future__ import annotations

import glob
import importlib.util
import os
import re
import shlex
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from molmo_point.drawing_mark import is_our_drawing
from molmo_point.errors import ImageError, UsageError
from molmo_point.install import install_line

SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".ppm", ".pgm", ".jp2",
)  # fmt: skip
"""Names that count as images in a folder. Other files there are looked at: what begins like an image is one."""

# No TIFF: what many raw formats of cameras begin with, too.
_BEGINNINGS = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8")
_CONVERT = "convert it to JPEG or PNG"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class InputImage:
    """One image to ask about.

    Attributes:
        name: As it is told to the user: the path, "stdin" or "data URL". Bytes that are no UTF-8 are written as \\xNN.
        source: What `load_image` takes: a path, file bytes, or a data URL.
    """

    name: str
    source: str | bytes

    @property
    def path(self) -> Path | None:
        """The file, or None where it does not come from one."""
        is_path = isinstance(self.source, str) and not self.source.startswith("data:")
        return Path(str(self.source)) if is_path else None

    @property
    def stem(self) -> str:
        """A file name without suffix, to derive others from."""
        return self.name.replace(" ", "-") if self.path is None else self.path.stem


@dataclass
class CollectedImages:
    """What the words on the command line name.

    Attributes:
        images: In the order of the words; folders and globs in alphabetic order.
        several: Whether a set was asked for (a folder, a pattern, more than one word), whatever came of it.
        skipped: (file, reason) of what lies in a folder and is not asked about.
    """

    images: list[InputImage] = field(default_factory=list)
    several: bool = False
    skipped: list[tuple[str, str]] = field(default_factory=list)


def collect_images(
    words: Sequence[str], *, recursive: bool = False, again: str = "molmo-point point - QUERY"
) -> CollectedImages:
    """Find the images that the words name.

    Args:
        again: The command that reads the image from stdin instead, for the advice about an address.
        recursive: Look into the folders of folders, too. A folder that links lead to twice is read once.

    Raises:
        ImageError: A word names no image, or stdin has none.
    """
    if list(words).count("-") > 1:
        raise UsageError("'-' may stand for one image only: stdin can be read once")
    found = CollectedImages(several=len(words) > 1)
    for word in words:
        if is_address(word):
            raise ImageError(_not_fetched(word, again))
        _collect_one(word, recursive, found)
    return found


def printable(name: str) -> str:
    """Return a file's name as text that can be written everywhere: undecodable bytes as \\xNN."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _collect_one(word: str, recursive: bool, found: CollectedImages) -> None:
    if word == "-":
        found.images.append(_from_stdin())
    elif word.startswith("data:"):
        found.images.append(InputImage("data URL", word))
    else:
        try:
            _from_disk(word, recursive, found)
        except (OSError, ValueError, RuntimeError) as error:
            if isinstance(error, ImageError):
                raise
            raise ImageError(f"{printable(word[:200])} cannot be read: {error}") from error


def stdin_command(verb: str, queries: Sequence[str]) -> str:
    """Return the command that asks the same of an image on stdin."""
    asked = (f"--query {shlex.quote(query)}" for query in queries)
    return " ".join([f"molmo-point {verb} -", *asked])


def is_address(word: str) -> bool:
    """Whether a word is an address such as https://..., not a path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", word) is not None


def _not_fetched(address: str, again: str) -> str:
    if address.lower().startswith("file:"):
        return f"expected a path, got an address: give {unquote(urlsplit(address).path)}"
    return (
        "images are not fetched from other machines: "
        f"curl -sL {_quoted(printable(address[:200]))} | {again}"
    )


def _quoted(text: str) -> str:
    quoted = shlex.quote(text)
    return quoted if quoted.startswith("'") else f"'{quoted}'"


def _from_disk(word: str, recursive: bool, found: CollectedImages) -> None:
    path = Path(word)
    if word.startswith("~") and not path.exists():
        path = path.expanduser()
    if path.is_dir():
        found.several = True
        _from_folder(path, recursive, found)
    elif not path.exists() and glob.has_magic(word):
        found.several = True
        names = sorted(_matching(word), key=os.fsencode)
        if not names:
            raise ImageError(f"no file matches {printable(word)}: check the pattern")
        found.images += [_file(name) for name in _each_once(names)]
    elif not path.exists():
        raise ImageError(f"there is no file {printable(word)}: check the path")
    else:
        found.images.append(_file(str(path)))


def _file(name: str) -> InputImage:
    """A file by its path; what is no regular file (a pipe) by its bytes, of which there may be no end."""
    if os.path.isfile(name):
        return InputImage(printable(name), name)
    if not stat.S_ISFIFO(os.stat(name).st_mode) and name != "/dev/stdin":
        raise ImageError(f"{printable(name)} is no file but a device: give an image file")
    with open(name, "rb") as stream:
        return InputImage(printable(name), _bounded(stream, printable(name)))


def _matching(pattern: str) -> Iterator[str]:
    """The files of a pattern; `**` does not follow links to folders, which may lead in a circle."""
    if "**" not in pattern:
        yield from (name for name in glob.glob(pattern) if os.path.isfile(name))
        return
    parts = Path(pattern).parts
    fixed = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    start = Path(*parts[:fixed])
    for path in start.glob(os.path.join(*parts[fixed:])):
        hidden = any(part.startswith(".") for part in path.relative_to(start).parts)
        if path.is_file() and not hidden:
            yield str(path)


def _each_once(names: Sequence[str]) -> list[str]:
    """Leave out names of a file that came before under another one."""
    seen: dict[str, str] = {}
    for name in names:
        seen.setdefault(os.path.realpath(name), name)
    return list(seen.values())


def _from_folder(folder: Path, recursive: bool, found: CollectedImages) -> None:
    before = len(found.images)
    names = sorted(_files_in(folder, recursive), key=os.fsencode)
    for name in _each_once(names):
        reason = _why_not(name)
        if reason is None:
            found.images.append(_file(name))
        else:
            found.skipped.append((printable(name), reason))
    if len(found.images) > before:
        return
    inner = [entry for entry in os.scandir(folder) if entry.is_dir()]
    hint = ": add --recursive to look into its folders" if inner and not recursive else ""
    skipped = "".join(f"; {name}: {reason}" for name, reason in found.skipped[:3])
    raise ImageError(f"there is no image in the folder {printable(str(folder))}{hint}{skipped}")


def _files_in(folder: Path, recursive: bool) -> Iterator[str]:
    """Every regular file that is not hidden; folders that links lead to again are not entered again."""
    entered = {os.path.realpath(folder)}
    for place, folders, files in os.walk(folder, followlinks=recursive):
        yield from (
            os.path.join(place, name)
            for name in files
            if not name.startswith(".") and os.path.isfile(os.path.join(place, name))
        )
        kept = []
        for name in sorted(folders):
            real = os.path.realpath(os.path.join(place, name))
            if recursive and not name.startswith(".") and real not in entered:
                entered.add(real)
                kept.append(name)
        folders[:] = kept


def _why_not(name: str) -> str | None:
    """Why a file of a folder is not asked about; None if it is."""
    suffix = Path(name).suffix.lower()
    try:
        with open(name, "rb") as file:
            head = file.read(16)
    except OSError as error:
        # A file that is called an image is asked about, and its error is shown; others do not matter.
        return None if suffix in SUFFIXES else f"cannot be read: {error.strerror}"
    if head[4:8] == b"ftyp" and head[8:11] in (b"hei", b"hev", b"mif", b"msf"):
        return _why_not_heic()
    if suffix in SUFFIXES or head.startswith(_BEGINNINGS) or head[8:12] == b"WEBP":
        return "a drawing of molmo-point" if is_our_drawing(Path(name)) else None
    if suffix in (".heic", ".heif"):
        return "called HEIC, but does not begin like it: damaged, or another format"
    return f"not an image that can be read ({suffix or 'no suffix'})"


def _why_not_heic() -> str | None:
    if importlib.util.find_spec("pillow_heif") is not None:
        return None
    return f"HEIC: {install_line('heic')}; or {_CONVERT}"


def _from_stdin() -> InputImage:
    if sys.stdin is None or sys.stdin.isatty():
        raise ImageError(
            "'-' reads an image from stdin, which is a terminal or closed: pipe one in (< table.png)"
        )
    data = _bounded(sys.stdin.buffer, "stdin")
    if not data:
        raise ImageError("stdin is empty: pipe an image in (< table.png)")
    # What a clipboard or a browser hands over is often a data URL in text.
    if data[:5] == b"data:":
        return InputImage("stdin", data.decode("ascii", "replace").strip())
    return InputImage("stdin", data)


def _bounded(stream: BinaryIO, name: str) -> bytes:
    """Read a stream to its end, which must come before the largest image file."""
    from molmo_point.images import MAX_FILE_BYTES

    data = bytearray()
    while chunk := stream.read(_CHUNK):
        data += chunk
        if len(data) > MAX_FILE_BYTES:
            raise ImageError(
                f"{name} holds more than the limit of {MAX_FILE_BYTES:,} bytes: make the image smaller"
            )
    return bytes(data)


def videos_in(word: str, recursive: bool) -> list[str]:
    """Return the videos of a folder, in alphabetic order; none where the word names no folder."""
    from molmo_point.count_runs.videos import is_video

    folder = Path(word)
    if not folder.is_dir():
        return []
    names = (name for name in _files_in(folder, recursive) if is_video(name))
    return _each_once(sorted(names, key=os.fsencode))
