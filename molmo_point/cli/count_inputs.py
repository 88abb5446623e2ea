"""What `molmo-point count` counts into a folder: images, folders, patterns, lists (@files.txt), tables and videos."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from molmo_point.cli.inputs import (
    CollectedImages,
    InputImage,
    collect_images,
    printable,
    stdin_command,
    videos_in,
)
from molmo_point.errors import ImageError, UsageError
from molmo_point.text_files import read_text

if TYPE_CHECKING:
    from molmo_point.count_runs.items import Item, Key
    from molmo_point.count_runs.videos import Every

TABLES = (".csv", ".tsv", ".parquet")


@dataclass(frozen=True)
class Columns:
    """Names of a table's columns; None = the usual ones."""

    image: str | None = None
    query: str | None = None


@dataclass
class Counting:
    """Everything to count, in the order of the words.

    Attributes:
        parts: Items, or the videos whose frames become items as they are decoded.
        skipped: (file, reason) of what lies in a folder and is not counted.
    """

    queries: tuple[str, ...]
    every: Every | None
    parts: list[Item | Video] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Number of items; that of a video's frames is what its file says."""
        return sum(part.frames if isinstance(part, Video) else 1 for part in self.parts)

    def items(self) -> Iterator[Item]:
        """Yield the items; a row that comes twice is counted once."""
        from dataclasses import replace

        seen: set[Key] = set()
        for item in self._items():
            new = tuple(query for query in item.queries if item.key(query) not in seen)
            seen.update(item.key(query) for query in new)
            if new:
                yield item if new == item.queries else replace(item, queries=new)

    def _items(self) -> Iterator[Item]:
        from molmo_point.count_runs.videos import video_items

        for part in self.parts:
            if isinstance(part, Video):
                yield from video_items(part.name, part.path, self.queries, part.every)
            else:
                yield part


@dataclass(frozen=True)
class Video:
    """A video with the frames that are counted."""

    name: str
    path: str
    every: Every
    frames: int


def is_special(word: str) -> bool:
    """Whether a word names what only a run into a folder takes: a table, a list or a video."""
    from molmo_point.count_runs.videos import is_video

    is_file = os.path.isfile(word)
    return is_list(word) or (is_file and (is_table_name(word) or is_video(word)))


def is_list(word: str) -> bool:
    """Whether a word is @FILE, a list of paths."""
    return word.startswith("@") and not os.path.exists(word)


def is_table_name(word: str) -> bool:
    """Whether a file is taken for a table, by its name."""
    return Path(word).suffix.lower() in TABLES


def collect_counting(
    words: Sequence[str],
    queries: Sequence[str],
    *,
    recursive: bool,
    every: Every | None,
    columns: Columns,
) -> Counting:
    """Find everything that the words name.

    Raises:
        UsageError: A word names nothing, a table lacks a column, or there is no query for something.
    """
    from molmo_point.count_runs.tables_in import table_items
    from molmo_point.count_runs.videos import is_video

    found = Counting(tuple(dict.fromkeys(queries)), every)
    for word in words:
        if is_list(word):
            for line in _lines(word[1:]):
                _add_file(found, line)
        elif os.path.isfile(word) and is_table_name(word):
            found.parts += table_items(
                word, queries, image_column=columns.image, query_column=columns.query
            )
        elif os.path.isfile(word) and is_video(word):
            _add_file(found, word)
        else:
            _add_images(found, word, recursive)
    if not found.parts:
        raise ImageError("there is nothing to count: the list is empty")
    return found


def _add_images(found: Counting, word: str, recursive: bool) -> None:
    videos = videos_in(word, recursive) if found.every is not None else []
    try:
        again = stdin_command("count", found.queries)
        images = collect_images([word], recursive=recursive, again=again)
    except ImageError:
        if not videos:
            raise
        images = CollectedImages()
    found.parts += [_item(image, _needed(found.queries, image.name)) for image in images.images]
    for path in videos:
        _add_file(found, path)
    found.skipped += [
        (name, reason) for name, reason in images.skipped if name not in map(printable, videos)
    ]


def _add_file(found: Counting, path: str) -> None:
    from molmo_point.count_runs.items import file_item
    from molmo_point.count_runs.videos import frame_count, is_video

    name = printable(path)
    queries = _needed(found.queries, name)
    if not (is_video(path) and os.path.isfile(path)):
        found.parts.append(file_item(name, path, queries))
        return
    if found.every is None:
        raise UsageError(
            f"{name} is a video: say which frames to count, --every 30 (frames) or --every 2s (seconds)"
        )
    found.parts.append(Video(name, path, found.every, frame_count(path, found.every)))


def _item(image: InputImage, queries: tuple[str, ...]) -> Item:
    from molmo_point.count_runs.items import data_item, file_item

    if image.path is None:
        assert isinstance(image.source, (str, bytes))  # collect_images reads no frames
        return data_item(image.name, image.source, queries)
    return file_item(image.name, str(image.source), queries)


def _needed(queries: tuple[str, ...], name: str) -> tuple[str, ...]:
    if not queries:
        raise UsageError(f"there is no query for {name}: add --query")
    return queries


def _lines(path: str) -> list[str]:
    try:
        text = read_text(path, errors="surrogateescape")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"the list {printable(path)} cannot be read: {reason}") from error
    # Not splitlines: names of files may contain the other line breaks of Unicode.
    lines = (line.strip() for line in text.split("\n"))
    return [line for line in lines if line and not line.startswith("#")]
