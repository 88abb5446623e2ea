"""The held-out test sets ("worlds") of `molmo-point eval`: scenes of things, and pages rendered by Chromium."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from molmo_point.errors import UsageError

if TYPE_CHECKING:
    from molmo_point.examples import Example
    from molmo_point.synthetic.pages.draw import PageStyle
    from molmo_point.synthetic.pages.labels import Words
    from molmo_point.synthetic.scenes.questions import Question, QuestionStyle
    from molmo_point.synthetic.scenes.scene import Scene, Style

logger = logging.getLogger(__name__)

SMALL = ((224, 224), (320, 240), (240, 320), (336, 336))
FIRST_PAGE = 1 << 20
"""Number of the first page: seeds of pages follow those of scenes."""


@dataclass(frozen=True)
class Pages:
    """A test set of pages.

    Attributes:
        words: "known" labels, or words "unseen" in training.
        sizes: Viewports.
        text: Smallest and largest text in pixels.
        icons: Ask for icons only.
    """

    words: Words
    sizes: tuple[tuple[int, int], ...]
    text: tuple[int, int]
    icons: bool = False


PAGES = {
    "pages": Pages("known", SMALL, (10, 24)),
    "pages-unseen": Pages("unseen", SMALL, (10, 24)),
    "pages-640": Pages("known", ((640, 480),), (10, 24)),
    "pages-1280": Pages("known", ((1280, 800),), (12, 24)),
    "icons": Pages("known", SMALL, (10, 24), icons=True),
}
CROWDS: dict[str, tuple[tuple[int, int], tuple[float, float], float, tuple[int, int] | None]] = {
    "counting": ((1, 16), (0.07, 0.2), 0.8, None),
    "crowds": ((16, 40), (0.05, 0.1), 0.95, None),
    "crowds-120": ((41, 120), (0.03, 0.06), 0.98, (640, 480)),
    "crowds-400": ((121, 400), (0.018, 0.032), 0.99, (1280, 960)),
}
"""Test sets of counting: (fewest, most) things, (smallest, largest) as a share of the image's longer side, the probability that
another thing is of a kind already present, and the image's size where it is not that of the other test sets."""

FOR_TILES = ("crowds-120", "crowds-400")
"""Test sets that no model counts in one look: measured with tiles (`python -m benchmarks.counting`)."""

SCENES = ("scenes", "things", "counting", "crowds")
WORLDS = (*SCENES, *PAGES)


def world_examples(
    world: str,
    first: int,
    images: int,
    questions: int,
    style: Style,
    *,
    fallback: bool = False,
) -> Generator[Example]:
    """Render the images of a test set and yield questions about them.

    Args:
        world: One of WORLDS or FOR_TILES. "scenes" draws `style`; "things" all kinds there are; "counting" 1 to 15 small things
            of few kinds, "crowds" up to 40 smaller ones, "crowds-120" and "crowds-400" as many still smaller ones.
        first: Number of the first image; image n is always the same where the same fonts and Chromium are installed.
        images: Number of images.
        questions: At most this many about each.
        style: What "scenes" draws.
        fallback: See `page_examples`.

    Raises:
        UsageError: There is no such test set.
        BrowserFailed: Pages need Chromium.
    """
    from molmo_point.synthetic.scenes.questions import QuestionStyle
    from molmo_point.synthetic.scenes.scene import Style as SceneStyle

    # The wording of the commands; training has others, too.
    plain = QuestionStyle(plain=1.0)
    if world == "scenes":
        return scene_examples(first, images, questions, style)
    if world == "things":
        every = SceneStyle(things=(1, 9), scale=(0.14, 0.38))
        return scene_examples(first, images, questions, every, plain)
    if world in CROWDS:
        things, scale, repeat, size = CROWDS[world]
        crowd = replace(style, things=things, scale=scale, repeat=repeat, crowding=0.85)
        most = max(40, things[1])
        counts = replace(plain, counting=1.0, absent=0.1, most=most, relations=0.0)
        return scene_examples(first, images, questions, crowd, counts, size)
    if world in PAGES:
        return page_examples(first, images, questions, PAGES[world], fallback=fallback)
    raise UsageError(f"no test set is called {world!r}: expected one of {', '.join(WORLDS)}")


