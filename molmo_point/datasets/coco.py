"""Labelled questions from COCO annotation files: keypoints, and centres of boxes.

Every category of an image becomes one question. A category with several named keypoints (a person's) becomes one for each of
them: "left eye of person".
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from molmo_point.convert import Skipped, from_coco
from molmo_point.datasets.image_size import ImageSizes
from molmo_point.datasets.labelled import LabelledData, LabelledItem
from molmo_point.errors import UsageError


def read_coco(path: Path, images: Path | None = None) -> LabelledData:
    """Read a COCO annotation file.

    Args:
        images: Folder of the images; None = that of the file.

    Returns:
        The items, and the annotations that cannot be used, by their ids.

    Raises:
        UsageError: The file cannot be read, or is no COCO data set.
    """
    try:
        dataset = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"the data {path} cannot be read: {error}") from error
    nameless = _nameless(dataset)
    converted = from_coco(_known_only(dataset, nameless), boxes=True, keypoint_names=True)
    skipped = [*nameless.values(), *converted.skipped]
    folder = path.parent if images is None else images
    sizes, items = ImageSizes(), []
    for pointing in converted:
        name = pointing.frame_id or ""
        try:
            if sizes.of(folder / name) != pointing.image_size:
                raise UsageError(
                    f"the annotations are for {pointing.image_size[0]}x{pointing.image_size[1]} pixels, the image has "
                    f"{'x'.join(map(str, sizes.of(folder / name)))}"
                )
        except UsageError as error:
            skipped.append(Skipped(name, "-", str(error)))
            continue
        by_label: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for point in pointing.points:
            by_label[point.label].append((point.x, point.y))
        for label, points in by_label.items():
            source = f"{path.name}:{name}"
            items.append(
                LabelledItem(folder / name, label, tuple(points), category=label, source=source)
            )
    return LabelledData(tuple(items), tuple(skipped))


def _nameless(dataset: Any) -> dict[Any, Skipped]:
    """Return, by id, the categories without a name, with the number of annotations they spoil."""
    if not isinstance(dataset, dict) or not isinstance(dataset.get("categories"), list):
        return {}
    annotations = dataset.get("annotations")
    uses = Counter(
        repr(entry.get("category_id"))
        for entry in (annotations if isinstance(annotations, list) else [])
        if isinstance(entry, dict)
    )
    return {
        category.get("id"): Skipped(
            "categories",
            str(category.get("id")),
            f"the category has no name; {uses[repr(category.get('id'))]} annotations use it",
        )
        for category in dataset["categories"]
        if isinstance(category, dict) and not str(category.get("name") or "").strip()
    }


def _known_only(dataset: Any, nameless: dict[Any, Skipped]) -> Any:
    """Return the data set without the annotations of categories that have no name."""
    if not nameless or not isinstance(dataset.get("annotations"), list):
        return dataset
    kept = [
        entry
        for entry in dataset["annotations"]
        if not (isinstance(entry, dict) and entry.get("category_id") in nameless)
    ]
    return {**dataset, "annotations": kept}
