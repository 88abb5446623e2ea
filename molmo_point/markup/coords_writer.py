"""Points to text, byte for byte as Molmo 2's training data has it (molmo2.md section 5): images, frames of videos, tracks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, Union

from molmo_point.errors import MarkupError
from molmo_point.markup.writer import NONE_TEXT, PLACEHOLDER, Annotation, Coordinates

Scale = Union[float, Sequence[float]]
"""What the coordinates call the far edge: one number for both sides, or (width, height)."""

Style = Literal["point", "count", "count first", "number"]
"""The tag alone; the counting sentence around it; its number before it; its number alone."""


class Frame(NamedTuple):
    """The points of one image, or of one moment of a video.

    Attributes:
        name: The image's number from 1 ("1"), or seconds (`seconds`).
        points: (N, 2) of (x, y).
        scale: As `Scale`.
    """

    name: str
    points: Coordinates
    scale: Scale = 1.0


def seconds(time_s: float) -> str:
    """Return a time as the text has it, with one decimal."""
    return f"{time_s:.1f}"


def format_coords(
    frames: Sequence[Frame],
    label: str,
    *,
    style: Style = "point",
    alt: str | None = None,
    separator: str = ";",
) -> str:
    """Write points; the inverse of `parse_coords` for one frame named "1", up to the thousandths that the text has.

    In each frame they are sorted by x, then y, after rounding; ordinals go on from frame to frame.

    Args:
        label: As it stands in the text; its case is kept.
        alt: A label before the points.
        separator: Between frames: ";", or a tab in the older form (html-v1).

    Raises:
        MarkupError: A coordinate is outside the image, or a label holds `</point`.
    """
    texts, count = [], 0
    for frame in frames:
        texts.append(f"{frame.name} {_numbered(frame, count + 1)}")
        count += len(frame.points)
    tag = _tag("points", separator.join(texts), label, alt)
    if not count:
        return NONE_TEXT
    if style == "count":
        return f"Counting the {tag} shows a total of {count}."
    if style == "count first":
        return f"There are {count} {tag}."
    return str(count) if style == "number" else tag


def format_coords_annotated(
    answer: str, annotations: Sequence[Annotation], *, scale: Scale = 1.0
) -> str:
    """Replace each `<|POINT|>` of an answer, left to right, by the tag of one annotation; raises as `format_annotated`."""
    head, *tails = answer.split(PLACEHOLDER)
    if len(tails) != len(annotations):
        raise MarkupError(
            f"expected one annotation for each {PLACEHOLDER} of the answer, got {len(annotations)} "
            f"annotations for {len(tails)} placeholders"
        )
    for (points, inline, alt), tail in zip(annotations, tails, strict=True):
        head += format_coords([Frame("1", points, scale)], inline, alt=alt) + tail
    return head


def format_tracks(
    frames: Sequence[tuple[float, Mapping[str, Sequence[float]]]],
    label: str,
    *,
    scale: Scale = 1.0,
) -> str:
    """Write where objects are at each time.

    Args:
        frames: (time in seconds, {object: (x, y)}), only of objects that are seen then.

    Returns:
        Objects are numbered in the order in which they are first written, those of one frame from left to right.
    """
    numbers: dict[str, int] = {}
    texts = []
    for time_s, objects in sorted(frames, key=lambda frame: frame[0]):
        places = {key: _thousandths(point, scale) for key, point in objects.items()}
        for key in sorted(places, key=places.__getitem__):
            numbers.setdefault(key, len(numbers) + 1)
        rows = sorted((numbers[key], *place) for key, place in places.items())
        if rows:
            texts.append(f"{seconds(time_s)} {_join(rows)}")
    return _tag("tracks", ";".join(texts), label, None)


def _tag(name: str, coords: str, label: str, alt: str | None) -> str:
    for text in (label, alt or ""):
        if f"</{name[:-1]}" in text:
            raise MarkupError(
                f"a label cannot hold '</{name[:-1]}' (Molmo's text escapes nothing), got {text[:80]!r}: reword it"
            )
    before = "" if alt is None else f' alt="{alt}"'
    return f'<{name}{before} coords="{coords}">{label}</{name}>'


def _numbered(frame: Frame, first: int) -> str:
    places = sorted(_thousandths(point, frame.scale) for point in frame.points)
    return _join([(index, *place) for index, place in enumerate(places, start=first)])


def _join(rows: Sequence[tuple[int, int, int]]) -> str:
    return " ".join(f"{index} {x:03d} {y:03d}" for index, x, y in rows)


def _thousandths(point: Sequence[float], scale: Scale) -> tuple[int, int]:
    """Return (x, y) as whole thousandths, halves to even."""
    width, height = scale if isinstance(scale, Sequence) else (scale, scale)
    x, y = float(point[0]) / width, float(point[1]) / height
    if not (0 <= x <= 1 and 0 <= y <= 1):
        raise MarkupError(
            f"expected points inside the image (0-1), got ({x:g}, {y:g}): check `scale`"
        )
    return round(1000 * x), round(1000 * y)