def count_images(examples: Iterable[Example], tell: Callable[[int], object]) -> Iterator[Example]:
    """Yield the examples; before each, report how many images are finished."""
    done, image = 0, None
    for example in examples:
        if image is not None and example.image is not image:
            done += 1
        image = example.image
        tell(done)
        yield example
    tell(done + (image is not None))


def scene_examples(
    first: int,
    images: int,
    questions: int,
    style: Style,
    asked: QuestionStyle | None = None,
    size: tuple[int, int] | None = None,
) -> Generator[Example]:
    """Render held-out scenes and yield questions about them.

    Args:
        first: Number of the first scene; scene n is always the same.
        images: Number of scenes; every third has 640x480 pixels, the others 320x240.
        questions: At most this many about each.
        style: What is drawn; its sizes are not used.
        asked: How questions are drawn; None = in the wording of the commands, without positions and sizes.
        size: (width, height) of all images instead.
    """
    import numpy as np

    from molmo_point.synthetic.scenes.questions import QuestionStyle, draw_questions
    from molmo_point.synthetic.scenes.scene import draw_scene
    from molmo_point.synthetic.splits import held_out_seed

    asked = asked or QuestionStyle(plain=1.0, relations=0.0)
    for index in range(first, first + images):
        own = size or ((640, 480) if index % 3 == 2 else (320, 240))
        scene = draw_scene(held_out_seed(index), replace(style, sizes=(own,)))
        rng = np.random.default_rng([scene.seed, 2, 0])
        for question in draw_questions(scene, rng, questions, asked):
            yield _example(scene, question)


def page_examples(
    first: int, images: int, questions: int, pages: Pages, *, fallback: bool = False
) -> Generator[Example]:
    """Render held-out pages, with fonts, themes and icons that training never uses, and yield questions about them.

    Args:
        fallback: Draw the pages with Pillow where Chromium is not available.

    Raises:
        BrowserFailed: There is no Chromium, and `fallback` is off.
        MissingExtra: The same for playwright.
    """
    import numpy as np

    from molmo_point.synthetic.pages.draw import PageStyle
    from molmo_point.synthetic.pages.questions import PageQuestions, draw_page_questions
    from molmo_point.synthetic.splits import held_out_seed

    style = PageStyle(sizes=pages.sizes, text=pages.text, words=pages.words)
    plain = PageQuestions(plain=1.0)
    # Few controls are icons: draw many questions, and keep those about icons.
    count = 40 if pages.icons else questions
    with _page_renderer(fallback) as draw:
        for index in range(first, first + images):
            page = draw(held_out_seed(FIRST_PAGE + index), style)
            rng = np.random.default_rng([page.seed, 2, 0])
            drawn = draw_page_questions(page, rng, count, plain, pages.words)
            if pages.icons:
                drawn = [question for question in drawn if question.form == "icon"][:questions]
            for question in drawn:
                yield _example(page, question)


@contextmanager
def _page_renderer(fallback: bool) -> Iterator[Callable[[int, PageStyle], Scene]]:
    """Yield the function that renders a page: by Chromium, or by Pillow where there is none and `fallback` is on."""
    from molmo_point.errors import MissingExtra
    from molmo_point.synthetic.pages.browser import BrowserFailed, PageBrowser
    from molmo_point.synthetic.pages.draw import draw_page

    with ExitStack() as stack:
        try:
            draw = stack.enter_context(PageBrowser()).draw
        except (BrowserFailed, MissingExtra) as error:
            if not fallback:
                raise
            logger.warning("pages are drawn by Pillow instead of Chromium: %s", error)
            draw = draw_page
        yield draw


def _example(scene: Scene, question: Question) -> Example:
    from molmo_point.examples import Example, Mask

    height, width = scene.image.shape[:2]
    places = {target: scene.things[target].point for target in question.targets}
    return Example(
        image=scene.image,
        query=question.query,
        regions=[
            Mask(scene.region(target), (x / width, y / height))
            for target, (x, y) in places.items()
        ],
        mode=question.mode,
        group=f"{question.form}, {question.mode}",
    )
