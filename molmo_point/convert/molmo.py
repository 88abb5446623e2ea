"""The text of Molmo 1 and Molmo 2, to and from `Pointing`: what fine-tuning data for them holds."""

from __future__ import annotations

from molmo_point.convert.reading import size_of
from molmo_point.errors import UsageError
from molmo_point.markup import (
    CoordsParser,
    Frame,
    MarkupParser,
    PointParser,
    format_coords,
    format_points,
    guess_label,
)
from molmo_point.points import Pointing, Status
from molmo_point.repeats import Repeats


def to_molmo(pointing: Pointing) -> str:
    """Return `<point x="63.5" y="44.5" alt="mug">mug</point>`, as Molmo 1 is trained to write: percent, one decimal.

    Raises:
        UsageError: The answer is not whole, or its points have several labels: a tag has one.
        MarkupError: A label that the text cannot hold.
    """
    return format_points(_places(pointing), _label(pointing), verbatim=True)


def to_molmo2(pointing: Pointing) -> str:
    """Return `<points coords="1 1 635 445">mug</points>`, as Molmo 2 is trained to write: thousandths; raises as `to_molmo`."""
    return format_coords([Frame("1", _places(pointing))], _label(pointing))


def from_molmo(answer: str, query: str, image_size: tuple[int, int]) -> Pointing:
    """Make a pointing of Molmo 1's answer; the inverse of `to_molmo` to within half of 1/1000.

    Points outside the image and tags that are broken off make it `malformed` (`truncated` is what only an engine knows).

    Args:
        answer: The text.
        query: What was asked for.
        image_size: (width, height) of the image in pixels.
    """
    return _read(MarkupParser, answer, query, image_size)


def from_molmo2(answer: str, query: str, image_size: tuple[int, int]) -> Pointing:
    """As `from_molmo`, of Molmo 2's answer about one image; the inverse of `to_molmo2` to within half of 1/1000."""
    return _read(CoordsParser, answer, query, image_size)


def _read(
    parser: type[PointParser], answer: str, query: str, image_size: tuple[int, int]
) -> Pointing:
    parsed = parser.parse(answer, label=guess_label(query))
    repeats = Repeats(calibrated=False)
    for point in parsed.points:
        repeats.is_new(point)
    return Pointing(
        query=query,
        points=repeats.distinct(list(parsed.points)),
        duplicates=repeats.repeated,
        status=parsed.status,
        stated_count=parsed.stated_count,
        text=answer,
        image_size=size_of(image_size),
    )


def _places(pointing: Pointing) -> list[tuple[float, float]]:
    if pointing.status not in (Status.FOUND, Status.NOT_FOUND):
        raise UsageError(
            f"expected a complete answer, got one that is {pointing.status}: the text would say that there is no more"
        )
    return [(point.x, point.y) for point in pointing.points]


def _label(pointing: Pointing) -> str:
    labels = {point.label or pointing.query for point in pointing.points} or {pointing.query}
    if len(labels) > 1:
        raise UsageError(
            f"expected points of one label, got {sorted(labels)[:5]}: write one answer for each"
        )
    return labels.pop()
