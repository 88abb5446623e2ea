"""Rows of Parquet files, as Hugging Face's data sets hold them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from molmo_point.errors import UsageError
from molmo_point.install import import_failure

BATCH = 16
"""Rows that are in memory at a time: some hold an image and a mask as nested lists."""


def _pyarrow() -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise import_failure(error, "pyarrow", "count", "Reading Parquet files") from error
    return pyarrow.parquet


def parquet_columns(path: Path) -> frozenset[str]:
    """Return the names of a file's columns.

    Raises:
        MissingExtra: pyarrow is not installed.
        UsageError: The file cannot be read.
    """
    parquet = _pyarrow()
    try:
        return frozenset(parquet.read_schema(path).names)
    except Exception as error:
        raise UsageError(f"the data {path} cannot be read as Parquet: {error}") from error


def parquet_rows(paths: Sequence[Path]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (name, row) of each row, in order; the name says the file and the number from 0.

    Raises:
        MissingExtra: pyarrow is not installed.
        UsageError: A file cannot be read.
    """
    parquet = _pyarrow()
    for path in paths:
        number = 0
        try:
            for batch in parquet.ParquetFile(path).iter_batches(BATCH):
                for row in batch.to_pylist():
                    yield f"{path.name}:{number}", row
                    number += 1
        except (OSError, ValueError, TypeError) as error:
            raise UsageError(f"the data {path} cannot be read as Parquet: {error}") from error
