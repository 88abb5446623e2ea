"""Pages as a function of one integer, drawn by Pillow: rows of controls under a bar, in one or two columns, or a dialog."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from molmo_point.errors import UsageError
from molmo_point.synthetic.pages import control_rows, text_rows
from molmo_point.synthetic.pages.canvas import Box, PageCanvas
from molmo_point.synthetic.pages.labels import Words
from molmo_point.synthetic.pages.painter import PagePainter
from molmo_point.synthetic.pages.themes import draw_theme
from molmo_point.synthetic.scenes.augment import corrupt_image
from molmo_point.synthetic.scenes.scene import Scene
from molmo_point.synthetic.splits import is_held_out


@dataclass(frozen=True)
class PageStyle:
    """A style of pages.

    Attributes:
        sizes: (width, height) pairs in pixels, drawn with equal chance.
        text: Smallest and largest running text in pixels.
        words: Set of words; "training" becomes "known" for held-out seeds.
        unseen: Whether held-out pages use fonts, icons and a family of themes that training never uses.
        chromium: Render training pages by Chromium, ten times slower than by Pillow, with the text rendering that users see.
        mosaic: Blocks of different themes crowded with text instead of pages: reading is learned fastest from them.
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
    """Return the set of words of a page; held-out pages have none of training's made-up words.

    Raises:
        UsageError: A training page with words of evaluation.
    """
    if not held_out and style.words != "training":
        raise UsageError(
            f"words of evaluation ({style.words!r}) are used on held-out pages only: expected words='training'"
        )
    return "known" if held_out and style.words == "training" else style.words


def draw_page(seed: int, style: PageStyle) -> Scene:
    """Draw the page of a seed. The same seed and style always give the same page where the same fonts are installed.

    Args:
        seed: From `training_seed` or `held_out_seed`; only the latter gives held-out fonts, icons and themes.
    """
    held_out = is_held_out(seed)
    rng = np.random.default_rng(seed)
    width, height = style.sizes[int(rng.integers(len(style.sizes)))]
    unseen = held_out and style.unseen
    words = written_words(style, held_out)
    theme = draw_theme(rng, style.text, unseen)
    painter = PagePainter(PageCanvas(width, height, theme), rng, words, unseen)
    if style.mosaic:
        _mosaic(painter, style)
    else:
        _page(painter)
    canvas = painter.canvas
    pixels = np.asarray(canvas.image)
    if rng.random() < 0.2:
        pixels = corrupt_image(pixels, rng)
    return Scene(
        seed,
        np.ascontiguousarray(pixels),
        tuple(canvas.things),
        canvas.owner,
        canvas.letters(),
        tuple(canvas.writings),
    )


def _page(painter: PagePainter) -> None:
    """Choose the layout and fill it."""
    canvas, rng, theme = painter.canvas, painter.rng, painter.canvas.theme
    edge = round(rng.uniform(4, 16))
    left, right = float(edge), float(canvas.width - edge)
    top, bottom = float(edge), canvas.height - 2.0
    draw = rng.random()
    if draw < 0.3:
        top = text_rows.bar(painter) + round(theme.size * 0.6)
    elif draw < 0.5:
        inset = round(rng.uniform(0.02, 0.1) * canvas.width)
        canvas.draw_box(
            (inset, inset, canvas.width - inset, canvas.height - inset),
            theme.panel,
            theme.line,
            theme.radius,
        )
        left, top, right = left + inset, top + inset, right - inset
        bottom = canvas.height - inset - 4
    if right - left > 22 * theme.size and rng.random() < 0.5:
        middle = left + (right - left) * rng.uniform(0.3, 0.6)
        _column(painter, left, top, middle - edge, bottom)
        left = middle
    _column(painter, left, top, right, bottom)


def _mosaic(painter: PagePainter, style: PageStyle) -> None:
    """Cut the canvas into blocks, each with its own theme, and fill them densely with text."""
    canvas, rng = painter.canvas, painter.rng
    tops = np.linspace(0, canvas.height, 1 + int(rng.integers(2, 5)))
    for top, bottom in itertools.pairwise(tops):
        lefts = np.linspace(0, canvas.width, 1 + int(rng.integers(1, 3)))
        for left, right in itertools.pairwise(lefts):
            canvas.theme = draw_theme(rng, style.text, painter.unseen)
            canvas.draw_box((left, top, right, bottom), canvas.theme.ground, None)
            _crowd(painter, float(left), float(top), float(right), float(bottom))


def _crowd(painter: PagePainter, left: float, top: float, right: float, bottom: float) -> None:
    """Fill a block with lines of text controls, and a few other rows between them."""
    canvas, rng = painter.canvas, painter.rng
    top += float(rng.uniform(0, 6))
    while top + canvas.theme.size * 1.3 < bottom:
        if rng.random() < 0.25:
            row = _random_row(rng)
            below = row(painter, (left + 2, top, right - 2, bottom))
        else:
            indent = float(rng.uniform(0, 16))
            below = text_rows.words(painter, (left + indent, top, right, bottom))
        top = top + 3 if below is None else below + float(rng.uniform(0, 3))


def _column(painter: PagePainter, left: float, top: float, right: float, bottom: float) -> None:
    """Fill a column with rows until it is full."""
    gap = painter.canvas.theme.size * painter.rng.uniform(0.3, 1.1)
    for _ in range(40):
        if top + painter.canvas.theme.size * 1.5 > bottom:
            return
        row = _random_row(painter.rng)
        below = row(painter, (left, top, right, bottom))
        if below is not None:
            top = below + gap


Row = Callable[[PagePainter, Box], "float | None"]

ROWS: dict[Row, float] = {
    text_rows.heading: 1.0,
    text_rows.paragraph: 1.3,
    control_rows.field_row: 2.6,
    control_rows.buttons: 3.0,
    text_rows.links: 2.2,
    control_rows.checks: 2.2,
    control_rows.tabs: 1.0,
    control_rows.menu: 1.2,
    control_rows.dropdown: 1.0,
    control_rows.switch: 0.8,
    control_rows.icons: 1.2,
}
"""Each kind of row and its weight."""


def _random_row(rng: np.random.Generator) -> Row:
    weights = np.array(list(ROWS.values()))
    return tuple(ROWS)[int(rng.choice(len(ROWS), p=weights / weights.sum()))]
