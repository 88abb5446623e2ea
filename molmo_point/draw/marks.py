"""Markers, their labels or numbers, and the ellipses behind them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from molmo_point.draw import shapes
from molmo_point.draw.layout import Box, marker_radius, place_labels
from molmo_point.draw.lettering import Line, shorten
from molmo_point.draw.shapes import Colour
from molmo_point.draw.style import GREY, PANEL, Style
from molmo_point.points import Covariance, Pointing

SIGMAS_95 = math.sqrt(-2.0 * math.log(0.05))
"""Radius, in standard deviations, of the ellipse that holds 95 % of a 2D Gaussian."""

FEW = 8
"""Up to this number of points each carry the label, even if it is the same one."""

MANY = 25
"""Above this, markers are rings, nothing is filled, and labels stand in the legend: one wants to see what is under them."""

CROWD = 150
"""Above this, numbers and ellipses are left out as well: they would lie on each other."""

Place = tuple[float, float]


@dataclass(frozen=True)
class Marks:
    """What is drawn of the points.

    Attributes:
        pointing: The answer.
        places: Of its points, in the drawing's pixels.
        colours: One for each point.
        style: Sizes.
        labels, scores: Whether they are written.
    """

    pointing: Pointing
    places: Sequence[Place]
    colours: Sequence[Colour]
    style: Style
    labels: bool
    scores: bool

    @property
    def many(self) -> bool:
        """Whether there are too many points for discs and labels."""
        return len(self.places) > MANY

    @property
    def numbered(self) -> bool:
        """Whether markers carry numbers in place of labels."""
        one_label = len({point.label for point in self.pointing.points}) == 1
        return self.many or (len(self.places) > FEW and one_label)


def draw_ellipses(image: Image.Image, marks: Marks) -> None:
    """Draw where each point lies with 95 % probability, if that is known and there is room for it."""
    if len(marks.places) > CROWD:
        return
    width = marks.style.line * (0.6 if marks.many else 1.0)
    for point, place, colour in zip(
        marks.pointing.points, marks.places, marks.colours, strict=True
    ):
        if point.covariance is not None:
            spread = _in_pixels(point.covariance, *image.size)
            shapes.error_ellipse(
                image, *place, spread, SIGMAS_95, width, colour, tint=not marks.many
            )


def draw_marks(image: Image.Image, marks: Marks, taken: Sequence[Box]) -> None:
    """Draw the markers, and next to them what fits without covering another one.

    Args:
        image: RGBA, changed in place.
        marks: What to draw.
        taken: Places that must stay free.
    """
    style, wanted = marks.style, (11 if marks.numbered else 9) * marks.style.unit
    radius = marker_radius(marks.places, wanted, 0.3 if marks.many else 0.5)
    whole = [_inside(place, 1.12 * radius, image.size) for place in marks.places]
    for place, centre, colour in zip(marks.places, whole, marks.colours, strict=True):
        if place != centre:  # the marker stays whole at the edge; a line leads to the point
            shapes.line(image, centre, place, style.line, colour)
    if marks.many:
        _draw_many(image, marks, whole, radius, taken)
    else:
        _draw_some(image, marks, whole, radius, taken)


def _draw_many(
    image: Image.Image,
    marks: Marks,
    whole: Sequence[Place],
    radius: float,
    taken: Sequence[Box],
) -> None:
    """Draw rings, and numbers beside them where there is room."""
    style = marks.style
    width = max(1.0, min(1.5 * style.line, 0.3 * radius))
    for centre, colour in zip(whole, marks.colours, strict=True):
        shapes.ring(image, *centre, radius, width, colour)
    if not marks.labels or len(whole) > CROWD:
        return
    times = min(0.7, max(0.5, 1.3 * radius / style.letters))
    numbers = [style.text(str(point.index + 1), times) for point in marks.pointing.points]
    sizes = [(line.size[0] + 2.0, line.size[1] + 2.0) for line in numbers]
    canvas = Box(0, 0, *image.size)
    boxes = place_labels(whole, sizes, radius + width, canvas, taken, near=True)
    pen = ImageDraw.Draw(image)
    for line, box in zip(numbers, boxes, strict=True):
        if box is not None:
            middle = ((box.left + box.right) / 2, (box.top + box.bottom) / 2)
            edge = (max(1, round(0.12 * style.letters)), shapes.SHADOW)
            line.draw(pen, middle, shapes.WHITE, centred=True, edge=edge)


def _draw_some(
    image: Image.Image,
    marks: Marks,
    whole: Sequence[Place],
    radius: float,
    taken: Sequence[Box],
) -> None:
    """Draw discs with their labels, or with numbers in them."""
    style, points = marks.style, marks.pointing.points
    texts = [_words(marks, index) for index in range(len(points))]
    boxes: list[Box | None] = [None] * len(points)
    if any(texts):
        canvas = Box(0, 0, *image.size).grown(-0.3 * style.letters)
        sizes = [_label_size(words, style) for words in texts]
        boxes = place_labels(whole, sizes, radius * 1.15, canvas, taken)
    for place, box, words, colour in zip(whole, boxes, texts, marks.colours, strict=True):
        if box is not None and words:
            near = box.nearest(*place)
            if math.dist(near, place) > 2.2 * radius:
                shapes.line(image, place, near, style.line, colour)
    for place, colour in zip(whole, marks.colours, strict=True):
        shapes.disc(image, *place, radius, colour)
    for point, place, box, words, colour in zip(
        points, whole, boxes, texts, marks.colours, strict=True
    ):
        if box is not None and words:
            _draw_label(image, box, words, style)
        elif marks.labels and len(points) > 1:
            _write_number(image, place, radius, point.index + 1, colour, style)


def _words(marks: Marks, index: int) -> list[tuple[Line, Colour]]:
    """Return what is written beside a point: its name in white, its score in grey; nothing where it carries a number."""
    point, style = marks.pointing.points[index], marks.style
    if marks.numbered:
        return []
    words = []
    if marks.labels:
        name = shorten(point.label or marks.pointing.query, 28)
        words.append((style.text(name), shapes.WHITE))
    if marks.scores and point.score is not None:
        words.append((style.text(f"{100 * point.score:.0f} %"), GREY))
    return words


def _label_size(words: Sequence[tuple[Line, Colour]], style: Style) -> Place:
    width = sum(line.size[0] for line, _ in words) + style.gap * (len(words) - 1)
    height = max((line.size[1] for line, _ in words), default=0)
    return width + 2 * style.pad, height + 1.1 * style.pad


def _draw_label(
    image: Image.Image, box: Box, words: Sequence[tuple[Line, Colour]], style: Style
) -> None:
    shapes.pill(image, box, PANEL, 0.2 * style.letters)
    pen = ImageDraw.Draw(image)
    left, middle = box.left + style.pad, (box.top + box.bottom) / 2
    for line, colour in words:
        line.draw(pen, (left, middle), colour)
        left += line.size[0] + style.gap


def _write_number(
    image: Image.Image, place: Place, radius: float, number: int, colour: Colour, style: Style
) -> None:
    """Write a point's number into its marker, if it can be read there."""
    text = str(number)
    size = radius * (1.15 if len(text) == 1 else 0.95 if len(text) == 2 else 0.72)
    if round(size) < 7:
        return
    bright = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 150
    fill = shapes.SHADOW if bright else shapes.WHITE
    line = style.text(text, size / style.letters)
    line.draw(ImageDraw.Draw(image), place, fill, centred=True)


def _inside(place: Place, margin: float, size: tuple[int, int]) -> Place:
    """Return the place nearest to it where a marker of that radius is whole; its own middle on an image that is too small."""
    x, y = (
        min(max(at, min(margin, side / 2)), max(side - margin, side / 2))
        for at, side in zip(place, size, strict=True)
    )
    return x, y


def _in_pixels(covariance: Covariance, width: int, height: int) -> Covariance:
    xx, xy, yy = covariance
    return xx * width * width, xy * width * height, yy * height * height
