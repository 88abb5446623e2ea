"""Layouts of PixMo-Points, PixMo-Count, CountBenchQA and TallyQA.

Columns as in the owners' code that reads them:

    PixMo-Points  huggingface.co/datasets/allenai/pixmo-points and pixmo-points-eval; allenai/molmo2, olmo/data/pixmo_datasets.py
                  (`PixMoPointsEval`): points are percent of the image, masks (H, W) one for each point
    PixMo-Count   huggingface.co/datasets/allenai/pixmo-count; the same file (`PixMoCount`)
    CountBenchQA  huggingface.co/datasets/vikhyatk/CountBenchQA: image, question, number; lmms-eval, tasks/countbenchqa
    TallyQA       github.com/manoja328/TallyQA_dataset, README.md: answer, image, question, issimple

PixMo's files hold addresses of images, not images. Files are looked for by the SHA-256 of the address, which is how
olmo/data/dataset_builders/download_urls.py names them, by `image_sha256`, and by the last part of the address.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Union
from urllib.parse import unquote, urlsplit

import numpy as np
from pydantic import Field

from molmo_point.convert.reading import inside
from molmo_point.datasets.image_size import ImageSizes
from molmo_point.datasets.labelled import LabelledData, LabelledItem, Mode
from molmo_point.datasets.layouts.layout import Layout, Opened
from molmo_point.datasets.layouts.parquet import parquet_rows
from molmo_point.datasets.layouts.rows import FileFinder, Row, checked_rows, numbered
from molmo_point.datasets.masks import StoredMask
from molmo_point.errors import UsageError


class ImageBytes(Row):
    """An image as Hugging Face's data sets hold it."""

    data: bytes = Field(alias="bytes", min_length=1)


class _PixMo(Row):
    image_url: str = Field(min_length=1)
    image_sha256: str = ""
    label: str = Field(min_length=1)
    count: int | None = Field(default=None, ge=0)
    points: Any = None
    masks: Any = None
    collection_method: str = ""


class _CountBench(Row):
    image: ImageBytes
    question: str = Field(min_length=1)
    number: int = Field(ge=0)


class _Tally(Row):
    image: str = Field(min_length=1)
    question: str = Field(min_length=1)
    answer: int = Field(ge=0)
    issimple: bool | None = None
    question_id: Union[int, str] = ""


def _pixmo(data: Opened, images: Path | None) -> LabelledData:
    finder, sizes = FileFinder(images or data.folder), ImageSizes()

    def items(name: str, row: _PixMo) -> Iterator[LabelledItem]:
        address = urlsplit(row.image_url).path
        image = finder.by_stem(
            *filter(
                None,
                (
                    hashlib.sha256(row.image_url.encode()).hexdigest(),
                    row.image_sha256,
                    unquote(address).rsplit("/", 1)[-1],
                ),
            )
        )
        sizes.of(image)
        places = _places(row.points)
        regions = tuple(StoredMask(mask) for mask in _masks(row.masks))
        if regions and len(regions) != len(places):
            raise UsageError(
                f"expected a mask for each of {len(places)} points, got {len(regions)}"
            )
        mode: Mode = (
            "count" if row.masks is None and row.collection_method != "pointing" else "point"
        )
        if row.points is None and row.count is None:
            raise UsageError("expected points or a count, got neither")
        count = row.count if places is None or not places else None
        yield LabelledItem(
            image,
            row.label,
            tuple(places),
            mode,
            regions=regions,
            count=count or None,
            category=row.collection_method,
            source=name,
        )

    return checked_rows(parquet_rows(data.parquet), _PixMo, items, data.parquet)


def _places(points: Any) -> list[tuple[float, float]]:
    """Return points, percent in two shapes: a list of {x, y}, or {x: list, y: list}."""
    if isinstance(points, dict):
        points = [{"x": x, "y": y} for x, y in zip(points["x"], points["y"], strict=True)]
    return [
        (inside(float(point["x"]) / 100, "x"), inside(float(point["y"]) / 100, "y"))
        for point in points or ()
    ]


def _masks(masks: Any) -> list[np.ndarray[Any, np.dtype[np.bool_]]]:
    return [np.asarray(mask, dtype=bool) for mask in masks or ()]


def _countbench(data: Opened, _images: Path | None) -> LabelledData:
    def items(name: str, row: _CountBench) -> Iterator[LabelledItem]:
        yield LabelledItem(
            row.image.data,
            row.question,
            mode="count",
            count=row.number,
            category=f"{row.number} things",
            source=name,
        )

    return checked_rows(parquet_rows(data.parquet), _CountBench, items, data.parquet)


def _tally(data: Opened, images: Path | None) -> LabelledData:
    finder, sizes = FileFinder(images or data.folder), ImageSizes()

    def items(name: str, row: _Tally) -> Iterator[LabelledItem]:
        image = finder.find(row.image)
        if isinstance(image, Path):
            sizes.of(image)
        kind = "" if row.issimple is None else "simple" if row.issimple else "complex"
        yield LabelledItem(
            image, row.question, mode="count", count=row.answer, category=kind, source=name
        )

    files = data.lists("*.json", *_TALLY)
    rows = [row for file in files for row in numbered(file, data.json(file))]
    return checked_rows(rows, _Tally, items, files)


_PIXMO = {"image_url", "label"}
_TALLY = ("image", "question", "answer", "issimple")

PIXMO_POINTS = Layout(
    "pixmo-points",
    "PixMo-Points and its evaluation set (Parquet, images beside it)",
    "https://huggingface.co/datasets/allenai/pixmo-points-eval",
    lambda data: (
        {*_PIXMO, "points"} <= data.columns and bool({"masks", "collection_method"} & data.columns)
    ),
    _pixmo,
)
PIXMO_COUNT = Layout(
    "pixmo-count",
    "PixMo-Count (Parquet, images beside it)",
    "https://huggingface.co/datasets/allenai/pixmo-count",
    lambda data: (
        {*_PIXMO, "count"} <= data.columns and not {"masks", "collection_method"} & data.columns
    ),
    _pixmo,
)
COUNTBENCHQA = Layout(
    "countbenchqa",
    "CountBenchQA (Parquet)",
    "https://huggingface.co/datasets/vikhyatk/CountBenchQA",
    lambda data: {"image", "question", "number"} <= data.columns,
    _countbench,
)
TALLYQA = Layout(
    "tallyqa",
    "TallyQA (JSON, images beside it)",
    "https://github.com/manoja328/TallyQA_dataset",
    lambda data: bool(data.lists("*.json", *_TALLY)),
    _tally,
)
