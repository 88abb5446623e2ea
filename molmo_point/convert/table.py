"""Pointings as a table: one row for each point, for pandas, spreadsheets and scripts."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable

from molmo_point.convert.reading import Json
from molmo_point.points import Point, Pointing

COLUMNS = (
    "image", "query", "status", "count", "index", "label", "x", "y", "x_px", "y_px",
    "score", "sd_x_px", "sd_y_px", "width", "height", "model", "stamp_ns",
)  # fmt: skip
"""x, y are 0-1 of the image; the columns with _px continuous pixels; sd_* standard deviations."""


def to_rows(pointings: Pointing | Iterable[Pointing]) -> list[Json]:
    """Return one dictionary for each point, with the keys `COLUMNS`: `pandas.DataFrame(to_rows(answers))`.

    An answer without points has one row, whose point columns are None: its `status` says whether nothing is there (`not_found`,
    count 0) or nothing is known (`pending`, `truncated`, `malformed`, count None).
    """
    answers = [pointings] if isinstance(pointings, Pointing) else list(pointings)
    return [_row(answer, point) for answer in answers for point in (answer.points or (None,))]


def to_csv(pointings: Pointing | Iterable[Pointing]) -> str:
    """Return `to_rows` as CSV text with a header (RFC 4180); None is an empty field.

    Write it with `open(path, "w", newline="", encoding="utf-8")`.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(to_rows(pointings))
    return text.getvalue()


def _row(answer: Pointing, point: Point | None) -> Json:
    width, height = answer.image_size
    row: Json = dict.fromkeys(COLUMNS)
    row.update(
        image=answer.frame_id,
        query=answer.query,
        status=str(answer.status),
        count=answer.count if answer.status in ("found", "not_found") else None,
        width=width,
        height=height,
        model=answer.model,
        stamp_ns=answer.stamp_ns,
    )
    if point is not None:
        x_px, y_px = point.pixel(width, height)
        row.update(
            index=point.index,
            label=point.label,
            x=point.x,
            y=point.y,
            x_px=x_px,
            y_px=y_px,
            score=point.score,
        )
        if point.covariance is not None:
            row["sd_x_px"] = math.sqrt(point.covariance[0]) * width
            row["sd_y_px"] = math.sqrt(point.covariance[2]) * height
    return row
