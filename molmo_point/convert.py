"""Pointings in the formats of other tools, and back where the format can hold them.

| format       | coordinates                      | keeps                   | back with           |
|--------------|----------------------------------|-------------------------|---------------------|
| Moondream    | 0-1                              | places                  | `from_moondream`    |
| Gemini       | [y, x], integers 0-1000          | places (to 1/1000), labels | `from_gemini`    |
| Label Studio | percent                          | places, labels, scores  | `from_label_studio` |
| COCO         | continuous pixels                | places, labels, scores  | `from_coco`         |
| FiftyOne     | 0-1                              | places, labels, scores  |                     |
| supervision  | continuous pixels (float32)      | places, labels, scores  |                     |

The first four are plain dictionaries and lists, ready for `json.dump`; the last two need the package they are for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from molmo_point.errors import UsageError
from molmo_point.install import import_failure
from molmo_point.points import Point, Pointing, Status

if TYPE_CHECKING:
    import fiftyone as fo
    import supervision as sv

Json = dict[str, Any]

GEMINI_SCALE = 1000
"""Gemini names the far edge 1000 and writes y before x."""


def to_moondream(pointing: Pointing) -> Json:
    """Return `{"points": [{"x": 0.5, "y": 0.25}, ...]}`, as Moondream's `point` answers."""
    return {"points": [{"x": point.x, "y": point.y} for point in pointing.points]}


def from_moondream(answer: Json, query: str, image_size: tuple[int, int]) -> Pointing:
    """Make a pointing of Moondream's answer; the inverse of `to_moondream`. Every point is labelled with the query.

    Args:
        answer: What `point` returned, or the JSON of its HTTP reply.
        query: What was asked for.
        image_size: (width, height) of the picture in pixels.

    Raises:
        UsageError: `answer` has another shape, or a point lies outside the picture.
    """
    items = _items(answer, "points", "Moondream")
    places = [(_number(item, "x"), _number(item, "y"), query, None) for item in items]
    return _pointing(places, query, image_size, "moondream")


def to_gemini(pointing: Pointing) -> list[Json]:
    """Return `[{"point": [y, x], "label": "mug"}, ...]` with integers 0-1000, as Gemini is prompted to answer."""
    return [
        {
            "point": [round(point.y * GEMINI_SCALE), round(point.x * GEMINI_SCALE)],
            "label": point.label or pointing.query,
        }
        for point in pointing.points
    ]


def from_gemini(answer: Sequence[Json], query: str, image_size: tuple[int, int]) -> Pointing:
    """Make a pointing of Gemini's answer (the parsed JSON); the inverse of `to_gemini` to within half of 1/1000.

    Args and Raises are those of `from_moondream`.
    """
    places = []
    for item in _items({"items": answer}, "items", "Gemini"):
        pair = item.get("point")
        if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
            raise UsageError(f'expected "point": [y, x] in Gemini\'s answer, got {pair!r}')
        values = {"y": pair[0], "x": pair[1]}
        x, y = (_number(values, axis) / GEMINI_SCALE for axis in "xy")
        places.append((x, y, str(item.get("label", query)), None))
    return _pointing(places, query, image_size, "gemini")


def to_label_studio(
    pointing: Pointing,
    image: str = "",
    *,
    from_name: str = "kp-1",
    to_name: str = "img-1",
    size_percent: float = 1.0,
) -> Json:
    """Return a Label Studio task whose prediction holds the points as `keypointlabels` regions, ready to import.

    Args:
        pointing: The points; their labels (the query where there is none) must be labels of the project.
        image: URL of the picture as Label Studio reaches it.
        from_name: Name of the `<KeyPointLabels>` tag in the project's labelling configuration.
        to_name: Name of its `<Image>` tag.
        size_percent: Diameter of a point on the screen, in percent of the picture's width.
    """
    width, height = pointing.image_size
    regions = [
        _without_none(
            {
                "id": f"point-{point.index}",
                "type": "keypointlabels",
                "from_name": from_name,
                "to_name": to_name,
                "original_width": width,
                "original_height": height,
                "image_rotation": 0,
                "value": {
                    "x": point.x * 100.0,
                    "y": point.y * 100.0,
                    "width": size_percent,
                    "keypointlabels": [point.label or pointing.query],
                },
                "score": point.score,
            }
        )
        for point in pointing.points
    ]
    prediction = {"model_version": pointing.model, "result": regions}
    data = {"image": image, "query": pointing.query}
    return {"data": data, "predictions": [prediction]}


def from_label_studio(task: Json, *, query: str | None = None) -> list[Pointing]:
    """Make pointings of an exported Label Studio task, one of each annotation, else of each prediction.

    The inverse of `to_label_studio`; after people have corrected the points, this is how they come back.

    Args:
        task: One element of Label Studio's JSON export.
        query: What the points show; None takes the task's own (`to_label_studio` leaves it in the data).

    Raises:
        UsageError: The task has another shape, holds nothing to tell the picture's size by, or a point lies outside.
    """
    data = task.get("data")
    if query is None:
        query = str(data.get("query", "")) if isinstance(data, Mapping) else ""
    answers = task.get("annotations") or task.get("predictions") or []
    return [
        _from_regions(
            _items(answer, "result", "Label Studio"), query, str(answer.get("model_version", ""))
        )
        for answer in answers
    ]


def _from_regions(regions: Sequence[Json], query: str, model: str) -> Pointing:
    regions = [region for region in regions if region.get("type") == "keypointlabels"]
    if not regions:
        raise UsageError(
            "expected at least one keypointlabels region in Label Studio's result, got none: the size of the picture "
            "stands in the regions, so an empty answer cannot be read back"
        )
    places = []
    for region in regions:
        value = region.get("value", {})
        names = value.get("keypointlabels") or [query]
        x, y = _number(value, "x") / 100.0, _number(value, "y") / 100.0
        places.append((x, y, str(names[0]), region.get("score")))
    width, height = (int(_number(regions[0], f"original_{side}")) for side in ("width", "height"))
    return _pointing(places, query, (width, height), model)


