"""A reviewed run in the formats of other tools. Each export is a set of files: name -> content."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from molmo_point.convert import to_coco, to_csv, to_label_studio
from molmo_point.count_runs.journal import Entry
from molmo_point.count_runs.results import row_of
from molmo_point.errors import UsageError
from molmo_point.points import Pointing
from molmo_point.review.reviewed import Review

Files = Mapping[str, str]

BOX = 0.02
"""Side of the box that YOLO wants around a keypoint, as a share of the image's side."""

COUNTS = (
    "file", "frame", "time_s", "query", "count", "corrected_count", "accepted", "low", "high", "added", "deleted", "status",
)  # fmt: skip


def export(review: Review, format_name: str) -> Files:
    """Return the files of an export.

    Raises:
        UsageError: There is no such format.
    """
    if format_name not in FORMATS:
        raise UsageError(f"expected a format of {', '.join(FORMATS)}, got {format_name!r}")
    return FORMATS[format_name](review)


def write_export(review: Review, format_name: str, folder: Path) -> list[Path]:
    """Write an export into a folder that is made, or that holds an earlier one.

    Raises:
        UsageError: There is no such format, or a file of the user's has the name of one that would be written.
        OSError: They cannot be written.
    """
    from molmo_point.atomic_write import write_atomic

    files = export(review, format_name)
    paths = [folder / name for name in files]
    for path, content in zip(paths, files.values(), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)
    return paths


def _csv(review: Review) -> Files:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COUNTS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for entry in review.entries.values():
        correction = review.correction(entry)
        row: dict[str, Any] = dict.fromkeys(COUNTS) | row_of(entry)
        if correction is not None:
            kept = sum(point.origin is not None for point in correction.points)
            row |= {
                "corrected_count": len(correction.points),
                "accepted": correction.accepted,
                "added": len(correction.points) - kept,
                "deleted": (entry.pointing.count if entry.pointing is not None else 0) - kept,
            }
        writer.writerow(row)
    named = [pointing.replace(frame_id=name) for name, pointing in _answers(review)]
    return {"counts.csv": text.getvalue(), "points.csv": to_csv(named)}


def _coco(review: Review) -> Files:
    answers = _answers(review)
    dataset = to_coco([pointing for _, pointing in answers], [name for name, _ in answers])
    return {"coco_keypoints.json": _json(dataset)}


def _yolo(review: Review) -> Files:
    """Label files of YOLO pose: class, box, and one visible keypoint for each point; 0-1 of the image."""
    queries = list(dict.fromkeys(entry.query for entry in review.entries.values()))
    lines: dict[str, list[str]] = {}
    for entry in review.entries.values():
        pointing = review.pointing(entry)
        if pointing is None:
            continue
        label = f"labels/{_stem(entry)}.txt"
        lines.setdefault(label, [])
        for point in pointing.points:
            width = min(BOX, 2 * point.x, 2 * (1 - point.x)) or BOX
            height = min(BOX, 2 * point.y, 2 * (1 - point.y)) or BOX
            numbers = (point.x, point.y, width, height, point.x, point.y)
            shown = " ".join(f"{number:.6f}" for number in numbers)
            lines[label].append(f"{queries.index(entry.query)} {shown} 2\n")
    names = "".join(f"  {number}: {json.dumps(query)}\n" for number, query in enumerate(queries))
    settings = f"path: .\ntrain: images\nval: images\nkpt_shape: [1, 3]\nnames:\n{names}"
    sources = "".join(
        f"{_stem(entry)}\t{_name(entry)}\n"
        for entry in review.entries.values()
        if entry.pointing is not None
    )
    labels = {name: "".join(content) for name, content in lines.items()}
    return {"data.yaml": settings, "images.tsv": sources, **labels}


def _label_studio(review: Review) -> Files:
    tasks = []
    for entry in review.entries.values():
        corrected = review.pointing(entry)
        if corrected is None:
            continue
        task = to_label_studio(entry.pointing or corrected, _name(entry))
        if review.correction(entry) is not None:
            regions = to_label_studio(corrected, _name(entry))["predictions"][0]["result"]
            task["annotations"] = [{"result": regions, "was_cancelled": False}]
        tasks.append(task)
    return {"label_studio.json": _json(tasks)}


def _fiftyone(review: Review) -> Files:
    """A data set that `fiftyone.Dataset.from_dir(..., dataset_type=fiftyone.types.FiftyOneDataset)` reads."""
    samples: dict[str, dict[str, Any]] = {}
    for entry in review.entries.values():
        pointing = review.pointing(entry)
        if pointing is None:
            continue
        sample = samples.setdefault(
            _name(entry), {"filepath": entry.identity, "tags": [], "points": _keypoints([])}
        )
        sample["points"]["keypoints"] += [
            {
                "_cls": "Keypoint",
                "attributes": {},
                "tags": [],
                "label": entry.query,
                "points": [[point.x, point.y]],
                "index": point.index,
            }
            for point in pointing.points
        ]
    return {"samples.json": _json({"samples": list(samples.values())})}


def _keypoints(keypoints: list[dict[str, Any]]) -> dict[str, Any]:
    return {"_cls": "Keypoints", "keypoints": keypoints}


def _answers(review: Review) -> list[tuple[str, Pointing]]:
    """Name and points of every row that has an answer."""
    return [
        (_name(entry), pointing)
        for entry in review.entries.values()
        if (pointing := review.pointing(entry)) is not None
    ]


def _name(entry: Entry) -> str:
    return entry.file if entry.frame is None else f"{entry.file}#{entry.frame}"


def _stem(entry: Entry) -> str:
    """The name of the entry's annotated image, without its suffix: different for files of one name."""
    from molmo_point.count_runs.items import drawing_name

    return drawing_name(entry.file, entry.identity, entry.frame).removesuffix(".jpg")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


FORMATS: dict[str, Callable[[Review], Files]] = {
    "csv": _csv,
    "coco": _coco,
    "yolo": _yolo,
    "label-studio": _label_studio,
    "fiftyone": _fiftyone,
}
