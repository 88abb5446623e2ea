"""CSV tables of points, of this package and of others, to pointings."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, Union

from molmo_point.convert.reading import Converted, Findings, Json, side, size_of
from molmo_point.convert.table import COLUMNS
from molmo_point.errors import UsageError
from molmo_point.points import Pointing, Status
from molmo_point.text_files import read_text

Source = Union[str, "os.PathLike[str]", Iterable[Mapping[str, Any]]]

_NUMBERS = frozenset(("x", "y", "x_px", "y_px", "score", "width", "height"))
_DECIMAL_COMMA = re.compile(r"\s*[-+]?\d+,\d+\s*")

_INCOMPLETE = (Status.TRUNCATED, Status.MALFORMED, Status.PENDING)


def from_csv(
    source: Source, *, query: str | None = None, image_size: tuple[int, int] | None = None
) -> Converted:
    """Make pointings of a table with one row for each point; the inverse of `to_csv` and `to_rows`.

    Rows with the same image, query, model and stamp are one answer. Read are the columns x and y (0-1), or x_px and y_px
    (pixels); image, query, label, score, status, model, stamp_ns, width and height where they are there; others are left out. A
    row without a place says that the image has no points, or with its status why they are not known. Standard
    deviations are not read: a covariance has three numbers.

    Args:
        source: A file's path as a `Path`, the text itself (separated by commas, tabs, or semicolons, with which numbers may
            have decimal commas), or dictionaries (`to_rows`, `csv.DictReader`).
        query: What the points show, where there is no such column.
        image_size: (width, height) in pixels, where there are no such columns.

    Returns:
        The pointings, in the order of their first rows; `skipped` names every row that was not read, with its number from 1 (the
        header is not counted). A pointing of which rows were skipped is `malformed`.

    Raises:
        UsageError: The file cannot be read, has no columns of places, or no row can be read.
    """
    answers: dict[tuple[Any, ...], _Answer] = {}
    report = Findings()
    rows = 0
    for number, row in enumerate(_rows(source), start=1):
        rows += 1
        name = str(row.get("image") or "")
        try:
            size = _size(row, image_size)
            asked = _text(row, "query") or query
            if asked is None:
                raise UsageError("expected a column 'query', or query=")
        except UsageError as error:
            report.skipped.extend(_skipped(name, number, error))
            continue
        key = (name, asked, _text(row, "model"), _text(row, "stamp_ns"), size)
        answer = answers.setdefault(key, _Answer(name, asked, size, row))
        answer.read(number, row)
    skipped = report.skipped + [each for a in answers.values() for each in a.findings.skipped]
    if rows and not any(answer.whole for answer in answers.values()):
        raise UsageError(
            f"no row can be read; {skipped[0] if skipped else 'expected columns x and y'}"
        )
    return Converted([answer.pointing() for answer in answers.values()], skipped)


class _Answer:
    """The rows of one answer."""

    def __init__(self, name: str, query: str, size: tuple[int, int], first: Json) -> None:
        self.findings = Findings(name)
        self.whole = False
        """Whether any row was read."""
        self._query = query
        self._size = size
        self._first = first
        self._status: Status | None = None

    def read(self, number: int, row: Json) -> None:
        """Add a row."""
        try:
            status = _text(row, "status")
            if status is not None:
                self._status = _known(status)
            place = _place(row, self._size)
            if place is not None:
                score = _number(row, "score")
                label = _text(row, "label") or self._query
                self.findings.add(*place, label, score, number)
            self.whole = True
        except UsageError as error:
            self.findings.skip(number, error)

    def pointing(self) -> Pointing:
        """Return the answer."""
        model = _text(self._first, "model") or ""
        pointing = self.findings.pointing(self._query, self._size, model)
        if not self.findings.incomplete and self._status in _INCOMPLETE:
            pointing = pointing.replace(status=self._status)
        stamp = _text(self._first, "stamp_ns")
        return pointing.replace(
            frame_id=self.findings.file or None,
            stamp_ns=int(stamp) if stamp is not None and stamp.isdecimal() else None,
        )


def _rows(source: Source) -> Iterable[Json]:
    """Yield rows with lower-case column names and without the fields that are empty."""
    if isinstance(source, os.PathLike):
        try:
            text = read_text(source)
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"{source} cannot be read as UTF-8 or UTF-16 text: {error}"
            ) from error
        source = text
    if isinstance(source, str):
        # Spreadsheets write semicolons where the comma is the decimal sign, and tabs when they are copied from.
        header = source.lstrip().partition("\n")[0]
        delimiter = max(",;\t", key=header.count)
        reader = csv.DictReader(
            io.StringIO(source.lstrip("\ufeff"), newline=""), delimiter=delimiter
        )
        columns = {str(name).strip().lower() for name in reader.fieldnames or ()}
        if not ({"x", "y"} <= columns or {"x_px", "y_px"} <= columns):
            raise UsageError(
                f"expected columns x and y (0-1) or x_px and y_px (pixels), got {sorted(columns)[:12]}; "
                f"to_csv writes {', '.join(COLUMNS)}"
            )
        rows: Iterable[Mapping[str, Any]] = (
            map(_decimal_points, reader) if delimiter == ";" else reader
        )
    else:
        rows = source
    try:
        yield from map(_filled, rows)
    except csv.Error as error:
        raise UsageError(f"expected a CSV table: {error}") from error


def _decimal_points(row: Mapping[str, Any]) -> Json:
    """Write 1,5 as 1.5. Elsewhere than between semicolons the comma may as well stand between thousands."""
    return {
        name: value.replace(",", ".")
        if str(name).strip().lower() in _NUMBERS
        and isinstance(value, str)
        and _DECIMAL_COMMA.fullmatch(value)
        else value
        for name, value in row.items()
    }


def _filled(row: Mapping[str, Any]) -> Json:
    return {
        str(name).strip().lower(): value
        for name, value in row.items()
        if name is not None and value is not None and str(value).strip() != ""
    }


def _size(row: Json, image_size: tuple[int, int] | None) -> tuple[int, int]:
    if "width" in row or "height" in row:
        numbers = {name: _number(row, name) for name in ("width", "height")}
        return side(numbers, "width"), side(numbers, "height")
    if image_size is None:
        raise UsageError("expected columns 'width' and 'height', or image_size=")
    return size_of(image_size)


def _place(row: Json, size: tuple[int, int]) -> tuple[float, float] | None:
    """Return the normalized place of a row; None for a row without one."""
    for names, scale in ((("x", "y"), (1, 1)), (("x_px", "y_px"), size)):
        if any(name in row for name in names):
            x, y = (_number(row, name) for name in names)
            if x is None or y is None:
                raise UsageError(f"expected both {names[0]} and {names[1]}, got one of them")
            return x / scale[0], y / scale[1]
    return None


def _number(row: Json, name: str) -> float | None:
    value = row.get(name)
    if value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        raise UsageError(f"expected a number as {name!r}, got {str(value)[:40]!r}") from None


def _text(row: Json, name: str) -> str | None:
    value = row.get(name)
    return None if value is None else str(value)


def _known(status: str) -> Status:
    try:
        return Status(status)
    except ValueError:
        raise UsageError(
            f"expected a status of {', '.join(Status)}, got {status[:40]!r}"
        ) from None


def _skipped(name: str, number: int, error: UsageError) -> list[Any]:
    findings = Findings(name)
    findings.skip(number, error)
    return findings.skipped
