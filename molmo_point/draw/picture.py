"""The whole drawing: ellipses below, then lines, markers, labels and the count.

Everything scales with the picture; small pictures are enlarged first, so that words can be read. Labels look for a free place
near their points. Where one finds none, and where a crowd shares one label, the marker carries the point's number instead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from PIL import Image, ImageDraw

from molmo_point.draw import shapes
from molmo_point.draw.layout import Box, marker_radius, place_labels, quiet_corner
from molmo_point.draw.lettering import Font, load_font, shorten, text_size
from molmo_point.images import load_image
from molmo_point.pointer import ImageLike
from molmo_point.points import Covariance, Point, Pointing, Status

PALETTE: tuple[shapes.Colour, ...] = (
    (213, 94, 0),
    (0, 114, 178),
    (240, 228, 66),
    (0, 158, 115),
    (86, 180, 233),
    (204, 121, 167),
    (230, 159, 0),
)
"""Okabe and Ito's colours: people with any kind of colour vision tell them apart. One for each label, in order of appearance."""

SIGMAS_95 = math.sqrt(-2.0 * math.log(0.05))
"""Radius, in standard deviations, of the ellipse that holds 95 % of a 2D Gaussian."""

_PANEL = (17, 20, 27, 222)
_GREY: shapes.Colour = (178, 188, 203)
_ACCENT: shapes.Colour = (255, 176, 92)
_FEW = 8
"""Up to so many points each carry the label, even if it is the same one."""
_LONGEST_SIDE = 2048
"""A picture is not enlarged beyond this, however thin it is."""


@dataclass(frozen=True)
class _Style:
    """Sizes of one drawing, in its pixels."""

    unit: float
    font_path: str | None

    @property
    def letters(self) -> int:
        return max(11, round(16.5 * self.unit))

    @property
    def pad(self) -> float:
        return 0.5 * self.letters

    @property
    def gap(self) -> float:
        """Between a label's name and its score."""
        return 0.45 * self.letters

    @property
    def line(self) -> float:
        return max(1.0, 1.6 * self.unit)

    def font(self, text: str, times: float = 1.0) -> Font:
        return load_font(max(6, round(self.letters * times)), text, self.font_path)


def draw(
    image: ImageLike,
    pointing: Pointing,
    *,
    labels: bool = True,
    scores: bool = True,
    ellipses: bool = True,
    count: bool = True,
    min_side: int = 480,
    font: str | None = None,
) -> Image.Image:
    """Draw a pointing on its picture.

    Args:
        image: The picture that was asked about (anything `load_image` takes); its size may differ from the one asked about.
        pointing: The answer.
        labels: Write labels next to the points (in a crowd of the same label, numbers in the markers).
        scores: Add each point's score in percent to its label.
        ellipses: Draw where a point lies with 95 % probability, for points that have a covariance.
        count: Write the number of points and the query in a free corner, and what went wrong if anything did.
        min_side: Enlarge pictures whose shorter side is below this, so that words can be read; 0 keeps the size.
        font: A TrueType or OpenType file. Else Pillow's own font, or one of this machine's for letters that it lacks.

    Returns:
        A new RGB picture.

    Raises:
        ImageError: `image` is not a picture.
    """
    picture = _enlarged(Image.fromarray(load_image(image)), min_side).convert("RGBA")
    width, height = picture.size
    unit = max(0.75, min(min(width, height) / 400, math.sqrt(width * height) / 640))
    style = _Style(unit, font)
    places = [point.pixel(width, height) for point in pointing.points]
    colours = _colours(pointing.points)
    canvas = Box(0, 0, width, height)
    badge = _lay_badge(pointing, style, places, canvas) if count else None
    if ellipses:
        for point, place, colour in zip(pointing.points, places, colours, strict=True):
            if point.covariance is not None:
                spread = _in_pixels(point.covariance, width, height)
                shapes.error_ellipse(picture, *place, spread, SIGMAS_95, style.line, colour)
    _draw_points(picture, pointing, places, colours, style, badge, labels, scores)
    if badge is not None:
        _draw_badge(picture, badge, pointing.status is Status.FOUND, style)
    return picture.convert("RGB")


def _enlarged(picture: Image.Image, min_side: int) -> Image.Image:
    shorter, longer = sorted(picture.size)
    times = min(min_side / shorter, max(1.0, _LONGEST_SIDE / longer))
    if times <= 1.0:
        return picture
    size = (round(picture.width * times), round(picture.height * times))
    return picture.resize(size, Image.Resampling.BICUBIC)


def _in_pixels(covariance: Covariance, width: int, height: int) -> Covariance:
    xx, xy, yy = covariance
    return xx * width * width, xy * width * height, yy * height * height


def _colours(points: tuple[Point, ...]) -> list[shapes.Colour]:
    names = list(dict.fromkeys(point.label for point in points))
    return [PALETTE[names.index(point.label) % len(PALETTE)] for point in points]


