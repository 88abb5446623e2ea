"""Labelled questions from a table with one row for each point, as `to_csv` writes it."""

from __future__ import annotations

from pathlib import Path

from molmo_point.convert import from_csv
from molmo_point.datasets.converted import labelled_data
from molmo_point.datasets.labelled import LabelledData


def read_points_table(path: Path, images: Path | None = None) -> LabelledData:
    """Read a table; columns as of `from_csv`.

    Args:
        images: Folder of the images; None = that of the file.

    Returns:
        The items, and the rows that cannot be used.

    Raises:
        UsageError: The file cannot be read, or has no columns of places.
    """
    folder = path.parent if images is None else images
    converted = from_csv(path)
    return labelled_data(converted, converted.skipped, path.name, lambda name: folder / name)
