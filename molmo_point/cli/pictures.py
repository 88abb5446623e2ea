"""Pictures named on the command line: files, globs, folders, `-` for stdin, data URLs."""

from __future__ import annotations

import glob
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from molmo_point.errors import ImageError, UsageError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".ppm")
"""What counts as a picture in a folder."""


@dataclass(frozen=True)
class Picture:
    """One picture to ask about.

    Attributes:
        name: As it is told to the user: the path, "stdin" or "data URL".
        source: What `load_image` takes: a path, file bytes, or a data URL.
    """

    name: str
    source: str | bytes

    @property
    def stem(self) -> str:
        """A file name without suffix, to derive others from."""
        path = isinstance(self.source, str) and not self.source.startswith("data:")
        return Path(self.name).stem if path else self.name.replace(" ", "-")


def split_words(words: Sequence[str], query: str | None, kind: str) -> tuple[list[str], str]:
    """Tell pictures and query apart: `IMAGE... QUERY`, `QUERY IMAGE...` where that is plain, or `--query QUERY IMAGE...`.

    Args:
        words: The positional arguments.
        query: Of `--query`.
        kind: What the query is called in messages: "query" or "question".

    Raises:
        UsageError: One of the two is missing, or it cannot be told which is which.
    """
    words = list(words)
    if query is not None:
        if not words:
            raise UsageError(f"expected at least one picture next to --query {query!r}")
        return words, query
    if len(words) < 2:
        raise UsageError(
            f"expected pictures and a {kind}, got {' '.join(map(repr, words)) or 'nothing'}: "
            f'molmo-point ... desk.png "the red mug"'
        )
    if not _names_picture(words[-1]):
        return words[:-1], words[-1]
    if not _names_picture(words[0]):
        return words[1:], words[0]
    raise UsageError(
        f"every argument names a picture ({words[0]!r} ... {words[-1]!r}): give the {kind} with --query"
    )


def gather(words: Sequence[str]) -> list[Picture]:
    """Find the pictures that the words name, in their order; folders and globs in alphabetic order.

    Raises:
        ImageError: A word names no picture, or stdin has none.
    """
    if list(words).count("-") > 1:
        raise UsageError("'-' may stand for one picture only: stdin can be read once")
    pictures: list[Picture] = []
    for word in words:
        pictures += _gather_one(word)
    return pictures


def _gather_one(word: str) -> list[Picture]:
    if word == "-":
        return [_from_stdin()]
    if word.startswith("data:"):
        return [Picture("data URL", word)]
    try:
        return _from_disk(word, Path(word))
    except (OSError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{word[:200]} cannot be read: {error}") from error


def _from_disk(word: str, path: Path) -> list[Picture]:
    if path.is_dir():
        names = sorted(str(item) for item in path.iterdir() if item.suffix.lower() in SUFFIXES)
        if not names:
            raise ImageError(f"there is no picture in the folder {word} ({', '.join(SUFFIXES)})")
        return [Picture(name, name) for name in names]
    if not path.exists() and glob.has_magic(word):
        names = sorted(name for name in glob.glob(word, recursive=True) if Path(name).is_file())
        if not names:
            raise ImageError(f"no file matches {word}: check the pattern")
        return [Picture(name, name) for name in names]
    if not path.exists():
        raise ImageError(f"there is no file {word}: check the path")
    return [Picture(word, word)]


def _from_stdin() -> Picture:
    if sys.stdin.isatty():
        raise ImageError(
            "'-' reads a picture from stdin, which is a terminal: pipe one in (< desk.png)"
        )
    data = sys.stdin.buffer.read()
    if not data:
        raise ImageError("stdin is empty: pipe a picture in (< desk.png)")
    # What a clipboard or a browser hands over is often a data URL in text.
    if data[:5] == b"data:":
        return Picture("stdin", data.decode("ascii", "replace").strip())
    return Picture("stdin", data)


def _names_picture(word: str) -> bool:
    if not word.strip():
        return False
    if word == "-" or word.startswith("data:") or Path(word).suffix.lower() in SUFFIXES:
        return True
    try:
        return Path(word).exists() or (glob.has_magic(word) and bool(glob.glob(word)))
    except (OSError, ValueError):
        return False
