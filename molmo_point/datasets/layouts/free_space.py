"""Layouts of Point-Bench, Where2Place, RefSpatial-Bench and RoboSpatial-Home: points that must lie in a mask or polygon.

As the owners' code reads them:

    Point-Bench       pointarena/pointarena, model_evaluator.py (dcd82f2): data.json with image_filename, user_input,
                      category, count, mask_filename; images/<category>/, masks/<category>/, or the data set's
                      selected_images.zip and
                      selected_masks.zip; a pixel of a mask counts where it is above 127
    Where2Place       wentaoyuan/RoboPoint, robopoint/eval/summarize_vqa.py (adbee8d): point_questions.jsonl, images/,
                      masks/NN.jpg by the number of the question; as Parquet: huggingface.co/datasets/FlagEval/Where2Place
    RefSpatial-Bench  Zhoues/RoboRefer, Evaluation/ (d97a995): <Location|Placement|Unseen>/question.json with rgb_path, mask_path,
                      object, prompt; as Parquet: huggingface.co/datasets/BAAI/RefSpatial-Bench; a pixel counts above 0
    RoboSpatial-Home  chanhee-luke/RoboSpatial-Eval, download_benchmark.py (19f04a5): annotations.json with img, question,
                      answer (a polygon as text, or yes and no), category; as Parquet:
                      huggingface.co/datasets/chanhee-luke/RoboSpatial-Home
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Union

from pydantic import Field

from molmo_point.datasets.image_size import ImageSizes
from molmo_point.datasets.labelled import LabelledData, LabelledItem, Mode
from molmo_point.datasets.layouts.counting import ImageBytes
from molmo_point.datasets.layouts.layout import Layout, Opened
from molmo_point.datasets.layouts.parquet import parquet_rows
from molmo_point.datasets.layouts.rows import FileFinder, Row, checked_rows, numbered
from molmo_point.datasets.masks import StoredMask, read_mask
from molmo_point.datasets.regions import Polygons
from molmo_point.errors import UsageError
from molmo_point.text_files import read_text

File = Union[str, ImageBytes]


class _PointBench(Row):
    image_filename: str = Field(min_length=1)
    user_input: str = Field(min_length=1)
    category: str = Field(min_length=1)
    mask_filename: str = Field(min_length=1)
    count: int | None = Field(default=None, ge=1)


class _Where2Place(Row):
    image: File
    question: str = Field(min_length=1)
    mask: File


class _RefSpatial(Row):
    object: str = Field(min_length=1)
    image: File
    mask: File
    category: str = ""
    step: int | None = None


class _RoboSpatial(Row):
    img: File
    question: str = Field(min_length=1)
    answer: str = Field(min_length=1)
    category: str = ""


class _Files:
    """The images and masks of a folder, or those inside of rows."""

    def __init__(self, *places: Path) -> None:
        self._finder = FileFinder(*places)
        self._sizes = ImageSizes()
        self.read: list[Path] = list(self._finder.archives)

    def image(self, file: File, *others: str) -> Path | bytes:
        """Return an image of a row, known to be readable where it is a file.

        Raises:
            UsageError: It is not there, or no image.
        """
        found = self._finder.find(file, *others) if isinstance(file, str) else file.data
        if isinstance(found, Path):
            self._sizes.of(found)
        return found

    def mask(self, file: File, *others: str, above: int = 0, levels: bool = False) -> StoredMask:
        """Return a mask of a row.

        Raises:
            UsageError: It is not there, cannot be read, or is empty.
        """
        found = self._finder.find(file, *others) if isinstance(file, str) else file.data
        if isinstance(found, Path):
            self.read.append(found)
            found = found.read_bytes()
        return read_mask(found, above=above, keep_levels=levels)


def _point_bench(data: Opened, images: Path | None) -> LabelledData:
    folders = ("images", "selected_images", "masks", "selected_masks")
    at = images or data.folder
    files = _Files(*(at / name for name in folders))
    table = data.lists("data.json", *_POINT_BENCH)

    def items(name: str, row: _PointBench) -> Iterator[LabelledItem]:
        counting = row.category == "counting"
        if counting and row.count is None:
            raise UsageError("expected a count for a question of the category counting")
        mask = files.mask(f"{row.category}/{row.mask_filename}", row.mask_filename, above=127)
        mode: Mode = "count" if counting else "point"
        yield LabelledItem(
            files.image(f"{row.category}/{row.image_filename}", row.image_filename),
            row.user_input,
            mode=mode,
            regions=(mask,),
            count=row.count if counting else None,
            category=row.category,
            source=name,
        )

    # Entries without a mask are no questions of the benchmark: its own code passes over them.
    entries = [
        row
        for file in table
        for row in numbered(file, data.json(file))
        if not isinstance(row[1], dict) or "mask_filename" in row[1]
    ]
    return _with_files(checked_rows(entries, _PointBench, items, table), files)


def _where2place(data: Opened, images: Path | None) -> LabelledData:
    at = images or data.folder
    files = _Files(at / "images", at / "masks", at)

    def items(name: str, row: _Where2Place) -> Iterator[LabelledItem]:
        mask = files.mask(row.mask, above=127, levels=True)
        yield LabelledItem(files.image(row.image), row.question, regions=(mask,), source=name)

    if data.parquet:
        rows = parquet_rows(data.parquet)
        return _with_files(checked_rows(rows, _Where2Place, items, data.parquet), files)
    table = data.files("point_questions.jsonl")
    return _with_files(
        checked_rows(_numbered_questions(table[0]), _Where2Place, items, table), files
    )


def _numbered_questions(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield the lines of Where2Place with their masks, which are named by the number of the line."""
    try:
        lines = [line for line in read_text(path).split("\n") if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the data {path} cannot be read: {error}") from error
    for number, line in enumerate(lines):
        try:
            fields = json.loads(line)
            row = {
                "image": fields["image"],
                "question": fields["text"],
                "mask": f"{number:02d}.jpg",
            }
        except (ValueError, KeyError, TypeError):
            row = {}
        yield f"{path.name}:{number}", row


def _ref_spatial(data: Opened, images: Path | None) -> LabelledData:
    files = _Files(images or data.folder)

    def items(name: str, row: _RefSpatial) -> Iterator[LabelledItem]:
        yield LabelledItem(
            files.image(row.image),
            row.object,
            regions=(files.mask(row.mask),),
            category=row.category or name.split("-")[0].split(".")[0],
            source=name,
        )

    if data.parquet:
        rows: Any = parquet_rows(data.parquet)
        return _with_files(checked_rows(rows, _RefSpatial, items, data.parquet), files)
    table = _ref_spatial_tables(data)
    rows = [
        (f"{file.parent.name}/{name}", _with_paths(entry, file.parent.relative_to(data.folder)))
        for file in table
        for name, entry in numbered(file, data.json(file))
    ]
    return _with_files(checked_rows(rows, _RefSpatial, items, table), files)


def _ref_spatial_tables(data: Opened) -> list[Path]:
    return [
        *data.lists("question.json", *_REF_SPATIAL),
        *data.lists("*/question.json", *_REF_SPATIAL),
    ][: None if data.suffix == "/" else 1]


def _with_paths(entry: Any, folder: Path) -> Any:
    if not isinstance(entry, dict):
        return entry
    paths = {
        new: str(folder / str(entry[old]))
        for new, old in (("image", "rgb_path"), ("mask", "mask_path"))
        if old in entry
    }
    return {"category": str(folder) if str(folder) != "." else "", **entry, **paths}


_SUFFIX = "Your answer should be formatted as"
"""Begins the sentence about tuples, which every question of RoboSpatial ends with: this program reads points in any format."""


def _robo_spatial(data: Opened, images: Path | None) -> LabelledData:
    files = _Files(images or data.folder)

    def items(name: str, row: _RoboSpatial) -> Iterator[LabelledItem]:
        image, question = files.image(row.img), row.question.partition(_SUFFIX)[0].strip()
        if row.answer.strip().lower() in ("yes", "no"):
            yield LabelledItem(
                image, question, mode="text", text=row.answer, category=row.category, source=name
            )
            return
        yield LabelledItem(
            image,
            question,
            regions=(Polygons((_polygon(row.answer),)),),
            category=row.category,
            source=name,
        )

    if data.parquet:
        rows: Any = parquet_rows(data.parquet)
        return _with_files(checked_rows(rows, _RoboSpatial, items, data.parquet), files)
    table = data.lists("*.json", *_ROBO_SPATIAL)
    rows = [row for file in table for row in numbered(file, data.json(file))]
    return _with_files(checked_rows(rows, _RoboSpatial, items, table), files)


def _polygon(text: str) -> tuple[tuple[float, float], ...]:
    """Return the corners of an answer, `norm`.

    Raises:
        UsageError: It is not three or more pairs of numbers.
    """
    try:
        corners = tuple((float(x), float(y)) for x, y in ast.literal_eval(text))
    except (ValueError, TypeError, SyntaxError, RecursionError):
        corners = ()
    if len(corners) < 3:
        raise UsageError(f"expected an answer of three or more corners (x, y), got {text[:60]!r}")
    return corners


def _with_files(data: LabelledData, files: _Files) -> LabelledData:
    return LabelledData(data.items, data.skipped, files=(*data.files, *dict.fromkeys(files.read)))


_POINT_BENCH = ("image_filename", "user_input", "category")
_REF_SPATIAL = ("rgb_path", "mask_path", "object")
_ROBO_SPATIAL = ("img", "question", "answer")


POINT_BENCH = Layout(
    "point-bench",
    "Point-Bench of PointArena (data.json, images and masks as folders or archives)",
    "https://huggingface.co/datasets/PointArena/pointarena-data",
    lambda data: bool(data.lists("data.json", *_POINT_BENCH)),
    _point_bench,
)
WHERE2PLACE = Layout(
    "where2place",
    "Where2Place (point_questions.jsonl with folders, or Parquet)",
    "https://huggingface.co/datasets/wentao-yuan/where2place",
    lambda data: (
        bool(data.files("point_questions.jsonl")) or {"question", "image", "mask"} <= data.columns
    ),
    _where2place,
)
REF_SPATIAL = Layout(
    "refspatial",
    "RefSpatial-Bench (question.json with folders, or Parquet)",
    "https://huggingface.co/datasets/BAAI/RefSpatial-Bench",
    lambda data: {"object", "image", "mask"} <= data.columns or bool(_ref_spatial_tables(data)),
    _ref_spatial,
)
ROBO_SPATIAL = Layout(
    "robospatial",
    "RoboSpatial-Home, its questions about free space (annotations.json with images, or Parquet)",
    "https://huggingface.co/datasets/chanhee-luke/RoboSpatial-Home",
    lambda data: (
        {"img", "question", "answer"} <= data.columns or bool(data.lists("*.json", *_ROBO_SPATIAL))
    ),
    _robo_spatial,
)
