"""Read labelled data of any known layout, and split them by image."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from molmo_point.datasets.coco import coco_items
from molmo_point.datasets.json_lines import read_json_lines
from molmo_point.datasets.label_studio import is_export, label_studio_items
from molmo_point.datasets.labelled import LabelledData, LabelledItem
from molmo_point.datasets.points_table import read_points_table
from molmo_point.errors import UsageError
from molmo_point.text_files import read_text


def read_labelled(
    path: Path, *, images: Path | None = None, skip_bad: bool = False
) -> LabelledData:
    """Read labelled data: .json is a COCO annotation file or Label Studio's export, .csv a table of points, else JSON Lines.

    Args:
        images: Folder of the images of a COCO file, an export or a table; None = that of the file.
        skip_bad: Leave out entries that cannot be used; they are in `skipped`.

    Raises:
        BadEntries: There are entries that cannot be used and `skip_bad` is off.
        UsageError: The file cannot be read, or holds nothing that can be used.
    """
    if path.is_dir():
        raise UsageError(
            f"{path} is a folder: expected a file: JSON Lines (.jsonl), COCO annotations or Label Studio's export (.json), or a "
            "table of points (.csv)"
        )
    return _read(path, images).checked(path, skip_bad=skip_bad)


def _read(path: Path, images: Path | None) -> LabelledData:
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return read_points_table(path, images)
    if suffix != ".json":
        return read_json_lines(path)
    try:
        value = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"the data {path} cannot be read: {error}") from error
    return (label_studio_items if is_export(value) else coco_items)(value, path, images)


def split_by_image(
    items: Sequence[LabelledItem], share: float
) -> tuple[list[LabelledItem], list[LabelledItem]]:
    """Split items into those for training and those held out; all questions about an image go to the same side.

    An image's side depends on its name alone, so that it stays there when other images are added.

    Args:
        share: Of the images that are held out, 0-1.

    Raises:
        UsageError: A side would be empty.
    """
    held = [item for item in items if _draw(item.image) < share]
    kept = [item for item in items if _draw(item.image) >= share]
    if share > 0 and not held:
        # Few images: at least one is held out, the one with the smallest number.
        first = min((item.image for item in items), key=_draw, default=None)
        held = [item for item in items if item.image == first]
        kept = [item for item in items if item.image != first]
    if not kept:
        raise UsageError(
            f"no image is left for training: {len(items)} questions, {share:.0%} of their images held out; give more images or a "
            "smaller share"
        )
    return kept, held


def _draw(image: Path | bytes) -> float:
    name = image.name.encode() if isinstance(image, Path) else image
    return int.from_bytes(hashlib.blake2b(name, digest_size=6).digest(), "big") / 2**48
