"""Reading other tools' data: everything is checked before it is used, and one damaged entry never costs the others."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard, TypeVar

from molmo_point.errors import UsageError
from molmo_point.points import Point, Pointing, Status
from molmo_point.repeats import SAME_PERCENT, Repeats

Json = dict[str, Any]
Item = TypeVar("Item")

TOLERANCE = 0.005
"""How far outside the image a point may lie, as a fraction of its side: tools round (100.02 %, 1001 of 1000, 200.4 px of 200).
Such a point is moved onto the edge; one farther out is not read."""

SCORE_TOLERANCE = 1e-3
"""The same for scores."""


@dataclass(frozen=True)
class Skipped:
    """An entry that was not read.

    Attributes:
        file: The image's file name, or "" where the data does not name it.
        annotation: Which entry, as the data names it: its id, or its position from 0.
        reason: What was expected and what came.
    """

    file: str
    annotation: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file or 'image'}, annotation {self.annotation}: {self.reason}"


class Converted(list[Pointing]):
    """The pointings that were read, and `skipped`: every entry that was not, with its reason.

    A pointing of which some entries were skipped has the status `malformed`: its points are right, but they are not all.
    """

    def __init__(
        self, pointings: Iterable[Pointing] = (), skipped: Iterable[Skipped] = ()
    ) -> None:
        super().__init__(pointings)
        self.skipped = tuple(skipped)


@dataclass
class Findings:
    """What is read for one image: places, and the entries that were skipped.

    Attributes:
        file: For the report.
        points: What was read, normalized.
        skipped: What was not read.
        incomplete: Whether a thing that the data names has no point here.
        repeats: Tells points that the data names twice, which count once: by their place and label. What a person marked is
            a repeat only at the very same place.
    """

    file: str = ""
    points: list[Point] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    incomplete: bool = False
    repeats: Repeats = field(
        default_factory=lambda: Repeats(calibrated=False, near_percent=SAME_PERCENT, labelled=True)
    )

    def skip(self, annotation: object, reason: object) -> None:
        """Note that a thing could not be read."""
        self.note(annotation, reason)
        self.incomplete = True

    def note(self, annotation: object, reason: object) -> None:
        """Note something that costs no point."""
        self.skipped.append(Skipped(self.file, str(annotation), str(reason)))

    def add(self, x: float, y: float, label: str, score: object, annotation: object) -> None:
        """Add a point.

        Raises:
            UsageError: It lies outside the image.
        """
        place = inside(x, "x"), inside(y, "y")
        try:
            known = probability(score)
        except UsageError as error:
            self.note(annotation, f"{error}; the point is kept without a score")
            known = None
        self.points.append(Point(x=place[0], y=place[1], label=label, score=known))

    def add_each(
        self, items: Iterable[Item], place: Callable[[Item], tuple[float, float, str]]
    ) -> None:
        """Add the point of each item, or note why it has none.

        Args:
            place: Returns (x, y, label), or raises `UsageError`.

        Raises:
            UsageError: None of the items has a point; the first one's reason.
        """
        first = None
        for index, item in enumerate(items):
            try:
                x, y, label = place(item)
                self.add(x, y, label, None, index)
            except UsageError as error:
                first = first or error
                self.skip(index, error)
        if first is not None and not self.points:
            raise first

    def pointing(self, query: str, size: tuple[int, int], model: str, text: str = "") -> Pointing:
        """Return the answer; one that lacks something is `malformed`, never whole and never `not_found`."""
        for point in self.points:
            self.repeats.is_new(point)
        points = self.repeats.distinct(self.points)
        status = Status.FOUND if points else Status.NOT_FOUND
        if self.incomplete:
            status = Status.MALFORMED
        return Pointing(
            query=query,
            points=points,
            status=status,
            duplicates=self.repeats.repeated,
            image_size=size,
            model=model,
            text=text,
        )


def inside(value: float, axis: str) -> float:
    """Return a normalized coordinate, moved onto the edge if it lies outside by `TOLERANCE` at most.

    Raises:
        UsageError: It lies farther outside.
    """
    if not -TOLERANCE <= value <= 1.0 + TOLERANCE:
        raise UsageError(
            f"expected a point inside the image (0-1 once converted, {TOLERANCE} outside at most), got {axis} = {value!r}"
        )
    return min(max(value, 0.0), 1.0)


def probability(score: object) -> float | None:
    """Return a score, or None where there is none.

    Raises:
        UsageError: Not a number of 0-1.
    """
    if score is None:
        return None
    value = number({"score": score}, "score")
    if not -SCORE_TOLERANCE <= value <= 1.0 + SCORE_TOLERANCE:
        raise UsageError(f"expected a score of 0-1, got {value!r}")
    return min(max(value, 0.0), 1.0)


def items(data: object, key: str, tool: str) -> list[Json]:
    """Return the list of objects under `key`.

    Raises:
        UsageError: It is something else.
    """
    found = data.get(key) if isinstance(data, Mapping) else None
    if not is_list(found) or not all(isinstance(item, Mapping) for item in found):
        raise UsageError(
            f"expected a list of objects as {key!r} in {tool} data, got {str(found)[:80]}"
        )
    return [dict(item) for item in found]


def is_list(value: object) -> TypeGuard[Sequence[Any]]:
    """Whether a value read from JSON is a list."""
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def number(data: object, key: str) -> float:
    """Return the finite number under `key`.

    Raises:
        UsageError: It is something else.
    """
    value = data.get(key) if isinstance(data, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not _finite(value):
        raise UsageError(f"expected a number as {key!r}, got {repr(value)[:40]}")
    return float(value)


def side(data: object, key: str) -> int:
    """Return the length of an image's side in pixels under `key`.

    Raises:
        UsageError: Not a number of at least 1.
    """
    value = number(data, key)
    if value < 1:
        raise UsageError(f"expected {key!r} of at least 1 pixel, got {value!r}")
    return int(value)


def size_of(image_size: object) -> tuple[int, int]:
    """Return a caller's (width, height).

    Raises:
        UsageError: It is something else.
    """
    if not is_list(image_size) or len(image_size) != 2:
        raise UsageError(f"expected image_size as (width, height) in pixels, got {image_size!r}")
    named = dict(zip(("width", "height"), image_size, strict=True))
    return side(named, "width"), side(named, "height")


def without_none(data: Json) -> Json:
    """Return the fields that are set."""
    return {key: value for key, value in data.items() if value is not None}


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
