"""The rows of a run with what people made of them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molmo_point.count_runs.journal import Entry, read_run
from molmo_point.count_runs.results import row_of
from molmo_point.points import Point, Pointing, Status
from molmo_point.review.corrections import Correction, Corrections, MarkedPoint
from molmo_point.review.image import image_size

MOVED = 0.002
"""A point counts as moved when it is farther than this from where the model put it, as a share of the image's side."""


class Review:
    """A run under review.

    Args:
        folder: Of the run.

    Attributes:
        entries: The rows by their ids, in their order.

    Raises:
        UsageError: The folder holds no run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries = {row_id(entry): entry for entry in read_run(folder)}
        self.corrections = Corrections(folder)

    def correction(self, entry: Entry) -> Correction | None:
        """Return what people made of a row, or None."""
        return self.corrections.get(entry.key)

    def points(self, entry: Entry) -> list[MarkedPoint]:
        """Return the points of a row as they stand: the corrected ones, else the model's."""
        correction = self.correction(entry)
        if correction is not None:
            return list(correction.points)
        return [
            MarkedPoint(x=point.x, y=point.y, origin=point.index) for point in _model_points(entry)
        ]

    def line(self, row_id: str) -> dict[str, Any]:
        """Return what the list of the page shows of a row."""
        entry = self.entries[row_id]
        row = row_of(entry)
        correction = self.correction(entry)
        return {
            "id": row_id,
            **{name: row[name] for name in ("file", "frame", "query", "count", "low", "high", "status", "agreement", "error")},
            "corrected": None if correction is None else len(correction.points),
            "accepted": correction is not None and correction.accepted,
        }  # fmt: skip

    def row(self, row_id: str) -> dict[str, Any]:
        """Return a row with the model's points and those that stand."""
        entry = self.entries[row_id]
        return {
            **self.line(row_id),
            "model": [
                {"x": point.x, "y": point.y, "score": point.score}
                for point in _model_points(entry)
            ],
            "points": [point.model_dump() for point in self.points(entry)],
        }

    def pointing(self, entry: Entry) -> Pointing | None:
        """Return the answer with the points that stand; None for a row without an answer that nobody corrected."""
        correction = self.correction(entry)
        if correction is None:
            return entry.pointing
        answer = entry.pointing or _blank(entry)
        points = []
        for index, marked in enumerate(correction.points):
            known = marked.origin is not None and marked.origin < len(answer.points)
            label = answer.points[marked.origin or 0].label if known else entry.query
            points.append(Point(x=marked.x, y=marked.y, label=label, index=index))
        status = Status.FOUND if points else Status.NOT_FOUND
        return answer.replace(
            points=points, status=status, stated_count=None, count_interval=None, duplicates=0
        )


@dataclass(frozen=True)
class Agreement:
    """How far the model and the people agree, over the rows that were accepted and whose count the model knew.

    Attributes:
        rows: Number of all rows; accepted: of those that were accepted.
        compared: Number of accepted rows with a count of the model's.
        exact: Of these, with the same count.
        mean_error: Mean of the model's count minus the corrected one; mean_absolute_error of its absolute value.
        inside: Of those with an interval, how many corrected counts lie in it; with_interval: how many have one.
        added, deleted, moved: Number of points.
    """

    rows: int
    accepted: int
    compared: int
    exact: int
    mean_error: float | None
    mean_absolute_error: float | None
    with_interval: int
    inside: int
    added: int
    deleted: int
    moved: int


def agreement(review: Review) -> Agreement:
    """Compare the model's answers with the accepted rows."""
    accepted = [
        (entry, correction)
        for entry in review.entries.values()
        if (correction := review.correction(entry)) is not None and correction.accepted
    ]
    errors: list[int] = []
    with_interval = inside = added = deleted = moved = 0
    for entry, correction in accepted:
        row = row_of(entry)
        truth = len(correction.points)
        if row["count"] is not None:
            errors.append(row["count"] - truth)
        if row["low"] is not None:
            with_interval += 1
            inside += row["low"] <= truth <= row["high"]
        model = _model_points(entry)
        kept = {point.origin for point in correction.points if point.origin is not None}
        added += sum(point.origin is None for point in correction.points)
        deleted += len(model) - len(kept)
        moved += sum(_is_moved(point, model) for point in correction.points)
    return Agreement(
        rows=len(review.entries),
        accepted=len(accepted),
        compared=len(errors),
        exact=sum(error == 0 for error in errors),
        mean_error=sum(errors) / len(errors) if errors else None,
        mean_absolute_error=sum(map(abs, errors)) / len(errors) if errors else None,
        with_interval=with_interval,
        inside=inside,
        added=added,
        deleted=deleted,
        moved=moved,
    )


def row_id(entry: Entry) -> str:
    """Return a row's name in addresses: the same whenever the run is read."""
    text = json.dumps(entry.key, ensure_ascii=True)
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:16]


def _blank(entry: Entry) -> Pointing:
    """An answer without points, for a row that the model did not answer and a person did."""
    size = image_size(entry)
    return Pointing(query=entry.query, status=Status.NOT_FOUND, image_size=size)


def _is_moved(point: MarkedPoint, model: Sequence[Point]) -> bool:
    if point.origin is None or point.origin >= len(model):
        return False
    before = model[point.origin]
    return math.hypot(point.x - before.x, point.y - before.y) > MOVED


def _model_points(entry: Entry) -> Sequence[Point]:
    return () if entry.pointing is None else entry.pointing.points
