"""Points to text, byte for byte as Molmo's training data has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Union

from molmo_point.errors import MarkupError

if TYPE_CHECKING:
    import numpy as np

Coordinates = Union[Sequence[Sequence[float]], "np.ndarray[Any, Any]"]
"""(N, 2) positions (x, y): any nested sequence, or an array; an array's float dtype is kept while rounding."""

PLACEHOLDER = "<|POINT|>"
"""Where `format_annotated` puts markup into an answer."""

NONE_TEXT = "There are none."


class Annotation(NamedTuple):
    """The points that stand at one placeholder of an answer.

    Attributes:
        points: (N, 2) of (x, y), N at least 1.
        inline_text: The words of the sentence that the tag encloses.
        alt_text: What the points show.
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
    """Write points as Molmo writes them; the inverse of `parse`, up to the one decimal that the text has.

    Rounding (half to even) and order (left to right, then top to bottom, by the rounded values) are those of the training
    data, in the array's own dtype: float32 points round in float32.

    Args:
        points: (N, 2) of (x, y); N may be 0.
        label: What the points show; lower-cased unless `verbatim`.
        counting: Wrap the markup into the counting sentence.
        scale: What the coordinates call the far edge: 1 for `norm`, 100 for percent. Without effect next to `image_size`.
        image_size: (width, height): `points` are continuous pixels of a picture of that size.
        verbatim: Keep the label's case, as training does with questions.

    Raises:
        MarkupError: A coordinate is outside the picture or not finite, or the label holds `</point`.
    """
    name = label if verbatim else label.lower()
    percents = _percents(points, scale, image_size)
    if not percents:
        return NONE_TEXT
    markup = _markup(percents, alt=name, inline=name)
    return f"Counting the {markup} shows a total of {len(percents)}." if counting else markup


def format_annotated(answer: str, annotations: Sequence[Annotation], *, scale: float = 1.0) -> str:
    """Replace each `<|POINT|>` of an answer, left to right, by the markup of one annotation. Labels keep their case.

    Args:
        answer: Prose with as many placeholders as there are annotations.
        annotations: In the order of the placeholders.
        scale: As in `format_points`.

    Raises:
        MarkupError: The numbers differ, an annotation has no points, or what `format_points` refuses.
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
            raise MarkupError(f"the annotation {alt!r} has no points: drop its placeholder")
        text += _markup(percents, alt=alt, inline=inline) + tail
    return text


def _percents(
    points: Coordinates, scale: float, image_size: tuple[int, int] | None
) -> list[tuple[str, str]]:
    """Return the coordinates as they are written, in the order in which they are written."""
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
    # In place, so that the result has the array's dtype, as in the training data's own arithmetic.
    if image_size is None:
        array *= 100 / scale
    else:
        array /= np.array([image_size[0] / 100, image_size[1] / 100])
    # A point on the far edge may come out a few units in the last place beyond it.
    highest = 100 * (1 + 4 * float(np.finfo(array.dtype).eps))
    outside = ~((array >= 0) & (array <= highest)).all(axis=1)
    if outside.any():
        x, y = array[outside][0].tolist()
        raise MarkupError(
            f"expected points inside the picture (0-100 percent), got ({x:g}, {y:g}) percent: "
            "check `scale` or `image_size`"
        )
    array = np.round(array, 1)
    order = np.argsort(array[:, 0] * 10000 + array[:, 1], kind="stable")
    return [(f"{x:.1f}", f"{y:.1f}") for x, y in array[order]]


def _markup(percents: Sequence[tuple[str, str]], *, alt: str, inline: str) -> str:
    for text in (alt, inline):
        if "</point" in text:
            raise MarkupError(
                f"a label cannot hold '</point' (Molmo's text escapes nothing), got {text[:80]!r}: reword it"
            )
    if len(percents) == 1:
        x, y = percents[0]
        return f'<point x="{x}" y="{y}" alt="{alt}">{inline}</point>'
    pairs = " ".join(f'x{n}="{x}" y{n}="{y}"' for n, (x, y) in enumerate(percents, start=1))
    return f'<points {pairs} alt="{alt}">{inline}</points>'
