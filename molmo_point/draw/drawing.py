"""The whole drawing: ellipses below, then lines, markers, labels and the count.

Everything scales with the image; small images are enlarged first, so that words can be read. Labels look for a free place
near their points. Where one finds none, and where a crowd shares one label, the marker carries the point's number instead.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from molmo_point.draw.badge import draw_badge, lay_badge, legend_rows
from molmo_point.draw.colours import OTHERS, PALETTE, colours_of, surroundings
from molmo_point.draw.heat import heat
from molmo_point.draw.layout import Box
from molmo_point.draw.marks import MANY, SIGMAS_95, Marks, draw_ellipses, draw_marks
from molmo_point.draw.shapes import Colour
from molmo_point.draw.style import Style
from molmo_point.image_like import ImageLike
from molmo_point.images import load_image
from molmo_point.point_map import PointMap
from molmo_point.points import Pointing, Status

__all__ = ["PALETTE", "SIGMAS_95", "draw"]

_LONGEST_SIDE = 2048
"""An image is not enlarged beyond this, however thin it is."""


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
    point_map: PointMap | None = None,
) -> Image.Image:
    """Draw a pointing on its image.

    Args:
        image: The image that was asked about (anything `load_image` takes); its size may differ from the one asked about.
        pointing: The answer.
        labels: Write labels next to the points. Of more than 8 points with one label the markers carry numbers; more than 25
            points are rings with numbers beside them (up to 150), and the labels stand in a legend.
        scores: Add each point's score in percent to its label.
        ellipses: Draw where a point lies with 95 % probability, for points that have a covariance (of 150 points at most).
        count: Write the number of points and the query in a free corner, and what went wrong if anything did.
        min_side: Enlarge images whose shorter side is below this, so that words can be read; 0 keeps the size.
        font: A TrueType or OpenType file. Else Pillow's own font; letters that it lacks are drawn in a font of this machine, or
            written in Latin letters or as U+XXXX where none has them.
        point_map: Lay how probable each place is over the image, under the points (MolmoPoint).

    Returns:
        A new RGB image.

    Raises:
        ImageError: `image` is not an image.
        OSError: `font` is no font.
    """
    canvas = _enlarged(Image.fromarray(load_image(image)), min_side).convert("RGBA")
    if point_map is not None:
        canvas.alpha_composite(heat(point_map, canvas.size))
    width, height = canvas.size
    style = Style.of(width, height, font)
    places = [point.pixel(width, height) for point in pointing.points]
    colours = _colours(canvas, pointing, places, style)
    crowd = len(places) > MANY
    rows = legend_rows(pointing, colours, style) if labels and crowd and len(colours) > 1 else ()
    badge = lay_badge(pointing, style, places, Box(0, 0, width, height), rows) if count else None
    each = [colours[point.label] for point in pointing.points]
    marks = Marks(pointing, places, each, style, labels, scores)
    # In a crowd no corner is free: there the panel lies under the markers, so that it hides no point.
    if badge is not None and crowd:
        draw_badge(canvas, badge, pointing.status is Status.FOUND, style)
    if ellipses:
        draw_ellipses(canvas, marks)
    draw_marks(canvas, marks, [] if badge is None else [badge.box.grown(0.3 * style.letters)])
    if badge is not None and not crowd:
        draw_badge(canvas, badge, pointing.status is Status.FOUND, style)
    return canvas.convert("RGB")


def _enlarged(canvas: Image.Image, min_side: int) -> Image.Image:
    shorter, longer = sorted(canvas.size)
    times = min(min_side / shorter, max(1.0, _LONGEST_SIDE / longer))
    if times <= 1.0:
        return canvas
    size = (round(canvas.width * times), round(canvas.height * times))
    return canvas.resize(size, Image.Resampling.BICUBIC)


def _colours(
    canvas: Image.Image, pointing: Pointing, places: list[tuple[float, float]], style: Style
) -> dict[str, Colour]:
    """Return the colour of each label; in a legend, labels beyond the palette share one."""
    labels = [point.label for point in pointing.points]
    pixels = np.asarray(canvas.convert("RGB"))
    colours = colours_of(labels, surroundings(pixels, places, 18 * style.unit))
    if len(places) > MANY:
        shared = list(colours)[len(PALETTE) :]
        colours.update(dict.fromkeys(shared, OTHERS))
    return colours
