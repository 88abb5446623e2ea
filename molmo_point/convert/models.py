"""Answers of other models: Moondream, Gemini and Qwen-VL, to and from `Pointing`.

An answer of which some entries cannot be read becomes a pointing with status `malformed`, whose `text` holds the answer.
Boxes are read as their centres.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Union

from molmo_point.convert.reading import Findings, Json, is_list, number, size_of
from molmo_point.errors import UsageError
from molmo_point.points import Pointing
from molmo_point.repeats import Repeats

Answer = Union[str, Sequence[Any], Mapping[str, Any]]
"""The text of a model's answer (also in a ``` fence), or what `json.loads` made of it."""

GEMINI_SCALE = 1000
"""Gemini names the far edge 1000 and writes y before x; Qwen3-VL names it 1000 and writes x before y."""

_FENCE = re.compile(r"```[A-Za-z]*\s*\n(.*?)(?:```|\Z)", re.DOTALL)


def to_moondream(pointing: Pointing) -> Json:
    """Return `{"points": [{"x": 0.5, "y": 0.25}, ...]}`, as Moondream's `point` answers."""
    return {"points": [{"x": point.x, "y": point.y} for point in pointing.points]}


def from_moondream(answer: Json, query: str, image_size: tuple[int, int]) -> Pointing:
    """Make a pointing of Moondream's answer; the inverse of `to_moondream`. Every point is labelled with the query.

    Args:
        answer: What `point` or `detect` returned, or the JSON of the HTTP reply.
        query: What was asked for.
        image_size: (width, height) of the image in pixels.

    Raises:
        UsageError: `answer` has another shape, or no entry of it can be read.
    """
    boxes = isinstance(answer, Mapping) and "points" not in answer and "objects" in answer
    key = "objects" if boxes else "points"
    entries = answer.get(key) if isinstance(answer, Mapping) else None
    if not is_list(entries):
        raise UsageError(
            f"expected a list of objects as {key!r} in Moondream data, got {str(entries)[:80]}"
        )

    def place(item: Json) -> tuple[float, float, str]:
        if boxes:
            x, y = ((number(item, f"{a}_min") + number(item, f"{a}_max")) / 2 for a in "xy")
        else:
            x, y = number(item, "x"), number(item, "y")
        return x, y, query

    return _pointing(entries, place, query, image_size, "moondream", answer)


def to_gemini(pointing: Pointing) -> list[Json]:
    """Return `[{"point": [y, x], "label": "mug"}, ...]` with integers 0-1000, as Gemini is prompted to answer."""
    return [
        {
            "point": [round(point.y * GEMINI_SCALE), round(point.x * GEMINI_SCALE)],
            "label": point.label or pointing.query,
        }
        for point in pointing.points
    ]


def from_gemini(answer: Answer, query: str, image_size: tuple[int, int]) -> Pointing:
    """Make a pointing of Gemini's answer; the inverse of `to_gemini` to within half of 1/1000.

    Args:
        answer: The text, also in a code fence, or the parsed JSON; entries with "point" [y, x] or "box_2d" [y, x, y, x].

    The other Args and the Raises are those of `from_moondream`.
    """

    def place(item: Json) -> tuple[float, float, str]:
        y, x = _point_or_middle(item, "point", "box_2d", "yx", "Gemini")
        return x / GEMINI_SCALE, y / GEMINI_SCALE, _label(item, query)

    return _pointing(_entries(answer, "Gemini"), place, query, image_size, "gemini", answer)


def _point_or_middle(
    item: Json, point: str, box: str, axes: str, owner: str
) -> tuple[float, float]:
    """Return a point in the order of `axes`: the value of the key `point`, else the middle of the box under the key `box`."""
    if point not in item and box in item:
        first, second, last_first, last_second = _numbers(item, box, axes * 2, owner)
        return (first + last_first) / 2, (second + last_second) / 2
    first, second = _numbers(item, point, axes, owner)
    return first, second


def to_qwen(
    pointing: Pointing, *, seen_size: tuple[int, int] | None = None, boxes: bool = False
) -> list[Json]:
    """Return `[{"point_2d": [x, y], "label": "mug"}, ...]` with integers, as Qwen-VL answers.

    Args:
        seen_size: As in `from_qwen`.
        boxes: Write `"bbox_2d": [x, y, x, y]`, boxes without extent, for readers that know boxes alone.
    """
    width, height = (GEMINI_SCALE, GEMINI_SCALE) if seen_size is None else size_of(seen_size)
    key, times = ("bbox_2d", 2) if boxes else ("point_2d", 1)
    return [
        {
            key: [round(point.x * width), round(point.y * height)] * times,
            "label": point.label or pointing.query,
        }
        for point in pointing.points
    ]


