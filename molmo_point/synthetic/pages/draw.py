"""A page from one integer, drawn by Pillow: rows of controls under a bar, in one column or two, or a dialog."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from molmo_point.errors import UsageError
from molmo_point.synthetic.pages import components as rows
from molmo_point.synthetic.pages.labels import Words
from molmo_point.synthetic.pages.pen import PagePainter
from molmo_point.synthetic.pages.sheet import PageCanvas
from molmo_point.synthetic.pages.themes import draw_look
from molmo_point.synthetic.scenes.augment import corrupt_image
from molmo_point.synthetic.scenes.scene import Scene
from molmo_point.synthetic.splits import is_held_out


@dataclass(frozen=True)
class PageStyle:
    """What kind of pages to draw.

    Attributes:
        sizes: (width, height) pairs in pixels, drawn with equal chance.
        text: Smallest and largest running text in pixels.
        words: Which words are written; "training" is turned into "known" for held-out seeds.
        unseen: Whether held-out pages have fonts, icons and a family of styles that training never draws.
        chromium: Training pages are rendered by Chromium, ten times slower than Pillow draws, and with letters as users see them.
        mosaic: No pages, but blocks of different looks crowded with text: what reading is learned from fastest.
    """

    sizes: tuple[tuple[int, int], ...] = ((224, 224), (224, 168), (168, 224))
    text: tuple[int, int] = (10, 22)
    words: Words = "training"
    unseen: bool = True
    mosaic: bool = False
    chromium: bool = False

    def __post_init__(self) -> None:
        fits = (
            self.sizes
            and all(min(size) >= 64 for size in self.sizes)
            and 6 <= self.text[0] <= self.text[1]
        )
        if not fits:
            raise UsageError(
                f"expected sizes of at least 64x64 and text (6 <= smallest <= largest), got {self}"
            )


def written_words(style: PageStyle, held_out: bool) -> Words:
    """Return which words a page has: no held-out page has training's made-up words.

    Raises:
        UsageError: A training page with words of evaluation.
    """
    if not held_out and style.words != "training":
        raise UsageError(
            f"words of evaluation ({style.words!r}) are drawn on held-out pages only: expected words='training'"
        )
    return "known" if held_out and style.words == "training" else style.words


def draw_page(seed: int, style: PageStyle) -> Scene:
    """Draw the page of a seed. The same seed and style always give the same page where the same fonts are installed.

    Args:
        seed: From `training_seed` or `held_out_seed`: what is kept for evaluation comes with the latter only.
    """
    held_out = is_held_out(seed)
    rng = np.random.default_rng(seed)
    width, height = style.sizes[int(rng.integers(len(style.sizes)))]
    unseen = held_out and style.unseen
    words = written_words(style, held_out)
    look = draw_look(rng, style.text, unseen)
    pen = PagePainter(PageCanvas(width, height, look), rng, words, unseen)
    if style.mosaic:
        _mosaic(pen, style)
    else:
        _page(pen)
    sheet = pen.sheet
    pixels = np.asarray(sheet.image)
    if rng.random() < 0.2:
        pixels = corrupt_image(pixels, rng)
    return Scene(
        seed,
        np.ascontiguousarray(pixels),
        tuple(sheet.things),
        sheet.owner,
        sheet.letters(),
        tuple(sheet.writings),
    )


def _page(pen: PagePainter) -> None:
    """Choose the layout and fill it."""
    sheet, rng, look = pen.sheet, pen.rng, pen.sheet.look
    edge = round(rng.uniform(4, 16))
    left, right = float(edge), float(sheet.width - edge)
    top, bottom = float(edge), sheet.height - 2.0
    draw = rng.random()
    if draw < 0.3:
        top = rows.bar(pen) + round(look.size * 0.6)
    elif draw < 0.5:
        inset = round(rng.uniform(0.02, 0.1) * sheet.width)
        sheet.plate(
            (inset, inset, sheet.width - inset, sheet.height - inset),
            look.panel,
            look.line,
            look.radius,
        )
        left, top, right = left + inset, top + inset, right - inset
        bottom = sheet.height - inset - 4
    if right - left > 22 * look.size and rng.random() < 0.5:
        middle = left + (right - left) * rng.uniform(0.3, 0.6)
        _column(pen, left, top, middle - edge, bottom)
        left = middle
    _column(pen, left, top, right, bottom)


def _mosaic(pen: PagePainter, style: PageStyle) -> None:
    """Cut the sheet into blocks, each with a look of its own, and crowd them with text."""
    sheet, rng = pen.sheet, pen.rng
    tops = np.linspace(0, sheet.height, 1 + int(rng.integers(2, 5)))
    for top, bottom in itertools.pairwise(tops):
        lefts = np.linspace(0, sheet.width, 1 + int(rng.integers(1, 3)))
        for left, right in itertools.pairwise(lefts):
            sheet.look = draw_look(rng, style.text, pen.unseen)
            sheet.plate((left, top, right, bottom), sheet.look.ground, None)
            _crowd(pen, float(left), float(top), float(right), float(bottom))


def _crowd(pen: PagePainter, left: float, top: float, right: float, bottom: float) -> None:
    """Fill a block with lines of controls that are nothing but text, and a few others between them."""
    sheet, rng = pen.sheet, pen.rng
    top += float(rng.uniform(0, 6))
    while top + sheet.look.size * 1.3 < bottom:
        if rng.random() < 0.25:
            row = _kinds_of_rows()[int(rng.choice(len(WEIGHTS), p=_shares()))]
            below = row(pen, left + 2, top, right - 2, bottom)
        else:
            below = rows.words(pen, left + float(rng.uniform(0, 16)), top, right, bottom)
        top = top + 3 if below is None else below + float(rng.uniform(0, 3))


def _column(pen: PagePainter, left: float, top: float, right: float, bottom: float) -> None:
    """Fill a column with rows until it is full."""
    gap = pen.sheet.look.size * pen.rng.uniform(0.3, 1.1)
    for _ in range(40):
        if top + pen.sheet.look.size * 1.5 > bottom:
            return
        row = _kinds_of_rows()[int(pen.rng.choice(len(WEIGHTS), p=_shares()))]
        below = row(pen, left, top, right, bottom)
        if below is not None:
            top = below + gap


WEIGHTS: dict[str, float] = {
    "heading": 1.0,
    "paragraph": 1.3,
    "field_row": 2.6,
    "buttons": 3.0,
    "links": 2.2,
    "ticks": 2.2,
    "tabs": 1.0,
    "menu": 1.2,
    "dropdown": 1.0,
    "switch": 0.8,
    "signs": 1.2,
}
"""How often each row is drawn."""


@functools.cache
def _shares() -> tuple[float, ...]:
    total = sum(WEIGHTS.values())
    return tuple(weight / total for weight in WEIGHTS.values())


Row = Callable[[PagePainter, float, float, float, float], "float | None"]


@functools.cache
def _kinds_of_rows() -> tuple[Row, ...]:
    return tuple(getattr(rows, name) for name in WEIGHTS)
