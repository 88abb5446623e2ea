"""An answer as two language rows: a question of the user, and the answer as JSON, in the shapes of LeRobot's style `vqa`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal, get_args

from molmo_point.errors import UsageError
from molmo_point.points import Pointing, Status

Kind = Literal["keypoint", "count", "bbox"]
KINDS: tuple[Kind, ...] = get_args(Kind)

STYLE = "vqa"


@dataclass(frozen=True)
class Asking:
    """What is asked about frames.

    Attributes:
        queries: Asked in turn.
        kinds: Of rows, in turn. A keypoint row needs exactly one point; other numbers of points become a count row.
        box_px: Side of the box around each point in pixels, for bbox rows: the model points, and names no extents.
        min_score: Answers with a less certain point are left out; 0 takes all.

    Raises:
        UsageError: No query, an unknown kind, boxes without a size.
    """

    queries: tuple[str, ...]
    kinds: tuple[str, ...] = ("keypoint", "count")
    box_px: float | None = None
    min_score: float = 0.0

    def __post_init__(self) -> None:
        if not self.queries or not all(query.strip() for query in self.queries):
            raise UsageError(f"expected queries, got {self.queries!r}")
        unknown = sorted(set(self.kinds) - set(KINDS))
        if unknown or not self.kinds:
            raise UsageError(
                f"expected kinds of {', '.join(KINDS)}, got {', '.join(unknown) or 'none'}"
            )
        if "bbox" in self.kinds and not (self.box_px and self.box_px > 0):
            raise UsageError(
                "bbox rows need the side of the boxes in pixels (box_px): a point has no extent"
            )


def rows_of(pointing: Pointing, kind: str, camera: str, asking: Asking) -> list[dict[str, Any]]:
    """Return the question and the answer.

    The answer has LeRobot's keys, and besides: `image_size` ([width, height], whose continuous pixels it counts in, origin in
    the top left corner), `score` (of its least certain point, or null), `model`.

    Raises:
        UsageError: The answer is not whole, or too uncertain.
    """
    if pointing.status not in (Status.FOUND, Status.NOT_FOUND):
        raise UsageError(f"the answer is {pointing.status}")
    scores = [point.score for point in pointing.points]
    known = [score for score in scores if score is not None]
    score = min(known) if known and len(known) == len(scores) else None
    if asking.min_score > 0 and pointing.points and (score is None or score < asking.min_score):
        raise UsageError(f"a score of {score} is below {asking.min_score}")
    question, answer = _worded(pointing, kind, asking)
    answer |= {
        "image_size": list(pointing.image_size),
        "score": None if score is None else round(score, 4),
        "model": pointing.model,
    }
    return [
        _row("user", question, camera),
        _row("assistant", json.dumps(answer, sort_keys=True, ensure_ascii=False), camera),
    ]


def _worded(pointing: Pointing, kind: str, asking: Asking) -> tuple[str, dict[str, Any]]:
    query = pointing.query
    pixels = [point.pixel(*pointing.image_size) for point in pointing.points]
    if kind == "keypoint" and len(pixels) == 1:
        point = [round(value, 2) for value in pixels[0]]
        return f"Point to: {query}", {"label": query, "point_format": "xy", "point": point}
    if kind == "bbox":
        boxes = [_box(pixel, pointing.image_size, asking.box_px or 0.0) for pixel in pixels]
        found = [{"label": query, "bbox_format": "xyxy", "bbox": box} for box in boxes]
        return f"Where is: {query}?", {"detections": found, "box_px": asking.box_px}
    return f"How many: {query}?", {"label": query, "count": len(pixels)}


def _box(pixel: tuple[float, float], size: tuple[int, int], side: float) -> list[float]:
    """Return (x_min, y_min, x_max, y_max) of a box around a pixel, cut at the image's edges."""
    low = [max(0.0, value - side / 2) for value in pixel]
    high = [min(float(most), value + side / 2) for value, most in zip(pixel, size, strict=True)]
    return [round(value, 2) for value in (*low, *high)]


def _row(role: str, content: str, camera: str) -> dict[str, Any]:
    return {"role": role, "content": content, "style": STYLE, "camera": camera, "tool_calls": None}
