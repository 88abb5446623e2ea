"""Labelled questions from JSON Lines, one object a line.

    {"image": "bench.jpg", "query": "screws", "points": [[412, 300], [520, 310]]}
    {"image": "bench.jpg", "query": "screws", "points": [{"x": 0.32, "y": 0.41}]}
    {"image": "bench.jpg", "query": "screws", "boxes": [[400, 290, 424, 312]], "mode": "count"}
    {"image": "bench.jpg", "query": "zebra", "points": []}
    {"image": "bench.jpg", "query": "What is it made of?", "answer": "Beech."}
    {"image": "bench.jpg", "caption": "A workbench with two screws."}

Pairs and boxes (left, top, right, bottom) are in pixels, as in `molmo-point eval --questions`; objects with x and y are
normalized, as in the lines of `molmo-point point --json`, which can be read as they are. Paths of images are relative to the
file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Union

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from molmo_point.convert import Skipped
from molmo_point.convert.reading import inside
from molmo_point.datasets.image_size import ImageSizes
from molmo_point.datasets.labelled import LabelledData, LabelledItem, Mode
from molmo_point.errors import UsageError
from molmo_point.text_files import json_lines, read_text


class _Normalized(BaseModel):
    x: float
    y: float


Places = list[Union[tuple[float, float], _Normalized]]


class _Line(BaseModel):
    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    image: str = Field(min_length=1)
    query: str = ""
    points: Places | None = None
    boxes: list[tuple[float, float, float, float]] | None = None
    mode: Literal["point", "count"] = "point"
    answer: str | None = None
    caption: str | None = None
    category: str = ""
    status: str | None = None

    @model_validator(mode="after")
    def _answered(self) -> _Line:
        answers = [self.points is not None or self.boxes is not None, self.answer, self.caption]
        if sum(bool(each) for each in answers) != 1:
            raise ValueError("expected one of points (or boxes), answer, caption")
        if not self.caption and not self.query.strip():
            raise ValueError("expected a query, got an empty one")
        if self.status not in (None, "found", "not_found"):
            raise ValueError(f"the answer is {self.status}: it is not whole")
        return self


def read_json_lines(path: Path) -> LabelledData:
    """Read a file of labelled questions.

    Returns:
        The items, and the lines that cannot be used, by number from 1.

    Raises:
        UsageError: The file cannot be read.
    """
    items: list[LabelledItem] = []
    skipped: list[Skipped] = []
    sizes = ImageSizes()
    for number, text in _lines(path):
        try:
            line = _Line.model_validate(json.loads(text))
            items.append(_item(path, number, line, sizes))
        except (UsageError, ValidationError, ValueError, RecursionError) as error:
            skipped.append(Skipped(path.name, str(number), _reason(error)))
    return LabelledData(tuple(items), tuple(skipped))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        return json_lines(read_text(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the data {path} cannot be read: {error}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        return f"{place}: {first['msg']}" if place else first["msg"]
    if isinstance(error, json.JSONDecodeError):
        return f"expected a JSON object ({error})"
    return str(error)


def _item(path: Path, number: int, line: _Line, sizes: ImageSizes) -> LabelledItem:
    image = path.parent / line.image
    size = sizes.of(image)
    source = f"{path.name}:{number}"
    text = line.caption or line.answer
    if text is not None:
        query = "" if line.caption else line.query.strip()
        return LabelledItem(
            image, query, mode="text", text=text, category=line.category, source=source
        )
    boxes = tuple(_box(box, size) for box in line.boxes or ())
    points = [_place(place, size) for place in line.points or ()]
    if line.points is None:
        points = [((left + right) / 2, (top + bottom) / 2) for left, top, right, bottom in boxes]
    elif boxes and len(boxes) != len(points):
        raise UsageError(f"expected a box for each of {len(points)} points, got {len(boxes)}")
    mode: Mode = line.mode
    return LabelledItem(
        image,
        line.query.strip(),
        tuple(points),
        mode,
        boxes=boxes,
        category=line.category,
        source=source,
    )


def _place(place: tuple[float, float] | _Normalized, size: tuple[int, int]) -> tuple[float, float]:
    if isinstance(place, _Normalized):
        return inside(place.x, "x"), inside(place.y, "y")
    return inside_pixels(place, size)


def inside_pixels(place: tuple[float, float], size: tuple[int, int]) -> tuple[float, float]:
    """Return a point in pixels as `norm`.

    Raises:
        UsageError: It lies outside of the image.
    """
    try:
        return inside(place[0] / size[0], "x"), inside(place[1] / size[1], "y")
    except UsageError:
        raise UsageError(
            f"the point ({place[0]:g}, {place[1]:g}) lies outside of the image of {size[0]}x{size[1]} pixels"
        ) from None


def _box(
    box: tuple[float, float, float, float], size: tuple[int, int]
) -> tuple[float, float, float, float]:
    left, top, right, bottom = box
    if not (left < right and top < bottom):
        raise UsageError(
            f"expected [left, top, right, bottom] with left < right and top < bottom, got {list(box)}"
        )
    return (*inside_pixels((left, top), size), *inside_pixels((right, bottom), size))
