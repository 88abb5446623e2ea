"""The prompts of lmms-eval's counting and pointing tasks, and answers as the tasks' own parsers read them.

A task's prompt is a question, and a sentence on the format of the answer. The sentence is for a model that follows it word by
word; a Molmo writes points in its own markup. So the sentence is recognised, the question alone is asked, and the points are
written as the sentence says. The prompts are those of lmms-eval 0.7.3 (`lmms_eval/tasks/<task>/utils.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from molmo_point.convert import to_qwen, to_robopoint
from molmo_point.points import Point, Pointing

GRID = 1000
"""Steps of the tasks' grid; their parsers divide by it, and 999 is the last place on it."""

Kind = Literal["point", "count"]


@dataclass(frozen=True)
class TaskPrompt:
    """A question of a task.

    Attributes:
        kind: Whether it is pointed at or counted.
        query: What to look for.
        answer: From the pointing to the text that the task's parser reads.
    """

    kind: Kind
    query: str
    answer: Callable[[Pointing], str]


def read_prompt(text: str) -> TaskPrompt | None:
    """Return the question in a prompt; None where its sentence on the format is none that is known here."""
    for form in _FORMS:
        match = form.pattern.fullmatch(text.strip())
        if match is not None:
            return TaskPrompt(form.kind, match["query"].strip(), form.answer)
    return None


@dataclass(frozen=True)
class _Form:
    kind: Kind
    pattern: re.Pattern[str]
    answer: Callable[[Pointing], str]


def _count(pointing: Pointing) -> str:
    return str(pointing.count)


def _grid_tuples(pointing: Pointing) -> str:
    places = (f"({_on_grid(point.x)}, {_on_grid(point.y)})" for point in pointing.points)
    return f"[{', '.join(places)}]"


def _on_grid(value: float) -> int:
    # Parsers truncate value / 1000 * side, so the middle of a step is what they should land in.
    return min(int(value * GRID + 0.5), GRID - 1)


def _json_points(pointing: Pointing) -> str:
    return json.dumps(to_qwen(pointing), ensure_ascii=False)


def _one_click(absent: str) -> Callable[[Pointing], str]:
    def answer(pointing: Pointing) -> str:
        if not pointing.points:
            return absent
        point = max(pointing.points, key=_score)
        return f"[{point.x:.4f}, {point.y:.4f}]"

    return answer


def _score(point: Point) -> float:
    return point.score or 0.0


def _form(kind: Kind, pattern: str, answer: Callable[[Pointing], str]) -> _Form:
    return _Form(kind, re.compile(pattern, re.DOTALL), answer)


_TUPLES = (
    r"(?P<query>.+?) Your answer should be formatted as a list of tuples, i\.e\. \[\(x1, y1\).*"
)
_FORMS = (
    # CountBenchQA puts the caption of the image in front of the question, with an empty line between.
    _form("count", r"(?:.*\n\n)?(?P<query>[^\n]+)\s+Answer with a single number\.", _count),
    _form("point", _TUPLES + r"between 0 and 999.*", _grid_tuples),
    _form("point", _TUPLES + r"between 0 and 1,.*", to_robopoint),
    _form(
        "point",
        r"pointing: (?P<query>.+?)(?:, You should point to all the objects in the image that are mentioned in the question\.)?"
        r"\nReturn points in JSON format and normalized to the range \[0, 1000\]\.",
        _json_points,
    ),
    _form(
        "point",
        r"(?P<query>.+?) Your answer should be JSON format\. The coordinates should be between 0 and 1000, .*",
        _json_points,
    ),
    _form(
        "point",
        r"(?P<query>Locate .+?) in this image and output the point coordinates in JSON format\.",
        _json_points,
    ),
    _form(
        "point",
        r"Identify the UI element for the instruction and output exactly one click point as \[x, y\] .*\n"
        r"Instruction: (?P<query>.+)",
        _one_click("There is no such element."),
    ),
    _form(
        "point",
        r"Identify the UI target for the instruction and output exactly one click point as \[x, y\]\. .*\[-1, -1\]\.\n"
        r"Instruction: (?P<query>.+)",
        _one_click("[-1, -1]"),
    ),
)
