"""Layouts of ScreenSpot, ScreenSpot-v2 and ScreenSpot-Pro: an instruction, and the box of the element to click.

As the owners' code reads them; boxes differ:

    ScreenSpot      njucckevin/SeeClick, pretrain/screenspot_test.py (0ef37ac): screenspot_<mobile|desktop|web>.json with
                    img_filename, instruction, bbox [left, top, width, height] in pixels, data_type, data_source;
                    as Parquet: huggingface.co/datasets/rootsautomation/ScreenSpot, bbox [left, top, right, bottom], 0-1
    ScreenSpot-v2   allenai/molmo2, olmo/data/academic_image_datasets.py (`ScreenSpotV2`), of OS-Copilot/ScreenSpot-v2:
                    screenspot_<...>_v2.json, images in screenspotv2_image/, boxes as in ScreenSpot's JSON
    ScreenSpot-Pro  likaixin2000/ScreenSpot-Pro-GUI-Grounding, eval_screenspot_pro.py (bd8bbbb): annotations/*.json with
                    img_filename, img_size, bbox [left, top, right, bottom] in pixels, instruction, application, group,
                    ui_type; images/.
                    An entry with "gt_type": "negative" asks for what is not there
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from molmo_point.datasets.image_size import ImageSizes
from molmo_point.datasets.labelled import LabelledData, LabelledItem
from molmo_point.datasets.layouts.counting import ImageBytes
from molmo_point.datasets.layouts.layout import Layout, Opened
from molmo_point.datasets.layouts.parquet import parquet_rows
from molmo_point.datasets.layouts.rows import FileFinder, Row, checked_rows, numbered
from molmo_point.errors import UsageError

Box = tuple[float, float, float, float]


class _Element(Row):
    img_filename: str = Field(min_length=1)
    instruction: str = Field(min_length=1)
    bbox: Box
    data_type: str = ""


class _Inline(Row):
    image: ImageBytes
    instruction: str = Field(min_length=1)
    bbox: Box
    data_type: str = ""
    data_source: str = ""


class _ProElement(Row):
    img_filename: str = Field(min_length=1)
    instruction: str = Field(min_length=1)
    bbox: Box | None = None
    img_size: tuple[int, int] | None = None
    application: str = ""
    group: str = ""
    ui_type: str = ""
    gt_type: Literal["positive", "negative"] = "positive"


def _item(
    image: Path | bytes, instruction: str, corners: Box, category: str, name: str
) -> LabelledItem:
    """Return the item of an element.

    Args:
        corners: (left, top, right, bottom), `norm`; what lies outside of the image is cut off.

    Raises:
        UsageError: Nothing of the box is inside of the image.
    """
    left, top, right, bottom = (min(max(value, 0.0), 1.0) for value in corners)
    if not (left < right and top < bottom):
        raise UsageError(
            f"expected a box inside of the image with left < right and top < bottom, got {[round(v, 4) for v in corners]} of 0-1"
        )
    box = (left, top, right, bottom)
    center = ((left + right) / 2, (top + bottom) / 2)
    return LabelledItem(
        image, instruction, (center,), boxes=(box,), category=category, source=name
    )


def _screen_spot(data: Opened, images: Path | None) -> LabelledData:
    at = images or data.folder
    files = [*data.lists("screenspot_*.json", *_ELEMENT)]
    finder = FileFinder(at, *(at / name for name in _IMAGES))
    sizes = ImageSizes()

    def items(name: str, row: _Element) -> Iterator[LabelledItem]:
        image = finder.find(row.img_filename)
        if isinstance(image, bytes):
            raise UsageError("expected images in a folder: unpack the archive")
        width, height = sizes.of(image)
        left, top, across, down = row.bbox
        corners = (left / width, top / height, (left + across) / width, (top + down) / height)
        platform = name.split("_")[1].split(".")[0]
        yield _item(image, row.instruction, corners, f"{platform} {row.data_type}".strip(), name)

    rows = [row for file in files for row in numbered(file, data.json(file))]
    return checked_rows(rows, _Element, items, files)


def _screen_spot_parquet(data: Opened, _images: Path | None) -> LabelledData:
    def items(name: str, row: _Inline) -> Iterator[LabelledItem]:
        platform = _PLATFORM.get(row.data_source, row.data_source)
        category = f"{platform} {row.data_type}".strip()
        yield _item(row.image.data, row.instruction, row.bbox, category, name)

    return checked_rows(parquet_rows(data.parquet), _Inline, items, data.parquet)


_PLATFORM = {
    **dict.fromkeys(("windows", "macos"), "desktop"),
    **dict.fromkeys(("ios", "android"), "mobile"),
    **dict.fromkeys(("gitlab", "shop", "forum", "tool"), "web"),
}
"""The platform of each `data_source`: the three files of SeeClick, in one table."""


def _screen_spot_pro(data: Opened, images: Path | None) -> LabelledData:
    files = _pro_files(data)
    root = data.folder.parent if data.folder.name == "annotations" else data.folder
    finder, sizes = FileFinder(images or root / "images"), ImageSizes()

    def items(name: str, row: _ProElement) -> Iterator[LabelledItem]:
        image = finder.find(row.img_filename)
        category = f"{row.group} {row.ui_type}".strip()
        if row.gt_type == "negative":
            yield LabelledItem(image, row.instruction, category=category, source=name)
            return
        if row.bbox is None:
            raise UsageError('expected a bbox: only an entry with "gt_type": "negative" has none')
        width, height = sizes.of(image) if isinstance(image, Path) else (row.img_size or (0, 0))
        if row.img_size and tuple(row.img_size) != (width, height):
            raise UsageError(
                f"the box is for {row.img_size[0]}x{row.img_size[1]} pixels, the image has {width}x{height}"
            )
        left, top, right, bottom = row.bbox
        corners = (left / width, top / height, right / width, bottom / height)
        yield _item(image, row.instruction, corners, category, name)

    rows = [row for file in files for row in numbered(file, data.json(file))]
    return checked_rows(rows, _ProElement, items, files)


def _pro_files(data: Opened) -> list[Path]:
    if data.suffix == "/":
        return [*data.lists("annotations/*.json", *_PRO), *data.lists("*.json", *_PRO)]
    return data.lists("*.json", *_PRO)


_ELEMENT = ("img_filename", "instruction", "bbox")
_PRO = ("img_filename", "instruction", "application")
_IMAGES = ("screenspotv2_image", "screenspot_imgs", "images")

SCREENSPOT = Layout(
    "screenspot",
    "ScreenSpot (JSON with images, or Parquet)",
    "https://github.com/njucckevin/SeeClick",
    lambda data: (
        (
            bool(data.lists("screenspot_*.json", *_ELEMENT, "data_type"))
            and not data.files("screenspot_*_v2.json")
        )
        or {"image", "instruction", "bbox", "data_type"} <= data.columns
    ),
    lambda data, images: (_screen_spot_parquet if data.parquet else _screen_spot)(data, images),
)
SCREENSPOT_V2 = Layout(
    "screenspot-v2",
    "ScreenSpot-v2 (JSON with images)",
    "https://huggingface.co/datasets/OS-Copilot/ScreenSpot-v2",
    lambda data: bool(data.lists("screenspot_*_v2.json", *_ELEMENT)),
    _screen_spot,
)
SCREENSPOT_PRO = Layout(
    "screenspot-pro",
    "ScreenSpot-Pro (annotations/*.json, images/)",
    "https://huggingface.co/datasets/likaixin/ScreenSpot-Pro",
    lambda data: bool(_pro_files(data)),
    _screen_spot_pro,
)