def from_qwen(
    answer: Answer,
    query: str,
    image_size: tuple[int, int],
    *,
    seen_size: tuple[int, int] | None = None,
) -> Pointing:
    """Make a pointing of Qwen-VL's answer; the inverse of `to_qwen` to within half a unit.

    Args:
        answer: The text, also in a code fence, or the parsed JSON; entries with "point_2d" [x, y] or "bbox_2d" [x, y, x, y].
        seen_size: (width, height) in whose pixels the answer counts: Qwen2-VL and Qwen2.5-VL name pixels of the image after
            their own resizing (`qwen_seen_size`). None for 0-1000, as Qwen3-VL answers.

    The other Args and the Raises are those of `from_moondream`.
    """
    width, height = (GEMINI_SCALE, GEMINI_SCALE) if seen_size is None else size_of(seen_size)

    def place(item: Json) -> tuple[float, float, str]:
        x, y = _point_or_middle(item, "point_2d", "bbox_2d", "xy", "Qwen")
        return x / width, y / height, _label(item, query)

    return _pointing(_entries(answer, "Qwen"), place, query, image_size, "qwen", answer)


def qwen_seen_size(
    image_size: tuple[int, int],
    *,
    factor: int = 28,
    min_pixels: int = 56 * 56,
    max_pixels: int = 14 * 14 * 4 * 1280,
) -> tuple[int, int]:
    """Return the (width, height) that Qwen2-VL and Qwen2.5-VL resize an image to before they look at it.

    Both sides become multiples of `factor`, the area stays between the two limits, and the shape is kept as well as that allows
    (`smart_resize` of the published processor, whose defaults these are).
    """
    width, height = size_of(image_size)
    wide, high = (max(factor, round(length / factor) * factor) for length in (width, height))
    if wide * high > max_pixels:
        shrink = math.sqrt(width * height / max_pixels)
        wide, high = (
            max(factor, math.floor(length / shrink / factor) * factor)
            for length in (width, height)
        )
    elif wide * high < min_pixels:
        grow = math.sqrt(min_pixels / (width * height))
        wide, high = (math.ceil(length * grow / factor) * factor for length in (width, height))
    return wide, high


def _pointing(
    entries: Sequence[Any],
    place: Callable[[Json], tuple[float, float, str]],
    query: str,
    image_size: tuple[int, int],
    model: str,
    answer: Answer,
) -> Pointing:
    # The rule for what a model writes; labels tell things apart where the model gives each its own.
    findings = Findings(repeats=Repeats(calibrated=False, labelled=True))

    def read(item: object) -> tuple[float, float, str]:
        if not isinstance(item, Mapping):
            raise UsageError(f"expected an object in the answer's list, got {str(item)[:40]}")
        return place(dict(item))

    findings.add_each(entries, read)
    size = size_of(image_size)
    text = ""
    if findings.incomplete:
        text = answer if isinstance(answer, str) else json.dumps(answer, default=str)
    return findings.pointing(query, size, model, text)


def _entries(answer: Answer, tool: str) -> Sequence[Any]:
    """Return the list in an answer: the answer itself, or the one list in its object."""
    value: Any = json_in(answer, tool) if isinstance(answer, str) else answer
    if isinstance(value, Mapping):
        # {"points": [...]} as well as one object alone, whose lists hold numbers.
        lists = [entry for entry in value.values() if is_list(entry) and _of_objects(entry)]
        value = lists[0] if len(lists) == 1 else [value]
    if not is_list(value):
        raise UsageError(f"expected a list of objects in {tool}'s answer, got {str(value)[:80]}")
    return value


def _of_objects(entries: Sequence[Any]) -> bool:
    return all(isinstance(entry, Mapping) for entry in entries)


def json_in(text: str, tool: str) -> Any:
    fence = _FENCE.search(text)
    body = (fence.group(1) if fence else text).strip()
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        pass
    # Words around the JSON: from its first bracket on.
    begin = re.search(r"[\[{]", body)
    if begin is not None:
        try:
            return json.JSONDecoder().raw_decode(body, begin.start())[0]
        except (ValueError, RecursionError):
            pass
    raise UsageError(
        f"expected JSON in {tool}'s answer, got {text.strip()[:80]!r}: it may be cut short"
    )


def _numbers(item: Json, key: str, axes: str, tool: str) -> list[float]:
    values = item.get(key)
    if not is_list(values) or len(values) != len(axes):
        names = ", ".join(axes)
        raise UsageError(f'expected "{key}": [{names}] in {tool}\'s answer, got {values!r}')
    return [number({axis: value}, axis) for axis, value in zip(axes, values, strict=True)]


def _label(item: Json, query: str) -> str:
    label = item.get("label")
    return label if isinstance(label, str) and label else query
