"""Layout of YOLO pose data sets (https://docs.ultralytics.com/datasets/pose/): a YAML file, images/ and labels/.

path: shelves            # folder of the data, relative to the file; may be missing
val: images/val          # a folder of images; labels lie where "images" becomes "labels"
names: {0: mug, 1: pen}
kpt_shape: [1, 3]
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Union

from pydantic import Field, ValidationError

from molmo_point.convert import Skipped, from_yolo_pose
from molmo_point.datasets.converted import labelled_data
from molmo_point.datasets.image_size import ImageSizes
from molmo_point.datasets.labelled import LabelledData
from molmo_point.datasets.layouts.layout import Layout, Opened
from molmo_point.datasets.layouts.rows import Row, reason
from molmo_point.errors import UsageError
from molmo_point.install import import_failure
from molmo_point.points import Pointing
from molmo_point.text_files import read_text

_PHOTOS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
_SPLITS = ("val", "test", "train")
"""Of these, the first that the file names is read."""


class _DataSet(Row):
    names: Union[dict[int, str], list[str]] = Field(min_length=1)
    path: str = ""
    val: str = ""
    test: str = ""
    train: str = ""
    kpt_shape: tuple[int, int] = (0, 0)


def _yaml(path: Path) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise import_failure(error, "yaml", "calibration", "Reading YOLO's YAML file") from error
    try:
        return yaml.safe_load(read_text(path))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"the data {path} cannot be read: {error}") from error


def _read(data: Opened, images: Path | None) -> LabelledData:
    table = _tables(data)[0]
    try:
        described = _DataSet.model_validate(_yaml(table))
    except ValidationError as error:
        raise UsageError(f"{table} does not describe YOLO data: {reason(error)}") from error
    root = table.parent / described.path
    root = root if root.is_dir() else table.parent
    split = next(
        (getattr(described, name) for name in _SPLITS if getattr(described, name)), "images"
    )
    photos = images or root / split
    if not photos.is_dir():
        raise UsageError(f"{table} names {photos} as its folder of images: there is none")
    pointings: list[Pointing] = []
    skipped: list[Skipped] = []
    labels: list[Path] = []
    for image, label in _pairs(photos):
        try:
            if not label.is_file():
                raise UsageError(f"there is no label file {label}")
            labels.append(label)
            read = from_yolo_pose(
                read_text(label),
                described.names,
                ImageSizes().of(image),
                kpt_shape=described.kpt_shape,
                boxes=True,
                file=str(image.relative_to(photos)),
            )
        except (UsageError, UnicodeDecodeError) as error:
            skipped.append(Skipped(image.name, "-", str(error)))
            continue
        skipped += read.skipped
        pointings += [one for one in read if one.points]
    made = labelled_data(pointings, skipped, table.name, lambda name: photos / name, empty=False)
    return LabelledData(made.items, made.skipped, files=(table, *labels))


def _pairs(photos: Path) -> Iterator[tuple[Path, Path]]:
    """Yield each image with its label file: the last "images" of its path becomes "labels"."""
    for image in sorted(photos.rglob("*")):
        if image.suffix.lower() not in _PHOTOS:
            continue
        parts = list(image.parts)
        folders = [at for at, part in enumerate(parts[:-1]) if part == "images"]
        if folders:
            parts[folders[-1]] = "labels"
        yield image, Path(*parts).with_suffix(".txt")


def _tables(data: Opened) -> list[Path]:
    return [*data.files("*.yaml"), *data.files("*.yml")]


YOLO_POSE = Layout(
    "yolo-pose",
    "YOLO pose, or YOLO boxes (a YAML file, images/ and labels/)",
    "https://docs.ultralytics.com/datasets/pose/",
    lambda data: bool(_tables(data)),
    _read,
)