def to_coco(
    pointings: Pointing | Iterable[Pointing], file_names: Sequence[str] | None = None
) -> Json:
    """Return a COCO keypoint dataset: one image per pointing, one annotation with one keypoint per point.

    Coordinates are continuous pixels, as COCO's boxes are: pixel (i, j) covers [i, i+1) x [j, j+1). Categories are the labels
    (the query where there is none) in alphabetic order; boxes have no extent. Each image also carries its "query".

    Args:
        pointings: One, or one for each picture.
        file_names: Of the pictures, in the same order; None names them by `frame_id`, else by number.

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
    return _without_none(
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


def from_coco(dataset: Json) -> list[Pointing]:
    """Make one pointing of each image of a COCO keypoint dataset; the inverse of `to_coco`.

    Every labelled keypoint (visibility 1 or 2) becomes a point with the name of its annotation's category. Images without a
    "query" of their own take the names of their categories. `frame_id` is the file name.

    Raises:
        UsageError: The dataset has another shape, or a point lies outside its picture.
    """
    names = {
        item["id"]: str(item.get("name", "")) for item in _items(dataset, "categories", "COCO")
    }
    annotations = _items(dataset, "annotations", "COCO")
    pointings = []
    for image in _items(dataset, "images", "COCO"):
        width, height = int(_number(image, "width")), int(_number(image, "height"))
        places = []
        for annotation in annotations:
            if annotation.get("image_id") == image.get("id"):
                flat = annotation.get("keypoints", [])
                label = names.get(annotation.get("category_id"), "")
                for x, y, visibility in zip(flat[::3], flat[1::3], flat[2::3], strict=True):
                    if visibility > 0:
                        places.append((x / width, y / height, label, annotation.get("score")))
        query = str(image.get("query", ", ".join(sorted({label for *_, label, _ in places}))))
        pointing = _pointing(places, query, (width, height), "")
        pointings.append(pointing.with_(frame_id=image.get("file_name")))
    return pointings


def to_supervision(pointing: Pointing) -> sv.KeyPoints:
    """Return `supervision.KeyPoints`: each point an object of one keypoint, in pixels, for supervision's annotators.

    `data` holds "class_name" and "covariance_px" ((N, 3), pixels squared, NaN where unknown).

    Raises:
        MissingExtra: supervision is not installed.
    """
    try:
        import supervision as sv
    except ImportError as error:
        raise import_failure(error, "supervision", "supervision", "to_supervision") from error
    import numpy as np

    points = pointing.points
    if not points:
        return sv.KeyPoints.empty()
    labels = [point.label or pointing.query for point in points]
    names = sorted(set(labels))
    scores = [point.score for point in points]
    confidence = None if None in scores else np.array(scores, np.float32).reshape(-1, 1)
    width, height = pointing.image_size
    unit = np.array([width * width, width * height, height * height], np.float64)
    unknown = (np.nan, np.nan, np.nan)
    covariances = np.array([point.covariance or unknown for point in points]) * unit
    # Confidence goes by position: its keyword was renamed between the releases of supervision.
    return sv.KeyPoints(
        np.array(pointing.pixels(), np.float32).reshape(-1, 1, 2),
        np.array([names.index(label) for label in labels]),
        confidence,
        data={"class_name": np.array(labels), "covariance_px": covariances},
    )


def to_fiftyone(pointing: Pointing) -> fo.Keypoints:
    """Return `fiftyone.Keypoints`: each point a `Keypoint` with its label, its 0-1 position, and its score as confidence.

    Raises:
        MissingExtra: fiftyone is not installed.
    """
    try:
        import fiftyone as fo
    except ImportError as error:
        raise import_failure(error, "fiftyone", "fiftyone", "to_fiftyone") from error
    return fo.Keypoints(
        keypoints=[
            fo.Keypoint(
                **_without_none(
                    {
                        "label": point.label or pointing.query,
                        "points": [(point.x, point.y)],
                        "confidence": None if point.score is None else [point.score],
                        "index": point.index,
                    }
                )
            )
            for point in pointing.points
        ]
    )


def _pointing(
    places: Iterable[tuple[float, float, str, float | None]],
    query: str,
    image_size: tuple[int, int],
    model: str,
) -> Pointing:
    try:
        points = tuple(
            Point(x=x, y=y, label=label, score=score, index=index)
            for index, (x, y, label, score) in enumerate(places)
        )
    except ValidationError as error:
        wrong = error.errors()[0]
        raise UsageError(
            f"expected points inside the picture (0-1 once converted) and scores 0-1, got {wrong['loc'][0]} = {wrong['input']!r}"
        ) from None
    status = Status.FOUND if points else Status.NOT_FOUND
    return Pointing(query=query, points=points, status=status, image_size=image_size, model=model)


def _items(data: Mapping[str, Any], key: str, tool: str) -> list[Json]:
    items = data.get(key) if isinstance(data, Mapping) else None
    if not isinstance(items, Sequence) or not all(isinstance(item, Mapping) for item in items):
        raise UsageError(
            f"expected a list of objects as {key!r} in {tool} data, got {str(items)[:80]}"
        )
    return [dict(item) for item in items]


def _number(data: Mapping[str, Any], key: str) -> float:
    value = data.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UsageError(f"expected a number as {key!r}, got {value!r}")
    return float(value)


def _without_none(data: Json) -> Json:
    return {key: value for key, value in data.items() if value is not None}
