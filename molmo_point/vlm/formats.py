"""How families of models write points. One table: the prompt, whose pixels the coordinates count, and the reader.

Sources of the prompts and coordinates: the model cards of each family (docs/engines.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from molmo_point.convert import (
    from_gemini,
    from_molmo,
    from_molmo2,
    from_moondream,
    from_perceptron,
    from_point_tags,
    from_qwen,
    from_robopoint,
    qwen_seen_size,
)
from molmo_point.convert.marked_text import MENTIONED, NUMBER, TAG, TUPLE
from molmo_point.convert.models import json_in
from molmo_point.errors import UsageError
from molmo_point.markup import (
    CoordsParser,
    MarkupParser,
    PointParser,
    count_prompt,
    point_prompt,
)
from molmo_point.points import Pointing, Status

Size = tuple[int, int]
Reader = Callable[[str, str, Size, Size], Pointing]
"""(answer, query, (width, height) of the original image, (width, height) of the image as sent) to a pointing."""


@dataclass(frozen=True)
class PointFormat:
    """How a family of models writes points.

    Attributes:
        prompt: Of a query, to point.
        read: The reader. Raises `UsageError` for a text without points that does not say that there are none.
        place: Matches one point in the text; its last two groups are its numbers.
        count: Of a query, to count by pointing; None for the prompt that points.
        sent_size: Size to which the image is resized before it is sent, so that the coordinates count in its pixels; None
            sends the image as it is.
        parser: Parses while the text comes; None where the text is read when it has ended.
    """

    prompt: Callable[[str], str]
    read: Reader
    place: re.Pattern[str]
    count: Callable[[str], str] | None = None
    sent_size: Callable[[Size], Size] | None = None
    parser: type[PointParser] | None = None


def _asking(instruction: str) -> Callable[[str], str]:
    return lambda query: instruction.format(query=query.strip())


def _pair(key: str) -> re.Pattern[str]:
    return re.compile(rf'"{key}"\s*:\s*\[\s*({NUMBER})\s*,\s*({NUMBER})\s*\]')


def _moondream(text: str, query: str, size: Size, sent: Size) -> Pointing:
    return from_moondream(json_in(text, "Moondream"), query, size)


def _json_prompt(key: str, order: str, unit: str) -> Callable[[str], str]:
    return _asking(
        "Point to every instance of: {query}\n"
        f'Answer with JSON only: [{{{{"{key}": [{order}], "label": "..."}}}}, ...], {unit}. '
        "Answer [] if there is none."
    )


_PER_MILLE = (
    "integers from 0 to 1000 of the image's width and height, origin in the top left corner"
)

FORMATS: dict[str, PointFormat] = {
    "molmo": PointFormat(
        point_prompt,
        lambda text, query, size, sent: from_molmo(text, query, size),
        re.compile(rf'\bx\d*="\s*({NUMBER})"\s+y\d*="\s*({NUMBER})"'),
        count=count_prompt,
        parser=MarkupParser,
    ),
    "molmo2": PointFormat(
        point_prompt,
        lambda text, query, size, sent: from_molmo2(text, query, size),
        re.compile(r"\b(\d{3}) (\d{3})\b"),
        count=count_prompt,
        parser=CoordsParser,
    ),
    "qwen2.5": PointFormat(
        _json_prompt("point_2d", "x, y", "in pixels of the image"),
        lambda text, query, size, sent: from_qwen(text, query, size, seen_size=sent),
        _pair("point_2d"),
        sent_size=qwen_seen_size,
    ),
    "qwen3": PointFormat(
        _json_prompt("point_2d", "x, y", _PER_MILLE),
        lambda text, query, size, sent: from_qwen(text, query, size),
        _pair("point_2d"),
    ),
    "gemini": PointFormat(
        _json_prompt("point", "y, x", _PER_MILLE),
        lambda text, query, size, sent: from_gemini(text, query, size),
        _pair("point"),
    ),
    "moondream": PointFormat(
        _asking(
            "Point to every instance of: {query}\n"
            'Answer with JSON only: {{"points": [{{"x": 0.5, "y": 0.5}}, ...]}}, from 0 to 1 of the width and height. '
            'Answer {{"points": []}} if there is none.'
        ),
        _moondream,
        re.compile(rf'"x"\s*:\s*({NUMBER})\s*,\s*"y"\s*:\s*({NUMBER})'),
    ),
    "robopoint": PointFormat(
        _asking(
            "Find every instance of: {query}. Your answer should be formatted as a list of tuples, i.e. "
            "[(x1, y1), (x2, y2), ...], where each tuple contains the x and y coordinates of a point. The coordinates should be "
            "between 0 and 1, indicating the normalized pixel locations of the points in the image. Answer [] if there is none."
        ),
        lambda text, query, size, sent: from_robopoint(text, query, size),
        TUPLE,
    ),
    "point-tags": PointFormat(
        _asking(
            "Point to every instance of: {query}\n"
            "Answer with <point>x y</point> for each, "
            + _PER_MILLE
            + ". Answer [] if there is none."
        ),
        lambda text, query, size, sent: from_point_tags(text, query, size),
        TAG,
    ),
    "perceptron": PointFormat(
        _asking("Point to every instance of: {query}\n<hint>POINT</hint>"),
        lambda text, query, size, sent: from_perceptron(text, query, size),
        MENTIONED,
    ),
}
"""By the name that `markup=` takes."""

_BY_MODEL = (
    ("molmo2", r"molmo-?2|molmo_?point|olmo.*molmo.*2"),
    ("molmo", r"molmo|\bnano\b"),
    ("qwen2.5", r"qwen-?2(\.5|_5)"),
    ("qwen3", r"qwen-?(2-vl|3)"),
    ("gemini", r"gemini"),
    ("moondream", r"moondream"),
    ("robopoint", r"robo(point|refer|brain)"),
    ("point-tags", r"ui-?tars"),
    ("perceptron", r"isaac|perceptron"),
)
"""Patterns in a model's name, the first that matches decides."""


def format_for(model: str, markup: str | None) -> PointFormat:
    """Return how a model writes points: as `markup` says, or by the model's name.

    Raises:
        UsageError: No such format, or nothing known about a model of that name.
    """
    names = ", ".join(FORMATS)
    if markup is not None:
        if markup not in FORMATS:
            raise UsageError(f"expected markup to be one of {names}, got {markup!r}")
        return FORMATS[markup]
    for name, pattern in _BY_MODEL:
        if re.search(pattern, model, re.IGNORECASE):
            return FORMATS[name]
    raise UsageError(
        f"how the model {model!r} writes points is not known by its name: say so with markup=, one of {names}"
    )


def read_answer(
    form: PointFormat, text: str, query: str, size: Size, sent: Size, *, cut: bool = False
) -> Pointing:
    """Return an answer as a pointing; what cannot be read is `malformed` with the text, never a guess.

    Args:
        size: (width, height) of the original image.
        sent: Of the image as it was sent.
        cut: A limit ended the text. The points that were complete are kept, the status is `truncated`.
    """
    # A list that was cut is closed behind its last complete entry.
    whole = text[: text.rfind("}") + 1]
    for attempt in (text, f"{whole}]", f"{whole}]}}") if cut else (text,):
        try:
            pointing = form.read(attempt, query, size, sent)
        except UsageError:
            continue
        status = Status.TRUNCATED if cut else pointing.status
        return pointing.replace(text=text, status=status)
    status = Status.TRUNCATED if cut else Status.MALFORMED
    return Pointing(query=query, status=status, text=text, image_size=size)
