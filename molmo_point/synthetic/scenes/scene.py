"""Scenes as a function of one integer, with their ground truth."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from molmo_point.errors import UsageError
from molmo_point.synthetic.scenes.augment import corrupt_image
from molmo_point.synthetic.scenes.backgrounds import background
from molmo_point.synthetic.scenes.kinds import COLOURS, Kind, all_kinds, kinds_named
from molmo_point.synthetic.scenes.sprites import PATTERNS, Sprite, sprite
from molmo_point.synthetic.splits import is_held_out

Bytes = NDArray[np.uint8]
NOTHING = -1


@dataclass(frozen=True)
class Style:
    """A style of scenes.

    Attributes:
        sizes: (width, height) pairs in pixels, drawn with equal chance.
        things: (fewest, most) things in one image.
        scale: (smallest, largest) longer side of a thing, as a share of the image's longer side.
        crowding: Smallest distance of things: 1 = their circles touch, less = they may overlap.
        repeat: Probability that another thing is of a kind already present.
        families: Families of kinds with their weights.
        kinds: Names of kinds; empty = all.
    """

    sizes: tuple[tuple[int, int], ...] = ((320, 240), (640, 480))
    things: tuple[int, int] = (2, 12)
    scale: tuple[float, float] = (0.08, 0.28)
    crowding: float = 0.85
    repeat: float = 0.45
    families: tuple[tuple[str, float], ...] = (
        ("emoji", 0.72),
        ("shape", 0.16),
        ("letter", 0.07),
        ("digit", 0.05),
    )
    kinds: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        fits = (
            self.sizes
            and all(min(size) >= 32 for size in self.sizes)
            and 0 <= self.things[0] <= self.things[1]
            and 0 < self.scale[0] <= self.scale[1] <= 1
            and 0 <= self.repeat <= 1
        )
        if not fits:
            raise UsageError(
                "expected sizes of at least 32x32, things (fewest <= most), scale (0 < smallest <= largest <= 1) "
                f"and repeat in 0-1, got {self}"
            )


@dataclass(frozen=True)
class Thing:
    """One thing in an image.

    Attributes:
        kind: What it is.
        colour: A name in COLOURS, None for emoji.
        point: (x, y) in continuous pixels, on the thing: its centre where that is visible.
        box: (left, top, right, bottom) in continuous pixels, of the whole thing, hidden parts included.
        visible: Share that is neither covered nor cut off by the image's edge, 0-1.
        text: On pages, its text.
    """

    kind: Kind
    colour: str | None
    point: tuple[float, float]
    box: tuple[float, float, float, float]
    visible: float
    text: str = ""

    @property
    def area(self) -> float:
        """Of its box, in square pixels, at least 1."""
        left, top, right, bottom = self.box
        return max(1.0, (right - left) * (bottom - top))


@dataclass(frozen=True)
class Writing:
    """A line of text on a page.

    Attributes:
        text: The text, in its case on the page.
        box: (left, top, right, bottom) in pixels, of its letters.
    """

    text: str
    box: tuple[float, float, float, float]


def no_letters() -> np.ndarray[Any, np.dtype[np.float32]]:
    """Text of a scene."""
    return np.zeros((0, 4), np.float32)


@dataclass(frozen=True, eq=False)
class Scene:
    """An image with its ground truth.

    Attributes:
        seed: The integer it was drawn from.
        image: (H, W, 3) uint8 RGB.
        things: All things, from back to front.
        owner: (H, W) int16, index in `things` of the visible thing (its holes included), NOTHING for background.
        letters: (n, 4) float32, on pages: class, center x and y in pixels, and height of every letter.
        writings: Every line of text drawn by Pillow, of controls or not.
    """

    seed: int
    image: Bytes
    things: tuple[Thing, ...]
    owner: np.ndarray[Any, np.dtype[np.int16]]
    letters: np.ndarray[Any, np.dtype[np.float32]] = field(default_factory=no_letters)
    writings: tuple[Writing, ...] = ()

    def region(self, index: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """(H, W) bool: where thing `index` is seen."""
        return self.owner == index


@dataclass(frozen=True)
class _Plan:
    kind: Kind
    colour: str | None
    look: Sprite
    centre: tuple[float, float]
    side: float
    turn: float


def draw_scene(seed: int, style: Style) -> Scene:
    """Draw the scene of a seed. The same seed and style always give the same scene.

    Args:
        seed: From `training_seed` or `held_out_seed`; its range decides which photographs are used.
    """
    held_out = is_held_out(seed)
    rng = np.random.default_rng(seed)
    width, height = style.sizes[int(rng.integers(len(style.sizes)))]
    plans = _plan(rng, style, width, height)
    canvas = Image.fromarray(background(rng, width, height, held_out).astype(np.uint8))
    owner = np.full((height, width), NOTHING, np.int16)
    areas = [_paint(canvas, owner, plan, index) for index, plan in enumerate(plans)]
    image = corrupt_image(np.asarray(canvas), rng)
    things = [_located(owner, plan, i, areas[i]) for i, plan in enumerate(plans)]
    return Scene(seed, np.ascontiguousarray(image), tuple(things), owner)


def _plan(rng: np.random.Generator, style: Style, width: int, height: int) -> list[_Plan]:
    """Choose things and positions that keep their distance; a thing without a free position is left out."""
    wanted = int(rng.integers(style.things[0], style.things[1] + 1))
    longest = max(width, height)
    low, high = style.scale
    # Crowds are of small things: the largest size shrinks so that all of them fit.
    high = min(high, max(low * 1.2, 0.9 / max(1.0, wanted) ** 0.5))
    plans: list[_Plan] = []
    taken = np.empty((wanted, 3))
    for _ in range(wanted):
        side = longest * low * (high / low) ** rng.random()
        for _ in range(12):
            reach = side * 0.46
            x, y = rng.uniform(reach, width - reach), rng.uniform(reach, height - reach)
            there = taken[: len(plans)]
            near = style.crowding * (side + there[:, 2]) / 2
            if ((x - there[:, 0]) ** 2 + (y - there[:, 1]) ** 2 > near**2).all():
                taken[len(plans)] = (x, y, side)
                plans.append(_choose(rng, style, plans, (float(x), float(y)), float(side)))
                break
    return plans


def _choose(
    rng: np.random.Generator,
    style: Style,
    so_far: list[_Plan],
    centre: tuple[float, float],
    side: float,
) -> _Plan:
    if so_far and rng.random() < style.repeat:
        like = so_far[int(rng.integers(len(so_far)))]
        kind, colour = like.kind, like.colour
        if kind.coloured and rng.random() < 0.4:
            colour = _any_colour(rng)
    else:
        kind = _any_kind(rng, style)
        colour = _any_colour(rng) if kind.coloured else None
    pattern = PATTERNS[int(rng.integers(len(PATTERNS)))] if kind.family == "shape" else "plain"
    font = int(rng.integers(8)) if kind.family in ("letter", "digit", "solid") else 0
    turn = 0.0 if rng.random() < 0.4 else float(np.clip(rng.normal(0, 15), -35, 35))
    return _Plan(kind, colour, sprite(kind, colour, pattern, font), centre, side, turn)


def _any_colour(rng: np.random.Generator) -> str:
    return tuple(COLOURS)[int(rng.integers(len(COLOURS)))]


def _any_kind(rng: np.random.Generator, style: Style) -> Kind:
    names, weights = zip(*style.families, strict=True)
    bounds = np.cumsum(weights)
    family = names[int(np.searchsorted(bounds, rng.random() * bounds[-1], side="right"))]
    kinds = _of_family(family, style.kinds)
    return kinds[int(rng.integers(len(kinds)))]


@functools.cache
def _of_family(family: str, names: tuple[str, ...]) -> tuple[Kind, ...]:
    chosen = kinds_named(names) if names else all_kinds()
    kinds = tuple(kind for kind in chosen if kind.family == family)
    if not kinds:
        raise UsageError(
            f"expected a kind of the family {family!r} among the kinds of the style, got none"
        )
    return kinds


def _paint(
    canvas: Image.Image, owner: np.ndarray[Any, np.dtype[np.int16]], plan: _Plan, index: int
) -> int:
    """Paste a thing onto the canvas and the owner map; return its area in pixels before anything covers it."""
    whole = plan.look.image
    scale = plan.side / max(whole.size)
    size = (max(1, round(whole.width * scale)), max(1, round(whole.height * scale)))
    image = whole.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    silhouette = plan.look.silhouette.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    if plan.turn:
        image = image.rotate(plan.turn, Image.Resampling.BILINEAR, expand=True)
        silhouette = silhouette.rotate(plan.turn, Image.Resampling.BILINEAR, expand=True)
    left = round(plan.centre[0] - image.width / 2)
    top = round(plan.centre[1] - image.height / 2)
    canvas.paste(image, (left, top), image)
    inside = np.asarray(silhouette) > 127
    rows = slice(max(top, 0), max(top + image.height, 0))
    columns = slice(max(left, 0), max(left + image.width, 0))
    part = owner[rows, columns]
    offset_y, offset_x = rows.start - top, columns.start - left
    part[inside[offset_y : offset_y + part.shape[0], offset_x : offset_x + part.shape[1]]] = index
    return int(inside.sum())


def _located(
    owner: np.ndarray[Any, np.dtype[np.int16]], plan: _Plan, index: int, area: int
) -> Thing:
    """Return a pasted thing with its visible point, box and share."""
    height, width = owner.shape
    reach = plan.side * 0.75
    top, left = max(0, int(plan.centre[1] - reach)), max(0, int(plan.centre[0] - reach))
    bottom, right = (
        min(height, int(plan.centre[1] + reach) + 2),
        min(width, int(plan.centre[0] + reach) + 2),
    )
    rows, columns = np.nonzero(owner[top:bottom, left:right] == index)
    x, y = plan.centre
    visible = len(rows) / max(area, 1)
    if len(rows) == 0:
        return Thing(plan.kind, plan.colour, (x, y), (x, y, x, y), 0.0)
    rows, columns = rows + top, columns + left
    box = (
        float(columns.min()),
        float(rows.min()),
        float(columns.max() + 1),
        float(rows.max() + 1),
    )
    centre = (x, y) if visible > 0.9 else (columns.mean() + 0.5, rows.mean() + 0.5)
    # A crescent's centroid lies outside it: take the visible pixel nearest to it.
    nearest = int(np.argmin((columns + 0.5 - centre[0]) ** 2 + (rows + 0.5 - centre[1]) ** 2))
    pixel = (columns[nearest], rows[nearest])
    on_it = abs(pixel[0] + 0.5 - centre[0]) <= 0.5 and abs(pixel[1] + 0.5 - centre[1]) <= 0.5
    point = centre if on_it else (pixel[0] + 0.5, pixel[1] + 0.5)
    return Thing(plan.kind, plan.colour, (float(point[0]), float(point[1])), box, visible)
