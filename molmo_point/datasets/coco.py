"""Labelled questions from COCO annotation files: keypoints, and centres of boxes.

Every category of an image becomes one question. A category with several named keypoints (a person's) becomes one for each of
them: "left eye of person".
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from molmo_point.convert import Skipped, from_coco
from molmo_point.datasets.converted import labelled_data
from molmo_point.datasets.labelled import LabelledData


def coco_items(dataset: object, path: Path, images: Path | None = None) -> LabelledData:
    """Return the questions of a COCO annotation file.

    Args:
        dataset: The JSON in it.
        path: The file.
        images: Folder of the images; None = that of the file.

    Returns:
        The items, and the annotations that cannot be used, by their ids.

    Raises:
        UsageError: It is no COCO data set.
    """
    nameless = _nameless(dataset)
    converted = from_coco(_known_only(dataset, nameless), boxes=True, keypoint_names=True)
    folder = path.parent if images is None else images
    skipped = [*nameless.values(), *converted.skipped]
    return labelled_data(converted, skipped, path.name, lambda name: folder / name, empty=False)


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