def _draw_points(
    picture: Image.Image,
    pointing: Pointing,
    places: list[tuple[float, float]],
    colours: list[shapes.Colour],
    style: _Style,
    badge: _Badge | None,
    labels: bool,
    scores: bool,
) -> None:
    points = pointing.points
    crowd = len(points) > _FEW and len({point.label for point in points}) == 1
    texts = [
        _label_words(point, pointing.query, labels and not crowd, scores and not crowd)
        for point in points
    ]
    radius = marker_radius(places, (11 if crowd else 9) * style.unit)
    sizes = [_label_size(text, style) for text in texts]
    canvas = Box(0, 0, *picture.size).grown(-0.3 * style.letters)
    taken = [] if badge is None else [badge.box.grown(0.3 * style.letters)]
    boxes: list[Box | None] = [None] * len(points)
    if any(map(any, texts)):
        boxes = place_labels(places, sizes, radius * 1.15, canvas, taken)
    for place, box, text, colour in zip(places, boxes, texts, colours, strict=True):
        if box is not None and any(text):
            near = box.nearest(*place)
            if math.dist(near, place) > 2.2 * radius:
                shapes.line(picture, place, near, style.line, colour)
    for place, colour in zip(places, colours, strict=True):
        shapes.disc(picture, *place, radius, colour)
    for point, place, box, text, colour in zip(points, places, boxes, texts, colours, strict=True):
        if box is not None and any(text):
            _draw_label(picture, box, text, style)
        elif labels and len(points) > 1:
            _write_number(picture, place, radius, point.index + 1, colour, style)


def _label_words(point: Point, query: str, label: bool, score: bool) -> tuple[str, str]:
    """Return a point's name and its score as they are written; empty what is not."""
    name = shorten(point.label or query, 28) if label else ""
    return name, f"{100 * point.score:.0f} %" if score and point.score is not None else ""


def _label_size(words: tuple[str, str], style: _Style) -> tuple[float, float]:
    widths = [text_size(style.font(word), word)[0] for word in words if word]
    height = text_size(style.font("".join(words)), "Á")[1]
    gap = style.gap * (len(widths) - 1)
    return sum(widths) + gap + 2 * style.pad, height + 1.1 * style.pad


def _draw_label(picture: Image.Image, box: Box, words: tuple[str, str], style: _Style) -> None:
    """Draw a label's panel, and on it the name in white and the score in grey."""
    shapes.pill(picture, box, _PANEL, 0.2 * style.letters)
    name, score = words
    pen = ImageDraw.Draw(picture)
    left, middle = box.left + style.pad, (box.top + box.bottom) / 2
    if name:
        font = style.font(name)
        pen.text((left, middle), name, fill=shapes.WHITE, font=font, anchor="lm")
        left += text_size(font, name)[0] + style.gap
    pen.text((left, middle), score, fill=_GREY, font=style.font(score), anchor="lm")


def _write_number(
    picture: Image.Image,
    place: tuple[float, float],
    radius: float,
    number: int,
    colour: shapes.Colour,
    style: _Style,
) -> None:
    """Write a point's number into its marker, if it can be read there."""
    text = str(number)
    size = round(radius * (1.15 if len(text) == 1 else 0.95 if len(text) == 2 else 0.72))
    if size < 7:
        return
    font = load_font(size, "", style.font_path)
    bright = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 150
    fill = shapes.SHADOW if bright else shapes.WHITE
    ImageDraw.Draw(picture).text(place, text, fill=fill, font=font, anchor="mm")


@dataclass(frozen=True)
class _Badge:
    """The count in a corner: a large number, words behind it, and where it stands."""

    number: str
    words: str
    box: Box


def _lay_badge(
    pointing: Pointing, style: _Style, places: list[tuple[float, float]], canvas: Box
) -> _Badge:
    number, trouble = str(pointing.count), ""
    if pointing.status is Status.TRUNCATED:
        number, trouble = f"{pointing.count}+", " (cut short)"
    elif pointing.status is Status.MALFORMED:
        number, trouble = "?", " (unreadable answer)"
    margin = 0.7 * style.letters
    pad = 0.6 * style.letters
    number_width, height = text_size(style.font(number, 1.5), number)
    room = canvas.right - canvas.left - 2 * margin
    # On a narrow picture the words shrink and go; the number stays.
    for words in (shorten(pointing.query, 36) + trouble, shorten(pointing.query, 16), ""):
        width = number_width + 2 * pad
        if words:
            width += text_size(style.font(words), words)[0] + pad
        if width <= room:
            break
    return _Badge(number, words, quiet_corner((width, height + 1.1 * pad), places, margin, canvas))


def _draw_badge(picture: Image.Image, badge: _Badge, found: bool, style: _Style) -> None:
    shapes.pill(picture, badge.box, _PANEL, 0.25 * style.letters)
    pen = ImageDraw.Draw(picture)
    left, middle = badge.box.left + 0.6 * style.letters, (badge.box.top + badge.box.bottom) / 2
    large = style.font(badge.number, 1.5)
    accent = _ACCENT if found else shapes.WHITE
    pen.text((left, middle), badge.number, fill=accent, font=large, anchor="lm")
    left += text_size(large, badge.number)[0] + 0.6 * style.letters
    font = style.font(badge.words)
    pen.text((left, middle), badge.words, fill=shapes.WHITE, font=font, anchor="lm")
