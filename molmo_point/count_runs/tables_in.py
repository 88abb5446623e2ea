"""CSV and Parquet files that list images and, for each, a query."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from molmo_point.arguments import check_query
from molmo_point.count_runs.items import Item, file_item
from molmo_point.errors import QueryError, UsageError
from molmo_point.install import import_failure

IMAGE_COLUMNS = ("image", "file", "path", "file_name", "filename")
QUERY_COLUMNS = ("query", "queries", "prompt")


def table_items(
    path: str,
    queries: Sequence[str],
    *,
    image_column: str | None = None,
    query_column: str | None = None,
) -> list[Item]:
    """Return one item for each row of a table. Paths in it are relative to its folder.

    Args:
        queries: Asked about every image; a query column comes on top. One of the two is needed.
        image_column: None = the first of IMAGE_COLUMNS that is there.
        query_column: None = the first of QUERY_COLUMNS that is there, if any.

    Raises:
        UsageError: The table cannot be read, lacks a column, or a row has no image or no query; with its number.
    """
    rows = list(_rows(path))
    if not rows:
        raise UsageError(
            f"the table {path} has no rows: expected a header and a row for each image"
        )
    names = list(rows[0])
    image_name = _column(path, names, image_column, IMAGE_COLUMNS, "--image-column")
    query_name = query_column
    if query_column is not None or not queries:
        query_name = _column(path, names, query_column, QUERY_COLUMNS, "--query-column")
    folder = Path(path).parent
    items: dict[tuple[str, tuple[str, ...]], Item] = {}
    for number, row in enumerate(rows, start=2):
        name = _text(row[image_name])
        if not name:
            raise UsageError(f"{path}, row {number}: the column {image_name!r} is empty")
        asked = list(queries)
        if query_name is not None:
            try:
                asked.append(check_query(_text(row[query_name])))
            except QueryError as error:
                raise UsageError(f"{path}, row {number}, column {query_name!r}: {error}") from None
        item = file_item(name, os.path.join(folder, name), tuple(dict.fromkeys(asked)))
        items.setdefault((item.identity, item.queries), item)
    return list(items.values())


def _rows(path: str) -> Iterator[dict[str, Any]]:
    if Path(path).suffix.lower() == ".parquet":
        yield from _parquet_rows(path)
        return
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            delimiter = "\t" if Path(path).suffix.lower() == ".tsv" else ","
            reader = csv.DictReader(file, delimiter=delimiter, restval="")
            for row in reader:
                row.pop(None, None)  # type: ignore[call-overload]
                yield row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(
            f"the table {path} cannot be read: {error}; expected CSV in UTF-8"
        ) from error


def _parquet_rows(path: str) -> Iterator[dict[str, Any]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise import_failure(error, "pyarrow", "count", "Reading Parquet") from error
    try:
        yield from pyarrow.parquet.read_table(path).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise UsageError(f"the table {path} cannot be read as Parquet: {error}") from error


def _column(
    path: str, names: Sequence[str], given: str | None, known: Sequence[str], option: str
) -> str:
    """Return the column that is asked for, or the first known one.

    Raises:
        UsageError: It is not there.
    """
    wanted = [given] if given is not None else list(known)
    found = next((name for name in wanted if name in names), None)
    if found is None:
        raise UsageError(
            f"the table {path} has no column {' or '.join(map(repr, wanted))}, it has {', '.join(map(repr, names))}: "
            f"name the column with {option}"
        )
    return found


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()
