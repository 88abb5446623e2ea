"""One thing, cut out: an RGBA sprite and its filled silhouette."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from molmo_point.errors import UsageError
from molmo_point.synthetic.scenes.fonts import emoji_font, text_fonts
from molmo_point.synthetic.scenes.kinds import COLOURS, Kind
from molmo_point.synthetic.scenes.solids import solid

SIDE = 128
"""Longer side of a sprite in pixels; scenes mostly scale it down."""

PATTERNS = ("plain", "plain", "outlined", "striped", "dotted")
"""Fillings of shapes; plain twice, because it is the common case."""


@dataclass(frozen=True, eq=False)
class Sprite:
    """A thing before it is pasted into a scene.

    Attributes:
        image: RGBA, longer side SIDE.
        silhouette: "L", 255 where the thing is, its holes included (the hole of a ring belongs to the ring).
    """

    image: Image.Image
    silhouette: Image.Image


@functools.lru_cache(maxsize=2048)
def sprite(kind: Kind, colour: str | None = None, pattern: str = "plain", font: int = 0) -> Sprite:
    """Draw one kind of thing.

    Args:
        kind: The kind.
        colour: A name in COLOURS for shapes, letters and digits; None for emoji.
        pattern: A name in PATTERNS, for shapes.
        font: Index of the installed text font, modulo their number, for letters and digits; of the pose, for solids.
    """
    if kind.family == "emoji":
        image = _cut(_emoji(kind.glyph))
        return Sprite(image, _filled(image.getchannel("A")))
    if colour not in COLOURS:
        raise UsageError(f"{kind.name} needs a colour of {', '.join(COLOURS)}, got {colour!r}")
    if kind.family == "shape":
        mask, silhouette = _shape_mask(kind.glyph)
        return Sprite(_patterned(mask, COLOURS[colour], pattern), silhouette)
    if kind.family == "solid":
        image = _cut(solid(kind.glyph, COLOURS[colour], font, SIDE))
        return Sprite(image, _filled(image.getchannel("A")))
    mask, silhouette = _character_mask(kind.glyph, font)
    image = Image.new("RGBA", mask.size, COLOURS[colour])
    image.putalpha(mask)
    return Sprite(image, silhouette)


def _cut(image: Image.Image) -> Image.Image:
    """Cut a drawing (RGBA or "L") to its own edges and scale it to SIDE."""
    alpha = image.getchannel("A") if image.mode == "RGBA" else image
    box = alpha.point([0] * 16 + [255] * 240).getbbox()
    if box is None:
        raise UsageError(
            "a glyph is empty: the installed emoji font is too old for the table of kinds"
        )
    image = image.crop(box)
    scale = SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)


def _filled(alpha: Image.Image) -> Image.Image:
    """Return the silhouette of a cut-out: opaque pixels and the holes they enclose."""
    solid = alpha.point([0] * 96 + [255] * 160)
    # Holes are found at a quarter of the size: Pillow's flood fill is slow.
    small = alpha.reduce(4).point([0] * 96 + [255] * 160)
    outside = Image.new("L", (small.width + 2, small.height + 2), 0)
    outside.paste(small, (1, 1))
    ImageDraw.floodfill(outside, (0, 0), 128)
    holes = outside.crop((1, 1, small.width + 1, small.height + 1)).point([255] + [0] * 255)
    return ImageChops.lighter(solid, holes.resize(solid.size, Image.Resampling.NEAREST))


def _emoji(glyph: str) -> Image.Image:
    image = Image.new("RGBA", (160, 160), (0, 0, 0, 0))
    ImageDraw.Draw(image).text((8, 8), glyph, font=emoji_font(), embedded_color=True)
    return image


@functools.lru_cache(maxsize=512)
def _character_mask(sign: str, font: int) -> tuple[Image.Image, Image.Image]:
    fonts = text_fonts(SIDE)
    drawing = Image.new("L", (2 * SIDE, 2 * SIDE), 0)
    ImageDraw.Draw(drawing).text(
        (SIDE // 2, SIDE // 4), sign, font=fonts[font % len(fonts)], fill=255
    )
    mask = _cut(drawing)
    return mask, _filled(mask)


@functools.lru_cache(maxsize=64)
def _shape_mask(name: str) -> tuple[Image.Image, Image.Image]:
    """Draw at twice the size, so that scaling down smooths the edges."""
    drawing = Image.new("L", (2 * SIDE, 2 * SIDE), 0)
    _fill(ImageDraw.Draw(drawing), name, 2 * SIDE)
    mask = _cut(drawing)
    return mask, _filled(mask)


def _patterned(mask: Image.Image, rgb: tuple[int, int, int], pattern: str) -> Image.Image:
    """Colour a shape."""
    darker = tuple(int(value * 0.55) for value in rgb) if max(rgb) > 60 else (110, 110, 110)
    image = Image.new("RGBA", mask.size, rgb)
    draw = ImageDraw.Draw(image)
    if pattern == "striped":
        for x in range(-SIDE, SIDE, 24):
            draw.line([(x, 0), (x + SIDE, SIDE)], fill=darker, width=7)
    elif pattern == "dotted":
        for x in range(8, SIDE, 28):
            for y in range(8, SIDE, 28):
                draw.ellipse([x - 5, y - 5, x + 5, y + 5], fill=darker)
    image.putalpha(mask)
    if pattern == "outlined":
        edge = Image.new("RGBA", mask.size, darker)
        edge.putalpha(mask)
        inner = image.resize(
            (mask.width * 7 // 8, mask.height * 7 // 8), Image.Resampling.BILINEAR
        )
        edge.paste(inner, (mask.width // 16, mask.height // 16), inner)
        return edge
    return image


def _fill(draw: ImageDraw.ImageDraw, name: str, side: int) -> None:
    """Draw the mask of a shape into a (side x side) "L" image."""
    edge = side // 16
    low, high, middle = edge, side - edge, side / 2
    if name == "circle":
        draw.ellipse([low, low, high, high], fill=255)
    elif name == "oval":
        draw.ellipse([low, side * 0.26, high, side * 0.74], fill=255)
    elif name == "ring":
        draw.ellipse([low, low, high, high], outline=255, width=side // 6)
    elif name == "square":
        draw.rectangle([low, low, high, high], fill=255)
    elif name == "cross":
        arm = side * 0.15
        draw.rectangle([middle - arm, low, middle + arm, high], fill=255)
        draw.rectangle([low, middle - arm, high, middle + arm], fill=255)
    else:
        draw.polygon(_outline(name, side), fill=255)


def _outline(name: str, side: int) -> list[tuple[float, float]]:
    """Return the corners of a shape in a (side x side) square."""
    half, reach = side / 2, side * 0.45
    if name == "heart":
        turn = np.linspace(0, 2 * math.pi, 72, endpoint=False)
        x = 16 * np.sin(turn) ** 3
        y = 13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn) - np.cos(4 * turn)
        return [(half + a * reach / 17, half - b * reach / 17) for a, b in zip(x, y, strict=True)]
    if name == "arrow":
        corners = [
            (-1, -0.3),
            (0.15, -0.3),
            (0.15, -0.8),
            (1, 0),
            (0.15, 0.8),
            (0.15, 0.3),
            (-1, 0.3),
        ]
        return [(half + reach * x, half + reach * y) for x, y in corners]
    radii = {"star": (1.0, 0.42) * 5, "diamond": (1.0, 0.66) * 2}
    count = {"triangle": 3, "pentagon": 5}.get(name, 0)
    spokes = radii.get(name, (1.0,) * count)
    if not spokes:
        raise UsageError(f"expected the name of a shape, got {name!r}")
    turns = [2 * math.pi * index / len(spokes) - math.pi / 2 for index in range(len(spokes))]
    return [
        (half + reach * radius * math.cos(turn), half + reach * radius * math.sin(turn))
        for radius, turn in zip(spokes, turns, strict=True)
    ]
