"""A layout of labelled data, and data that are opened once to find out which layout they have."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from molmo_point.datasets.labelled import LabelledData
from molmo_point.datasets.layouts.parquet import parquet_columns
from molmo_point.errors import UsageError
from molmo_point.text_files import read_text


@dataclass(frozen=True)
class Layout:
    """How data of one kind lie on disk.

    Attributes:
        name: As --layout takes it.
        holds: What it is, in a few words.
        source: Where its owner describes it.
        matches: Returns whether opened data have it; cheap.
        read: Returns the items of opened data, the images being in a folder (None = that of the data).
    """

    name: str
    holds: str
    source: str
    matches: Callable[[Opened], bool]
    read: Callable[[Opened, Path | None], LabelledData]


class Opened:
    """Labelled data: a file, or a folder. What tells the layout is read once, when it is asked for.

    Args:
        path: The file or folder.

    Raises:
        UsageError: There is none. The attributes raise it for files that cannot be read.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise UsageError(f"the data {path} cannot be read: there is no such file or folder")
        self.path = path
        self.folder = path if path.is_dir() else path.parent
        self._json: dict[Path, Any] = {}

    @property
    def suffix(self) -> str:
        """Of a file, in lower case; "/" for a folder."""
        return "/" if self.path.is_dir() else self.path.suffix.lower()

    def files(self, pattern: str) -> list[Path]:
        """Return the files of a folder that match, sorted; the file itself where it does and a file was given."""
        if self.suffix == "/":
            return sorted(path for path in self.path.glob(pattern) if path.is_file())
        return [self.path] if self.path.match(Path(pattern).name) else []

    def json(self, path: Path | None = None) -> Any:
        """Return the JSON in a file, by default in that which was opened.

        Raises:
            UsageError: It cannot be read.
        """
        path = self.path if path is None else path
        if path not in self._json:
            try:
                self._json[path] = json.loads(read_text(path))
            except (OSError, ValueError, RecursionError) as error:
                raise UsageError(f"the data {path} cannot be read: {error}") from error
        return self._json[path]

    def lists(self, pattern: str, *keys: str) -> list[Path]:
        """Return the JSON files that match and hold lists of objects whose first has these keys."""
        return [path for path in self.files(pattern) if set(keys) <= _keys(self.json(path))]

    @cached_property
    def parquet(self) -> tuple[Path, ...]:
        """The Parquet files, directly in the folder, in its `data/`, or in folders of its splits; or the file itself."""
        if self.suffix != "/":
            return (self.path,) if self.suffix == ".parquet" else ()
        return (*self.files("*.parquet"), *self.files("*/*.parquet"))

    @cached_property
    def columns(self) -> frozenset[str]:
        """Names of the columns of the first Parquet file; empty where there is none."""
        return parquet_columns(self.parquet[0]) if self.parquet else frozenset()


def _keys(value: Any) -> set[str]:
    first = value[0] if isinstance(value, list) and value else None
    return set(first) if isinstance(first, dict) else set()
