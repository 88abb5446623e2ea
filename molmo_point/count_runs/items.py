"""What is counted: an image, or a frame of a video, with its queries."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from molmo_point.errors import ImageError
from molmo_point.image_like import ImageLike

Key = tuple[str, int, str]
"""(identity of the file, number of the frame or -1, query): what a row is known by."""


@dataclass(frozen=True)
class Item:
    """One image with its queries.

    Attributes:
        file: Name of the file, as it is shown.
        identity: The file's absolute path, or a hash of data that comes from none.
        queries: As the user wrote them.
        load: Returns the image; called when it is its turn.
        frame: Number of the frame of a video, from 0; None for images.
        time_s: The frame's time in the video, seconds.
        version: (size in bytes, time of the last change in nanoseconds) of the file; None where there is none.
    """

    file: str
    identity: str
    queries: tuple[str, ...]
    load: Callable[[], ImageLike]
    frame: int | None = None
    time_s: float | None = None
    version: tuple[int, int] | None = None

    def key(self, query: str) -> Key:
        """Return what the row of a query is known by."""
        return self.identity, -1 if self.frame is None else self.frame, query

    @property
    def drawing(self) -> str:
        """File name of the annotated image: the same in every run, and different for files of one name in different folders."""
        return drawing_name(self.file, self.identity, self.frame)


def drawing_name(file: str, identity: str, frame: int | None) -> str:
    """Return the file name of an annotated image; the arguments are those of `Item`."""
    digest = hashlib.sha1(os.fsencode(identity), usedforsecurity=False).hexdigest()[:8]
    stem = os.fsencode(Path(file).stem)[:100].decode("utf-8", "replace")
    number = "" if frame is None else f"-{frame:06}"
    return f"{stem}-{digest}{number}.jpg"


def file_item(name: str, source: str, queries: tuple[str, ...]) -> Item:
    """Return the item of a file. One that is not there is an item, too: its row says so.

    Args:
        name: As it is shown.
        source: Its path.
    """
    return Item(name, os.path.abspath(source), queries, lambda: source, version=version_of(source))


def data_item(name: str, source: str | bytes, queries: tuple[str, ...]) -> Item:
    """Return the item of data that come from no file: stdin, a data URL."""
    data = source.encode() if isinstance(source, str) else source
    digest = hashlib.sha1(data, usedforsecurity=False).hexdigest()
    return Item(name, f"data:{digest}", queries, lambda: source)


def version_of(path: str) -> tuple[int, int] | None:
    """Return (size in bytes, time of the last change in nanoseconds) of a file; None where there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns


def unreadable(error: ImageError) -> Callable[[], ImageLike]:
    """Return a `load` that raises the error."""

    def load() -> ImageLike:
        raise error

    return load
