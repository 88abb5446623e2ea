"""Label Studio tasks, to and from pointings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Union

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
from molmo_point.points import Pointing, Status

Size = tuple[int, int]


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
        image: URL of the image as Label Studio reaches it.
        from_name: Name of the `<KeyPointLabels>` tag in the project's labelling configuration.
        to_name: Name of its `<Image>` tag.
        size_percent: Diameter of a point on the screen, in percent of the image's width.
    """
    width, height = pointing.image_size
    regions = [
        without_none(
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
    if pointing.status not in (Status.FOUND, Status.NOT_FOUND):
        # Not whole: without this, its regions would look like everything there is.
        data["status"] = str(pointing.status)
    return {"data": data, "predictions": [prediction]}


def from_label_studio(
    task: Union[Json, Sequence[Json]],
    *,
    query: str | None = None,
    image_size: tuple[int, int] | None = None,
) -> Converted:
    """Make pointings of exported Label Studio tasks, one of each annotation, else of each prediction.

    The inverse of `to_label_studio`; after people have corrected the points, this is how they come back. An annotation that its
    annotator skipped (`was_cancelled`) is left out. One that was submitted without regions means that nothing is there; its
    image's size is that of the task's other regions. A point outside by less than `reading.TOLERANCE` is moved onto the edge.

    Args:
        task: One element of Label Studio's JSON export (not JSON-MIN), or all of them.
        query: What the points show; None takes the task's own (`to_label_studio` leaves it in the data).
        image_size: (width, height) in pixels where no region tells it.

    Returns:
        The pointings; `skipped` says what was not read and why. A pointing of which regions were skipped is `malformed`.

    Raises:
        UsageError: The data has another shape, or nothing in it can be read.
    """
    tasks = list(task) if is_list(task) else [task]
    report, pointings = Findings(), []
    for position, one in enumerate(tasks):
        report.file = _file(one, position)
        pointings.extend(_from_task(one, query, image_size, report))
    if not pointings and report.incomplete:
        raise UsageError(report.skipped[0].reason if len(tasks) == 1 else str(report.skipped[0]))
    return Converted(pointings, report.skipped)


def _file(task: object, position: int) -> str:
    data = task.get("data") if isinstance(task, Mapping) else None
    image = data.get("image") if isinstance(data, Mapping) else None
    return image if isinstance(image, str) and image else f"task {position}"


def _from_task(
    task: object, query: str | None, image_size: Size | None, report: Findings
) -> list[Pointing]:
    if not isinstance(task, Mapping):
        report.skip("-", f"expected a task (an object), got {type(task).__name__}")
        return []
    answers = next(
        (
            found
            for key in ("annotations", "completions", "predictions")
            if (found := task.get(key))
        ),
        None,
    )
    if answers is None:
        if not {"annotations", "completions", "predictions"} & set(task):
            report.skip(
                "-", "no annotations and no predictions in it: export as JSON, not as JSON-MIN"
            )
        return []
    if not is_list(answers):
        report.skip("-", f"expected a list of annotations, got {str(answers)[:60]}")
        return []
    size = image_size or _size_in(task)
    stated = task.get("data")
    data: Mapping[str, Any] = stated if isinstance(stated, Mapping) else {}
    asked = query if query is not None else str(data.get("query") or "")
    pointings = []
    for position, answer in enumerate(answers):
        found = _from_answer(answer, position, asked, size, report)
        if found is not None:
            pointings.append(_with_status(found, data.get("status")))
    return pointings


def _from_answer(
    answer: object, position: int, query: str, size: Size | None, report: Findings
) -> Pointing | None:
    """Return the pointing of one annotation; None where it is skipped."""
    name = answer.get("id", position) if isinstance(answer, Mapping) else position
    if isinstance(answer, Mapping) and answer.get("was_cancelled"):
        report.note(name, "skipped by its annotator")
        return None
    try:
        regions = items(answer, "result", "Label Studio")
        points = [region for region in regions if region.get("type") == "keypointlabels"]
        others = {str(region.get("type")) for region in regions} - {"keypointlabels", "relation"}
        if not points and others:
            raise UsageError(
                f"expected at least one keypointlabels region, got {', '.join(sorted(others))} only"
            )
        if size is None:
            raise UsageError(
                "the regions do not hold the image's size (original_width, original_height): give image_size"
                if points
                else "expected at least one keypointlabels region in Label Studio's result, got none: the size of the image "
                "stands in the regions, so an empty answer cannot be read back without image_size"
            )
    except UsageError as error:
        report.skip(name, error)
        return None
    findings = Findings(report.file)
    for region in points:
        try:
            _read(findings, region, query, f"{name}, region {region.get('id', '?')}")
        except UsageError as error:
            findings.skip(f"{name}, region {region.get('id', '?')}", error)
    report.skipped.extend(findings.skipped)
    model = answer.get("model_version") if isinstance(answer, Mapping) else None
    return findings.pointing(query, size, model if isinstance(model, str) else "")


def _read(findings: Findings, region: Json, query: str, name: str) -> None:
    value = region.get("value")
    labels = value.get("keypointlabels") if isinstance(value, Mapping) else None
    label = labels[0] if is_list(labels) and labels and isinstance(labels[0], str) else query
    x, y = number(value, "x") / 100.0, number(value, "y") / 100.0
    findings.add(x, y, label, region.get("score"), name)


def _size_in(task: Mapping[str, Any]) -> Size | None:
    """Return the image's size as the first region of the task that holds one says."""
    for key in ("annotations", "completions", "predictions"):
        answers = task.get(key)
        for answer in answers if is_list(answers) else ():
            regions = answer.get("result") if isinstance(answer, Mapping) else None
            for region in regions if is_list(regions) else ():
                try:
                    return side(region, "original_width"), side(region, "original_height")
                except UsageError:
                    continue
    return None


def _with_status(pointing: Pointing, stated: object) -> Pointing:
    """Return the pointing with the status that `to_label_studio` left for an answer that was not whole, if points allow it."""
    if stated == Status.PENDING and not pointing.points:
        return pointing.replace(status=Status.PENDING)
    if stated in (Status.TRUNCATED, Status.MALFORMED):
        return pointing.replace(status=stated)
    return pointing
