"""Points to text, byte for byte as in Molmo's training data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Union

from molmo_point.errors import MarkupError

if TYPE_CHECKING:
    import numpy as np

Coordinates = Union[Sequence[Sequence[float]], "np.ndarray[Any, Any]"]
"""(N, 2) positions (x, y): any nested sequence, or an array; an array's float dtype is kept while rounding."""

PLACEHOLDER = "<|POINT|>"
"""Replaced by markup in `format_annotated`."""

NONE_TEXT = "There are none."


class Annotation(NamedTuple):
    """The points of one placeholder of an answer.

    Attributes:
        points: (N, 2) of (x, y), N at least 1.
        inline_text: The words between the tags.
        alt_text: Label of the points.
    """

    points: Coordinates
    inline_text: str
    alt_text: str


def format_points(
    points: Coordinates,
    label: str,
    *,
    counting: bool = False,
    scale: float = 1.0,
    image_size: tuple[int, int] | None = None,
    verbatim: bool = False,
) -> str:
    """Return points as Molmo writes them; the inverse of `parse` up to rounding to one decimal.

    Points are rounded (half to even, in the array's own dtype) and ordered (left to right, then top to bottom, by the rounded
    values) as in the training data.

    Args:
        points: (N, 2) of (x, y); N may be 0.
        label: Label of the points; lower-cased unless `verbatim`.
        counting: Put the markup into the counting sentence.
        scale: Coordinate of the far edge: 1 for `norm`, 100 for percent. Ignored with `image_size`.
        image_size: (width, height): `points` are continuous pixels of an image of that size.
        verbatim: Keep the label's case, as training does with questions.

    Raises:
        MarkupError: A coordinate is outside the image or not finite, or the label contains `</point`.
    """
    name = label if verbatim else label.lower()
    percents = _percents(points, scale, image_size)
    if not percents:
        return NONE_TEXT
    markup = _markup(percents, alt=name, inline=name)
    return f"Counting the {markup} shows a total of {len(percents)}." if counting else markup


def format_annotated(answer: str, annotations: Sequence[Annotation], *, scale: float = 1.0) -> str:
    """Return an answer with each `<|POINT|>` replaced, in order, by the markup of one annotation. Labels keep their case.

    Args:
        answer: Prose with one placeholder for each annotation.
        annotations: In the order of the placeholders.
        scale: As in `format_points`.

    Raises:
        MarkupError: Placeholders and annotations differ in number, an annotation has no points, or as in `format_points`.
    """
    head, *tails = answer.split(PLACEHOLDER)
    if len(tails) != len(annotations):
        raise MarkupError(
            f"expected one annotation for each {PLACEHOLDER} of the answer, got {len(annotations)} "
            f"annotations for {len(tails)} placeholders"
        )
    text = head
    for (points, inline, alt), tail in zip(annotations, tails, strict=True):
        percents = _percents(points, scale, None)
        if not percents:
            raise MarkupError(f"the annotation {alt!r} has no points: remove its placeholder")
        text += _markup(percents, alt=alt, inline=inline) + tail
    return text


def _percents(
    points: Coordinates, scale: float, image_size: tuple[int, int] | None
) -> list[tuple[str, str]]:
    """Return the coordinates as text, in the order of the markup."""
    import numpy as np

    array = np.array(points)
    if array.size == 0:
        return []
    if array.ndim != 2 or array.shape[1] != 2 or array.dtype.kind not in "fiu":
        raise MarkupError(
            f"expected points of shape (N, 2), got shape {array.shape} of {array.dtype}"
        )
    if array.dtype.kind != "f":
        array = array.astype(np.float64)
    # In place: the result keeps the array's dtype, as in the arithmetic of the training data.
    if image_size is None:
        array *= 100 / scale
    else:
        array /= np.array([image_size[0] / 100, image_size[1] / 100])
    # Rounding may move a point on the far edge beyond it by a few units in the last place.
    highest = 100 * (1 + 4 * float(np.finfo(array.dtype).eps))
    outside = ~((array >= 0) & (array <= highest)).all(axis=1)
    if outside.any():
        x, y = array[outside][0].tolist()
        raise MarkupError(
            f"expected points inside the image (0-100 percent), got ({x:g}, {y:g}) percent: "
            "check `scale` or `image_size`"
        )
    array = np.round(array, 1)
    order = np.argsort(array[:, 0] * 10000 + array[:, 1], kind="stable")
    return [(f"{x:.1f}", f"{y:.1f}") for x, y in array[order]]


def _markup(percents: Sequence[tuple[str, str]], *, alt: str, inline: str) -> str:
    for text in (alt, inline):
        if "</point" in text:
            raise MarkupError(
                f"a label cannot contain '</point' (Molmo's text has no escapes), got {text[:80]!r}: reword it"
            )
    if len(percents) == 1:
        x, y = percents[0]
        return f'<point x="{x}" y="{y}" alt="{alt}">{inline}</point>'
    pairs = " ".join(f'x{n}="{x}" y{n}="{y}"' for n, (x, y) in enumerate(percents, start=1))
    return f'<points {pairs} alt="{alt}">{inline}</points>'
