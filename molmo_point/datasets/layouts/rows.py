"""Rows of data sets, checked one by one, and the images and masks that they name."""

from __future__ import annotations

import contextlib
import unicodedata
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from molmo_point.convert import Skipped
from molmo_point.datasets.labelled import LabelledData, LabelledItem
from molmo_point.errors import UsageError


class Row(BaseModel):
    """A row of a data set: fields that are not read may be there."""

    model_config = ConfigDict(extra="ignore")


RowType = TypeVar("RowType", bound=Row)


def reason(error: Exception) -> str:
    """Return why a row cannot be used, in one line."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        return f"{place}: {first['msg']}" if place else first["msg"]
    return str(error)


def checked_rows(
    rows: Iterable[tuple[str, Any]],
    kind: type[RowType],
    make: Callable[[str, RowType], Iterable[LabelledItem]],
    files: Sequence[Path],
) -> LabelledData:
    """Return the items of rows; a row that cannot be used is named and costs no other.

    Args:
        rows: ("file:number", the row as JSON or Parquet gives it).
        kind: What a row must be.
        make: Returns the items of a row, given its name.
        files: What the rows were read from.
    """
    items: list[LabelledItem] = []
    skipped: list[Skipped] = []
    for name, row in rows:
        try:
            items += make(name, kind.model_validate(row))
        except (UsageError, ValidationError, ValueError) as error:
            file, _, number = name.rpartition(":")
            skipped.append(Skipped(file, number, reason(error)))
    return LabelledData(tuple(items), tuple(skipped), files=tuple(files))


def numbered(file: Path, entries: Iterable[Any]) -> list[tuple[str, Any]]:
    """Return the entries of a JSON list with their names, numbers from 0."""
    return [(f"{file.name}:{number}", entry) for number, entry in enumerate(entries)]


class FileFinder:
    """Files by name, in folders and in the archives (.zip) beside them.

    Names are compared in Unicode's composed form, and those of archives also as they were before an old program wrote them.

    Args:
        places: Folders, searched in order, each with its subfolders; an archive of the same name (`masks.zip` for `masks`) stands
            for a folder that is not there.
    """

    def __init__(self, *places: Path) -> None:
        self._places = places
        self._stems: dict[str, Path] | None = None
        self._archived: dict[str, tuple[Path, str]] = {}
        self.archives = [
            place.with_suffix(".zip")
            for place in places
            if not place.is_dir() and place.with_suffix(".zip").is_file()
        ]
        for archive in self.archives:
            self._index(archive)

    def _index(self, archive: Path) -> None:
        try:
            with zipfile.ZipFile(archive) as opened:
                for entry in opened.infolist():
                    for name in _spellings(entry):
                        self._archived.setdefault(name, (archive, entry.filename))
                        self._archived.setdefault(
                            name.rsplit("/", 1)[-1], (archive, entry.filename)
                        )
        except (OSError, zipfile.BadZipFile) as error:
            raise UsageError(f"the archive {archive} cannot be read: {error}") from error

    def find(self, *names: str) -> Path | bytes:
        """Return the file of the first name that is there, or its bytes where it is in an archive.

        Args:
            names: Paths below a place, or file names.

        Raises:
            UsageError: There is none.
        """
        for name in names:
            plain = unicodedata.normalize("NFC", name)
            for place in self._places:
                for spelt in (name, plain, unicodedata.normalize("NFD", name)):
                    if _below(place, spelt):
                        return place / spelt
            found = self._archived.get(plain) or self._archived.get(plain.rsplit("/", 1)[-1])
            if found is not None:
                with zipfile.ZipFile(found[0]) as opened:
                    return opened.read(found[1])
        raise UsageError(f"there is no image {names[0]} in {self._named()}")

    def data(self, *names: str) -> bytes:
        """Return the bytes of a file, see `find`."""
        found = self.find(*names)
        return found if isinstance(found, bytes) else found.read_bytes()

    def by_stem(self, *stems: str) -> Path:
        """Return the file whose name, with or without its extension, is one of these.

        Raises:
            UsageError: There is none.
        """
        if self._stems is None:
            self._stems = {}
            for place in self._places:
                for path in sorted(place.rglob("*")) if place.is_dir() else ():
                    if path.is_file():
                        self._stems.setdefault(path.name, path)
                        self._stems.setdefault(path.stem, path)
        for stem in stems:
            if stem in self._stems:
                return self._stems[stem]
        raise UsageError(f"there is no image {' or '.join(stems)} in {self._named()}")

    def _named(self) -> str:
        return " or ".join(map(str, dict.fromkeys(self._places)))


def _below(place: Path, name: str) -> bool:
    """Return whether a name leads to a file inside of a folder."""
    steps = Path(name)
    return not steps.is_absolute() and ".." not in steps.parts and (place / steps).is_file()


def _spellings(entry: zipfile.ZipInfo) -> list[str]:
    names = [entry.filename]
    if not entry.flag_bits & 0x800:
        # Without that flag Python reads names as cp437; most programs wrote UTF-8 all the same.
        with contextlib.suppress(UnicodeEncodeError, UnicodeDecodeError):
            names.append(entry.filename.encode("cp437").decode("utf-8"))
    return [unicodedata.normalize("NFC", name) for name in names]
