"""COCO keypoint datasets, to and from pointings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from molmo_point.convert.reading import (
    Converted,
    Findings,
    Json,
    is_list,
    items,
    number,
    side,
    without_none,
)
from molmo_point.errors import UsageError
from molmo_point.points import Point, Pointing, Status

_WHOLE = (Status.FOUND, Status.NOT_FOUND)


def to_coco(
    pointings: Pointing | Iterable[Pointing], file_names: Sequence[str] | None = None
) -> Json:
    """Return a COCO keypoint dataset: one image per pointing, one annotation with one keypoint per point.

    Coordinates are continuous pixels, as COCO's boxes are: pixel (i, j) covers [i, i+1) x [j, j+1). Categories are the labels
    (the query where there is none) in alphabetic order; boxes have no extent. Each image also carries its "query".

    Args:
        pointings: One, or one for each image.
        file_names: Of the images, in the same order; None names them by `frame_id`, else by number.

    Raises:
        UsageError: As many file names as pointings were expected.
    """
    answers = [pointings] if isinstance(pointings, Pointing) else list(pointings)
    if file_names is None:
        file_names = [answer.frame_id or f"{n}.jpg" for n, answer in enumerate(answers, start=1)]
    if len(file_names) != len(answers):
        raise UsageError(
            f"expected {len(answers)} file names, one for each pointing, got {len(file_names)}"
        )
    names = sorted({point.label or answer.query for answer in answers for point in answer.points})
    annotations: list[Json] = []
    for image_id, answer in enumerate(answers, start=1):
        for point in answer.points:
            category = names.index(point.label or answer.query) + 1
            annotations.append(
                _coco_annotation(point, answer, len(annotations) + 1, image_id, category)
            )
    return {
        "images": [
            {
                "id": image_id,
                "file_name": file_name,
                "width": answer.image_size[0],
                "height": answer.image_size[1],
                "query": answer.query,
                **_incomplete(answer),
            }
            for image_id, (file_name, answer) in enumerate(
                zip(file_names, answers, strict=True), start=1
            )
        ],
        "annotations": annotations,
        "categories": [
            {"id": n, "name": name, "keypoints": ["point"], "skeleton": []}
            for n, name in enumerate(names, start=1)
        ],
    }


def _coco_annotation(
    point: Point, answer: Pointing, annotation_id: int, image_id: int, category_id: int
) -> Json:
    x, y = point.pixel(*answer.image_size)
    return without_none(
        {
            "id": annotation_id,
            "image_id": image_id,
            "category_id": category_id,
            "keypoints": [x, y, 2],
            "num_keypoints": 1,
            "bbox": [x, y, 0.0, 0.0],
            "area": 0.0,
            "iscrowd": 0,
            "score": point.score,
        }
    )


def _incomplete(answer: Pointing) -> Json:
    """Return the status of an answer that is not whole: without it, the image would look as if nothing were there."""
    return {} if answer.status in _WHOLE else {"status": str(answer.status)}


def from_coco(dataset: Json, *, boxes: bool = False, keypoint_names: bool = False) -> Converted:
    """Make one pointing of each image of a COCO dataset; the inverse of `to_coco`.

    Every labelled keypoint (visibility 1 or 2) becomes a point with the name of its annotation's category. Images without a
    "query" of their own take the names of their categories. `frame_id` is the file name. A point outside its image by less than
    `reading.TOLERANCE` is moved onto the edge.

    An annotation that cannot be read, or that has no labelled keypoint (a box or a mask alone), is skipped and reported; the
    pointing of its image is then `malformed` (points are missing), never `not_found`.

    Args:
        dataset: With "images", "annotations" and "categories".
        boxes: Read the centre of the box of an annotation without labelled keypoints.
        keypoint_names: Label the keypoints of a category with several of them by their own names: "left eye of person".

    Returns:
        The pointings, in the order of the images; `skipped` says what was not read and why.

    Raises:
        UsageError: The dataset has another shape, or none of its images can be read.
    """
    if is_list(dataset):
        raise UsageError(
            "expected a COCO dataset with images, annotations and categories, got a list: a results file has no sizes of images"
        )
    kinds = items(dataset, "categories", "COCO")
    categories = _names(kinds)
    keypoints = _keypoint_names(kinds) if keypoint_names else {}
    reports, pointings = Findings(), []
    annotations = _objects(dataset, "annotations", reports)
    images = [image for _, image in _objects(dataset, "images", reports)]
    of_image: dict[str, list[tuple[object, Json]]] = {}
    known = Counter(id_text(image.get("id")) for image in images)
    for position, annotation in annotations:
        name = annotation.get("id", position)
        image_id = id_text(annotation.get("image_id"))
        if image_id == _NO_ID or image_id not in known:
            reports.note(name, f"there is no image with the id {image_id}")
        of_image.setdefault(image_id, []).append((name, annotation))
    for number_, image in enumerate(images):
        image_id = id_text(image.get("id"))
        findings = Findings(str(image.get("file_name") or f"image {image.get('id', number_)}"))
        try:
            size = side(image, "width"), side(image, "height")
        except UsageError as error:
            findings.note("-", error)
        else:
            own = of_image.get(image_id, [])
            if own and (known[image_id] > 1 or image_id == _NO_ID):
                findings.skip("-", _ambiguous(image_id, known[image_id]))
                own = []
            for name, annotation in own:
                _read(findings, name, annotation, (categories, keypoints), size, boxes)
            pointings.append(_pointing(findings, image, size))
        reports.skipped.extend(findings.skipped)
    if not pointings and images:
        raise UsageError(f"no image of the COCO dataset can be read; {reports.skipped[0]}")
    return Converted(pointings, reports.skipped)


def _pointing(findings: Findings, image: Json, size: tuple[int, int]) -> Pointing:
    labels = ", ".join(sorted({point.label for point in findings.points}))
    query = image.get("query")
    pointing = findings.pointing(query if isinstance(query, str) else labels, size, "")
    file_name = image.get("file_name")
    pointing = pointing.replace(frame_id=file_name if isinstance(file_name, str) else None)
    stated = image.get("status")
    if stated in [str(status) for status in Status if status not in _WHOLE]:
        return pointing.replace(status=Status(stated))
    return pointing


def _read(
    findings: Findings,
    name: object,
    annotation: Json,
    names: tuple[Mapping[str, str], Mapping[str, Sequence[str]]],
    size: tuple[int, int],
    boxes: bool,
) -> None:
    category = id_text(annotation.get("category_id"))
    label, parts = names[0].get(category, ""), names[1].get(category, ())
    before = len(findings.points)
    flat = annotation.get("keypoints") or []
    if annotation.get("iscrowd"):
        findings.skip(name, "it is a crowd (iscrowd): how many there are is not labelled")
        return
    if not is_list(flat) or len(flat) % 3:
        findings.skip(name, f"expected keypoints as [x, y, visibility, ...], got {str(flat)[:60]}")
        return
    unreadable = False
    for at in range(0, len(flat), 3):
        triple = dict(zip(("x", "y", "visibility"), flat[at : at + 3], strict=True))
        try:
            if number(triple, "visibility") > 0:
                x, y = number(triple, "x") / size[0], number(triple, "y") / size[1]
                part = f"{parts[at // 3]} of {label}" if at // 3 < len(parts) else label
                findings.add(x, y, part, annotation.get("score"), name)
        except UsageError as error:
            unreadable = True
            findings.skip(name, f"keypoint {at // 3}: {error}")
    if len(findings.points) > before or unreadable:
        return
    try:
        if not boxes:
            raise UsageError("it has no labelled keypoint; boxes=True reads the centre of its box")
        x, y, width, height = (number(pair, key) for pair, key in _sides(annotation.get("bbox")))
        centre = ((x + width / 2) / size[0], (y + height / 2) / size[1])
        findings.add(*centre, label, annotation.get("score"), name)
    except UsageError as error:
        findings.skip(name, error)


def _sides(box: object) -> list[tuple[Json, str]]:
    names = ("x", "y", "width", "height")
    if not is_list(box) or len(box) != len(names):
        raise UsageError(f"expected bbox as [x, y, width, height], got {str(box)[:60]}")
    values = dict(zip(names, box, strict=True))
    return [(values, name) for name in names]


def _names(categories: Sequence[Json]) -> dict[str, str]:
    return {
        id_text(item.get("id")): str(item.get("name") or "")
        for item in categories
        if item.get("id") is not None
    }


_NO_ID = "null"


def id_text(value: object) -> str:
    """Return an id as text: tools write the same id as 7, 7.0 and "7" in the parts of one file."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return _NO_ID if value is None else str(value)


def _ambiguous(image_id: str, count: int) -> str:
    which = "has no id" if image_id == _NO_ID else f"is one of {count} with the id {image_id}"
    return f"this image {which}: which annotations are its own is not known"


def _objects(dataset: Json, key: str, reports: Findings) -> list[tuple[int, Json]]:
    """Return the objects under `key` with their positions; entries that are none are reported, not fatal."""
    found = dataset.get(key) if isinstance(dataset, Mapping) else None
    if not is_list(found):
        raise UsageError(
            f"expected a list of objects as {key!r} in COCO data, got {str(found)[:80]}"
        )
    for position, entry in enumerate(found):
        if not isinstance(entry, Mapping):
            reports.note(f"{key}[{position}]", f"expected an object, got {str(entry)[:60]}")
    return [(n, dict(entry)) for n, entry in enumerate(found) if isinstance(entry, Mapping)]


def _keypoint_names(categories: Sequence[Json]) -> dict[str, list[str]]:
    """Return the names of the keypoints of the categories that have several."""
    return {
        id_text(item.get("id")): [str(name).replace("_", " ") for name in item["keypoints"]]
        for item in categories
        if is_list(item.get("keypoints")) and len(item["keypoints"]) > 1
    }
