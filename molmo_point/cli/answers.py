"""One answer of `point` or `count`: what stands in its line, and which exit code it asks for.

One rule for all outputs: what is truncated, malformed or failed is never a count, neither 0 nor a part of one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_UP, Context
from typing import TYPE_CHECKING, Any

from molmo_point.cli.exit_codes import FAILED, FOUND, MISTAKE, NOTHING
from molmo_point.cli.output import visible
from molmo_point.errors import PointError, UsageError

if TYPE_CHECKING:
    from molmo_point.points import Point, Pointing

UNKNOWN = "NA"
"""Stands for a count that is not known, as in R and pandas."""

DISAGREES = "disagrees"
"""Status column of an answer whose written number is not that of its points."""

ERROR = "error"
_DIGITS = 6
_ORDER = (FAILED, MISTAKE, FOUND, NOTHING)
"""Exit codes of answers, the one that counts first."""


@dataclass(frozen=True)
class Answer:
    """What came of one query about one image: a pointing, or the error that took its place.

    Attributes:
        image: Name of the image, printable.
        query: As the user wrote it.
        pointing: None where `error` is set.
        error: What went wrong instead.
    """

    image: str
    query: str
    pointing: Pointing | None = None
    error: PointError | None = None

    @property
    def complete(self) -> bool:
        """Whether the whole answer was read, so that its points are all there are."""
        return self.pointing is not None and self.pointing.status.value in ("found", "not_found")

    @property
    def count(self) -> int | None:
        """How many points there are; None where that is not known."""
        return self.pointing.count if self.pointing is not None and self.complete else None

    @property
    def status(self) -> str:
        """The pointing's status, DISAGREES or ERROR."""
        if self.pointing is None:
            return ERROR
        disagrees = self.complete and self.pointing.count_agrees is False
        return DISAGREES if disagrees else self.pointing.status.value

    @property
    def code(self) -> int:
        """The exit code of this answer alone."""
        if self.error is not None:
            return MISTAKE if isinstance(self.error, UsageError) else FAILED
        if not self.complete:
            return FAILED
        return FOUND if self.count else NOTHING

    def row(self, with_query: bool) -> str:
        """Return `COUNT<TAB>IMAGE<TAB>STATUS`, with the query before the status where several were asked."""
        count = UNKNOWN if self.count is None else str(self.count)
        fields = [count, self.image, *([self.query] if with_query else []), self.status]
        return "\t".join(visible(re.sub(r"[\t\r\n]", " ", field)) for field in fields)

    def as_json(self) -> dict[str, Any]:
        """Return the fields of docs/commands.md."""
        line: dict[str, Any] = {"image": self.image, "query": self.query}
        if self.pointing is None:
            assert self.error is not None
            error = {"kind": self.error.kind, "message": str(self.error)}
            return {**line, "status": ERROR, "count": None, "error": error}
        pointing = self.pointing
        timing = {name: value for name, value in pointing.timing.model_dump().items() if value}
        return {
            **line,
            "status": pointing.status.value,
            "count": self.count,
            "stated_count": pointing.stated_count,
            "count_agrees": pointing.count_agrees,
            "duplicates": pointing.duplicates,
            "other_labels": other_labels(pointing),
            "points": [_point(point) for point in pointing.points],
            "absent_probability": _short(pointing.absent_probability),
            "calibrated": pointing.calibrated,
            "in_domain": _short(pointing.in_domain),
            **_counting(pointing),
            "text": pointing.text,
            "image_size": list(pointing.image_size),
            **_sizes(pointing),
            "model": pointing.model,
            "timing": {
                name: _short(value) if isinstance(value, float) else value
                for name, value in timing.items()
            },
        }


def _sizes(pointing: Pointing) -> dict[str, Any]:
    """Return what only answers about several images have."""
    sizes = [list(size) for size in pointing.image_sizes]
    return {"image_sizes": sizes} if sizes else {}


def _counting(pointing: Pointing) -> dict[str, Any]:
    """Return what only answers that count have."""
    found: dict[str, Any] = {}
    if pointing.count_interval is not None:
        found["count_interval"] = list(pointing.count_interval)
    if pointing.tiling is not None:
        found["tiling"] = pointing.tiling.model_dump()
    return found


def overall_code(answers: Iterable[Answer]) -> int:
    """Return the exit code of many answers: the worst that happened, else whether anything was found."""
    worst = None
    for answer in answers:
        worst = worst_code(worst, answer.code)
    return NOTHING if worst is None else worst


def worst_code(first: int | None, second: int) -> int:
    """Return the exit code of two answers together; None is that of no answer."""
    return second if first is None else min(first, second, key=_ORDER.index)


def other_labels(pointing: Pointing) -> list[str]:
    """Return the labels that share no word with the query, each once; none for queries that are whole questions.

    Molmo labels a point with what it was asked for. Another word is a sign that the point is wrong. Letter case and plural
    endings do not count.
    """
    from molmo_point.markup.noun_phrase import noun_phrase

    asked = noun_phrase(pointing.query)
    if asked.endswith("?"):
        return []
    wanted = _forms(asked)
    labels = dict.fromkeys(point.label for point in pointing.points)
    return [label for label in labels if label.strip() and not wanted & _forms(label)]


def _forms(text: str) -> set[str]:
    from molmo_point.markup.noun_phrase import word_forms

    return {form for word in re.findall(r"[^\W_]+", text) for form in word_forms(word)}


def _point(point: Point) -> dict[str, Any]:
    fields = point.model_dump()
    fields["x"], fields["y"] = _short(point.x), _short(point.y)
    fields["score"] = _short(point.score)
    if point.covariance is not None:
        xx, xy, yy = point.covariance
        # Rounded outwards, so that it stays positive semidefinite.
        fields["covariance"] = [_short(xx, ROUND_UP), _short(xy, ROUND_DOWN), _short(yy, ROUND_UP)]
    return fields


def _short(value: float | None, rounding: str | None = None) -> float | None:
    """Round to six significant digits."""
    if value is None or isinstance(value, int):
        return value
    return float(Context(prec=_DIGITS, rounding=rounding).create_decimal_from_float(value))
