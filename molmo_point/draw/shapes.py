"""Smooth shapes on an image: each is drawn several times too large on a small canvas of its own, then scaled down."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from molmo_point.draw.layout import Box
from molmo_point.points import Covariance

Colour = tuple[int, int, int]

SHADOW: Colour = (8, 10, 14)
WHITE: Colour = (255, 255, 255)

_OVERSIZE = 4
_MOST_PIXELS = 16_000_000
"""Of an oversized canvas; larger shapes are drawn at a smaller oversize, and need no more."""

Painter = Callable[
    [ImageDraw.ImageDraw, Callable[[float, float], tuple[float, float]], float], None
]
"""Draws on the oversized canvas: (pen, function from the image's pixels to the canvas's, oversize)."""


def stamp(image: Image.Image, box: Box, paint: Painter, blur_px: float = 0.0) -> None:
    """Paint on an RGBA image, smoothly.

    Args:
        image: RGBA, changed in place.
        box: What the painting covers, in the image's pixels; parts outside the image are lost.
        paint: See `Painter`.
        blur_px: Standard deviation of a Gaussian blur, in the image's pixels; the box must leave room for it.
    """
    left, top = max(0, math.floor(box.left)), max(0, math.floor(box.top))
    right = min(image.width, math.ceil(box.right))
    bottom = min(image.height, math.ceil(box.bottom))
    if right <= left or bottom <= top:
        return
    size = (right - left, bottom - top)
    oversize = _OVERSIZE
    while oversize > 1 and size[0] * size[1] * oversize**2 > _MOST_PIXELS:
        oversize -= 1
    canvas = Image.new("RGBA", (size[0] * oversize, size[1] * oversize), (0, 0, 0, 0))

    def to_canvas(x: float, y: float) -> tuple[float, float]:
        return (x - left) * oversize, (y - top) * oversize

    paint(ImageDraw.Draw(canvas), to_canvas, oversize)
    small = canvas.reduce(oversize) if oversize > 1 else canvas
    if blur_px > 0:
        small = small.filter(ImageFilter.GaussianBlur(blur_px))
    image.alpha_composite(small, (left, top))


def disc(image: Image.Image, x: float, y: float, radius: float, colour: Colour) -> None:
    """Draw a marker: a disc of one colour in a white ring, on a soft shadow that lifts it off any background."""
    shadow = radius * 0.35

    def ball(grow: float, fill: tuple[int, int, int, int]) -> Painter:
        def paint(
            pen: ImageDraw.ImageDraw,
            at: Callable[[float, float], tuple[float, float]],
            oversize: float,
        ) -> None:
            pen.ellipse((*at(x - grow, y - grow), *at(x + grow, y + grow)), fill=fill)

        return paint

    room = Box(x - radius, y - radius, x + radius, y + radius)
    stamp(image, room.grown(radius), ball(radius * 1.12, (*SHADOW, 190)), blur_px=shadow)
    stamp(image, room.grown(2), ball(radius * 1.06, (*SHADOW, 150)))
    stamp(image, room, ball(radius, (*WHITE, 255)))
    stamp(image, room, ball(radius * 0.78, (*colour, 255)))


def ring(
    image: Image.Image, x: float, y: float, radius: float, width: float, colour: Colour
) -> None:
    """Draw a marker that leaves what is inside it free: a circle of one colour between a dark and a white one."""
    bands = (
        (radius + 0.7 * width, (*SHADOW, 160), radius - 1.5 * width),
        (radius + 0.3 * width, (*WHITE, 235), radius - 1.1 * width),
        (radius, (*colour, 255), radius - width),
    )

    def paint(
        pen: ImageDraw.ImageDraw,
        at: Callable[[float, float], tuple[float, float]],
        oversize: float,
    ) -> None:
        for outer, fill, inner in bands:
            box = (*at(x - outer, y - outer), *at(x + outer, y + outer))
            pen.ellipse(
                box, outline=fill, width=max(1, round((outer - max(0.0, inner)) * oversize))
            )

    stamp(image, Box(x - radius, y - radius, x + radius, y + radius).grown(2 * width), paint)


def pill(
    image: Image.Image,
    box: Box,
    fill: tuple[int, int, int, int],
    shadow_px: float,
    corner: float | None = None,
) -> None:
    """Draw a box with round corners (of radius `corner`, else round ends) on a soft shadow."""
    rounding = (box.bottom - box.top) * 0.36 if corner is None else corner

    def slab(colour: tuple[int, int, int, int]) -> Painter:
        def paint(
            pen: ImageDraw.ImageDraw,
            at: Callable[[float, float], tuple[float, float]],
            oversize: float,
        ) -> None:
            pen.rounded_rectangle(
                (*at(box.left, box.top), *at(box.right, box.bottom)),
                rounding * oversize,
                fill=colour,
            )

        return paint

    stamp(image, box.grown(4 * shadow_px), slab((*SHADOW, 130)), blur_px=shadow_px)
    stamp(image, box, slab(fill))


def line(
    image: Image.Image,
    start: tuple[float, float],
    end: tuple[float, float],
    width: float,
    colour: Colour,
) -> None:
    """Draw a straight line with a dark edge on both sides."""
    box = Box(
        min(start[0], end[0]), min(start[1], end[1]), max(start[0], end[0]), max(start[1], end[1])
    ).grown(3 * width)
    for thickness, fill in ((2.4 * width, (*SHADOW, 150)), (width, (*colour, 255))):

        def paint(
            pen: ImageDraw.ImageDraw,
            at: Callable[[float, float], tuple[float, float]],
            oversize: float,
            thickness: float = thickness,
            fill: tuple[int, int, int, int] = fill,
        ) -> None:
            pen.line((at(*start), at(*end)), fill, max(1, round(thickness * oversize)))

        stamp(image, box, paint)


def error_ellipse(
    image: Image.Image,
    x: float,
    y: float,
    covariance_px: Covariance,
    sigmas: float,
    width: float,
    colour: Colour,
    *,
    tint: bool = True,
) -> None:
    """Draw the region of a Gaussian within `deviations` standard deviations.

    Args:
        image: RGBA, changed in place.
        x, y: Mean, in pixels.
        covariance_px: (xx, xy, yy) in pixels squared.
        sigmas: Radius in standard deviations; 2.45 holds 95 %.
        width: Of the outline, in pixels.
        colour: Of the outline.
        tint: Tint the inside with the colour, the less the more of the image it covers; large ones are outlines only.
    """
    outline = ellipse_outline(x, y, covariance_px, sigmas)
    alpha = _tint(covariance_px, sigmas, image.width * image.height) if tint else 0
    box = Box(*outline.min(axis=0).tolist(), *outline.max(axis=0).tolist()).grown(3 * width)

    def paint(
        pen: ImageDraw.ImageDraw,
        at: Callable[[float, float], tuple[float, float]],
        oversize: float,
    ) -> None:
        corners = [at(px, py) for px, py in outline.tolist()]
        if alpha:
            pen.polygon(corners, fill=(*colour, alpha))
        ring = [*corners, *corners[:2]]
        pen.line(ring, (*SHADOW, 150), max(1, round(2.9 * width * oversize)))
        pen.line(ring, (*WHITE, 255), max(1, round(2.1 * width * oversize)))
        pen.line(ring, (*colour, 255), max(1, round(1.2 * width * oversize)))

    stamp(image, box, paint)


def _tint(covariance_px: Covariance, sigmas: float, area_px: float) -> int:
    """Return the opacity 0-255 of an ellipse's inside: 70 up to 2 % of the image, then less, so that none hides it."""
    xx, xy, yy = covariance_px
    area = math.pi * sigmas**2 * math.sqrt(max(0.0, xx * yy - xy * xy))
    return round(70 * min(1.0, 0.02 * area_px / area)) if 0 < area < 0.2 * area_px else 0


def ellipse_outline(
    x: float, y: float, covariance_px: Covariance, sigmas: float
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return (96, 2) places on the ellipse that lies `sigmas` standard deviations around (x, y)."""
    xx, xy, yy = covariance_px
    values, axes = np.linalg.eigh(np.array([[xx, xy], [xy, yy]]))
    turn = np.linspace(0.0, 2.0 * math.pi, 96, endpoint=False)
    circle = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    radii = sigmas * np.sqrt(np.clip(values, 0.0, None))
    outline: np.ndarray[tuple[int, int], np.dtype[np.float64]] = (circle * radii) @ axes.T + (x, y)
    return outline
