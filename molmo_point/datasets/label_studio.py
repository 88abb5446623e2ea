"""Labelled questions from Label Studio's JSON export: key points, with the labels of the project as questions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from molmo_point.convert import Skipped, from_label_studio
from molmo_point.datasets.converted import labelled_data
from molmo_point.datasets.labelled import LabelledData
from molmo_point.errors import UsageError
from molmo_point.points import Pointing

_UPLOADED = re.compile(r"^[0-9a-f]{8}-")
"""What Label Studio puts before the name of a file that was uploaded."""


def is_export(value: object) -> bool:
    """Return whether JSON is an export: a list of tasks, or one task."""
    tasks = value if isinstance(value, list) else [value]
    return bool(tasks) and all(
        isinstance(task, dict)
        and ({"annotations", "completions", "predictions"} & set(task))
        and isinstance(task.get("data"), dict)
        for task in tasks
    )


def label_studio_items(tasks: Any, path: Path, images: Path | None = None) -> LabelledData:
    """Return the questions of an export.

    Args:
        tasks: The JSON in it, see `is_export`.
        path: The file.
        images: Folder of the images; None = that of the file. A task's image is looked for there by the path that its address
            ends with, then by its name alone, also without the digits that Label Studio puts before the names of uploads.

    Returns:
        The items, and the annotations that cannot be used.
    """
    folder = path.parent if images is None else images
    pointings: list[Pointing] = []
    skipped: list[Skipped] = []
    for number, task in enumerate(tasks if isinstance(tasks, list) else [tasks], start=1):
        try:
            converted = from_label_studio(task)
        except UsageError as error:
            skipped.append(Skipped(f"task {number}", "-", str(error)))
            continue
        image = str(task["data"].get("image") or "")
        pointings += [pointing.replace(frame_id=image) for pointing in converted]
        skipped += converted.skipped
    return labelled_data(pointings, skipped, path.name, lambda name: find_image(folder, name))


def find_image(folder: Path, address: str) -> Path:
    """Return the file of a task's image: `/data/upload/1/0a1b2c3d-mug.jpg`, `/data/local-files/?d=shelf/mug.jpg`, a URL.

    Raises:
        UsageError: There is none in the folder.
    """
    parts = urlsplit(address)
    local = parse_qs(parts.query).get("d", [unquote(parts.path)])[0]
    steps = [step for step in Path(local).parts if step not in ("/", "..", ".")]
    tries = [Path(*steps[start:]) for start in range(len(steps))]
    if steps:
        tries.append(Path(_UPLOADED.sub("", steps[-1])))
    for candidate in tries:
        if (folder / candidate).is_file():
            return folder / candidate
    raise UsageError(f"there is no image {steps[-1] if steps else address!r} in {folder}")
