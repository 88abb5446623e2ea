"""Plain formats: the user's text is the query, all points are written, the best one first."""

from __future__ import annotations

import json

from molmo_point.points import Pointing
from molmo_point.service.http.dialects.dialect import (
    Dialect,
    Prompt,
    best_first,
    per_mille,
    pixel_of,
)


def whole_text(prompt: Prompt) -> str:
    """The user's text is the query."""
    return prompt.user


def _empty_list(prompt: Prompt) -> str:
    return "[]"


def _xy1000(prompt: Prompt, pointing: Pointing) -> str:
    return "\n".join(f"({x}, {y})" for x, y in map(per_mille, best_first(pointing)))


def _xy_px(prompt: Prompt, pointing: Pointing) -> str:
    pixels = [pixel_of(point, *pointing.image_size) for point in best_first(pointing)]
    return "\n".join(f"({x}, {y})" for x, y in pixels)


def _json_bbox1000(prompt: Prompt, pointing: Pointing) -> str:
    found = []
    for point in best_first(pointing):
        x, y = per_mille(point)
        # A point is all that the model gives: a box without extent, whose middle is the point.
        found.append({"bbox_2d": [x, y, x, y], "label": point.label or pointing.query})
    return json.dumps(found, ensure_ascii=False)


def _json_point1000(prompt: Prompt, pointing: Pointing) -> str:
    found = [
        {"point_2d": list(per_mille(point)), "label": point.label or pointing.query}
        for point in best_first(pointing)
    ]
    return json.dumps(found, ensure_ascii=False)


def _click_json(prompt: Prompt, pointing: Pointing) -> str:
    x, y = pixel_of(best_first(pointing)[0], *pointing.image_size)
    return json.dumps({"action": "click", "x": x, "y": y})


FORMATS = (
    Dialect("xy1000", "(635, 445)", whole_text, _xy1000, None),
    Dialect("xy_px", "(1219, 480)", whole_text, _xy_px, None),
    Dialect(
        "json_bbox1000",
        '[{"bbox_2d": [635, 445, 635, 445], "label": "red mug"}]',
        whole_text,
        _json_bbox1000,
        _empty_list,
    ),
    Dialect(
        "json_point1000",
        '[{"point_2d": [635, 445], "label": "red mug"}]',
        whole_text,
        _json_point1000,
        _empty_list,
    ),
    Dialect(
        "click_json", '{"action": "click", "x": 1219, "y": 480}', whole_text, _click_json, None
    ),
)
