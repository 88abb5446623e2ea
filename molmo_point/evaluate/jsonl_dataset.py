"""A data set of a user's own questions, from a JSON Lines file.

    {"image": "table.png", "query": "mugs", "boxes": [[12, 40, 90, 130], [200, 44, 270, 128]]}
    {"image": "table.png", "query": "zebra", "boxes": []}

Boxes are left, top, right, bottom in pixels; an empty list means absent. Paths of images are relative to the file. `"mode":
"count"` asks for a count.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from molmo_point.errors import ImageError, UsageError
from molmo_point.examples import Box, Example
from molmo_point.images import Array, load_image
from molmo_point.text_files import json_lines, read_text


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid")

    image: str
    query: str
    boxes: list[tuple[float, float, float, float]]
    mode: Literal["point", "count"] = "point"


def read_jsonl_dataset(path: Path) -> Iterator[Example]:
    """Yield the questions of a file in order; an image of successive lines is read once.

    Raises:
        UsageError: The file or a line of it is invalid; names the line.
        ImageError: An image cannot be read.
    """
    try:
        lines = list(json_lines(read_text(path)))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the questions {path} cannot be read: {error}") from error
    name, image = "", None
    if not lines:
        raise UsageError(f"the questions {path} are empty: expected one JSON object a line")
    for number, text in lines:
        line = _parse(path, number, text)
        if image is None or line.image != name:
            try:
                name, image = line.image, load_image(path.parent / line.image)
            except ImageError as error:
                raise ImageError(f"{path}, line {number}: {error}") from error
        yield _example(path, number, line, image)


def _parse(path: Path, number: int, text: str) -> _Line:
    try:
        return _Line.model_validate_json(text)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "the line"
        raise UsageError(
            f'{path}, line {number}: {where}: {problem["msg"]}; expected {{"image": FILE, "query": TEXT, '
            '"boxes": [[left, top, right, bottom], ...]}'
        ) from error


def _example(path: Path, number: int, line: _Line, image: Array) -> Example:
    height, width = image.shape[:2]
    if not line.query.strip():
        raise UsageError(f"{path}, line {number}: expected a query, got an empty one")
    for box in line.boxes:
        left, top, right, bottom = box
        if not (left < right and top < bottom):
            raise UsageError(
                f"{path}, line {number}: expected [left, top, right, bottom] with left < right and top < bottom, got {list(box)}"
            )
    try:
        regions = [
            Box(left / width, top / height, right / width, bottom / height)
            for left, top, right, bottom in line.boxes
        ]
    except UsageError as error:
        raise UsageError(
            f"{path}, line {number}: a box lies outside the image of {width}x{height} pixels: {error}"
        ) from error
    return Example(image=image, query=line.query, regions=regions, mode=line.mode)
