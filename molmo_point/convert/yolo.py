"""YOLO pose labels (Ultralytics): one text file for each image, one line for each object; to and from pointings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Union

from molmo_point.convert.reading import Converted, Findings, inside, size_of
from molmo_point.errors import UsageError
from molmo_point.points import Pointing, Status

Names = Union[Sequence[str], Mapping[int, str]]
"""Names of the classes, by number: `names` of the data set's YAML file."""

_BOX = 5
"""Numbers before the keypoints: class, centre and size of the box."""


def to_yolo_pose(pointing: Pointing, names: Names, *, side: float = 0.05) -> str:
    """Return the lines of a label file: `class cx cy w h x y 2`, normalized, one keypoint for each object.

    The data set's YAML file needs `kpt_shape: [1, 3]` and these `names`. An image without points has an empty file.

    Args:
        names: Must hold every label (the query where a point has none).
        side: Sides of the box around a point, as a share of the image's, cut at its edges. Trainers drop boxes without extent.

    Raises:
        UsageError: A label that is no class; an answer that is not whole, which a label file cannot say; `side` outside 0-1.
    """
    if not 0.0 < side <= 1.0:
        raise UsageError(f"expected side above 0 and up to 1, got {side!r}")
    if pointing.status not in (Status.FOUND, Status.NOT_FOUND):
        raise UsageError(
            f"expected a complete answer, got one that is {pointing.status}: a label file without some objects teaches that they "
            "are not there"
        )
    numbers = {name: number for number, name in _by_number(names).items()}
    lines = []
    for point in pointing.points:
        label = point.label or pointing.query
        if label not in numbers:
            raise UsageError(
                f"expected the label to be one of {list(numbers)[:20]}, got {label!r}"
            )
        left, right = max(0.0, point.x - side / 2), min(1.0, point.x + side / 2)
        top, bottom = max(0.0, point.y - side / 2), min(1.0, point.y + side / 2)
        box = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
        fields = [*box, point.x, point.y]
        lines.append(f"{numbers[label]} {' '.join(f'{value:.6f}' for value in fields)} 2\n")
    return "".join(lines)


def from_yolo_pose(
    text: str,
    names: Names,
    image_size: tuple[int, int],
    *,
    query: str | None = None,
    kpt_shape: tuple[int, int] = (1, 3),
    boxes: bool = False,
    file: str = "",
) -> Converted:
    """Make a pointing of a label file; the inverse of `to_yolo_pose` to within 1e-6.

    Every keypoint that is labelled (visibility 1 or 2; with two numbers, not at 0 0) becomes a point with its class's name. A
    number behind the keypoints is the score of a prediction.

    Args:
        text: Of the file.
        names: Names of the classes.
        image_size: (width, height) of the image in pixels.
        query: What the points show; None joins their labels.
        kpt_shape: Of the data set's YAML file: (keypoints, numbers of each: 2 or 3). (0, 0) for detection labels.
        boxes: Read the centre of the box of an object without labelled keypoints.
        file: Its name, which becomes `frame_id`.

    Returns:
        One pointing; `skipped` names each line that was not read, with its number from 1. It is `malformed` then.

    Raises:
        UsageError: `kpt_shape` is another, or no line can be read.
    """
    keypoints, width = kpt_shape
    if keypoints < 0 or (keypoints and width not in (2, 3)):
        raise UsageError(f"expected kpt_shape as (number, 2 or 3), got {kpt_shape!r}")
    classes = _by_number(names)
    findings, lines = Findings(file), 0
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        lines += 1
        try:
            values = _values(line, keypoints * width)
            label = _class(values[0], classes)
            score = values[-1] if len(values) > _BOX + keypoints * width else None
            flat = values[_BOX : _BOX + keypoints * width]
            places = _labelled([flat[at : at + width] for at in range(0, len(flat), width or 1)])
            if not places and boxes:
                places = [(values[1], values[2])]
            if not places:
                raise UsageError("no labelled keypoint; boxes=True reads the centre of its box")
            # All of an object's points, or none.
            checked = [(inside(x, "x"), inside(y, "y")) for x, y in places]
        except UsageError as error:
            findings.skip(number, error)
            continue
        for x, y in checked:
            findings.add(x, y, label, score, number)
    if lines and not findings.points:
        raise UsageError(f"no line of the label file can be read; {findings.skipped[0]}")
    labels = ", ".join(sorted({point.label for point in findings.points}))
    pointing = findings.pointing(
        labels if query is None else query,
        size_of(image_size),
        "",
        text if findings.incomplete else "",
    )
    return Converted([pointing.replace(frame_id=file or None)], findings.skipped)


def _by_number(names: Names) -> dict[int, str]:
    if isinstance(names, str) or not names:
        raise UsageError(f"expected the names of the classes, got {names!r}")
    return dict(names) if isinstance(names, Mapping) else dict(enumerate(names))


def _values(line: str, keypoint_numbers: int) -> list[float]:
    """Return the numbers of a line.

    Raises:
        UsageError: Other numbers, or not as many as expected.
    """
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        raise UsageError(f"expected numbers, got {line.strip()[:60]!r}") from None
    expected = _BOX + keypoint_numbers
    if len(values) not in (expected, expected + 1):
        raise UsageError(
            f"expected {expected} numbers (a score may follow), got {len(values)}: another kpt_shape?"
        )
    if not all(math.isfinite(value) for value in values):
        raise UsageError(f"expected finite numbers, got {line.strip()[:60]!r}")
    return values


def _class(value: float, classes: Mapping[int, str]) -> str:
    if value not in classes:
        raise UsageError(f"expected a class of {min(classes)}-{max(classes)}, got {value:g}")
    return classes[int(value)]


def _labelled(keypoints: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    """Return the places of the keypoints that are labelled."""
    return [
        (keypoint[0], keypoint[1])
        for keypoint in keypoints
        if (keypoint[2] > 0 if len(keypoint) == 3 else any(keypoint))
    ]
