"""Summaries of a model's own images and of foreign ones, with answers to questions about what is not in the foreign ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from molmo_point.engine.domain import Vectors
from molmo_point.engine.local import LocalPointer
from molmo_point.errors import UsageError
from molmo_point.evaluate.fit_domain import DomainSamples, ForeignAnswer
from molmo_point.evaluate.score_quality import collect
from molmo_point.examples import Example
from molmo_point.images import Array, load_image

ABSENT = (
    "jack-o-lantern", "floppy disk", "yo-yo", "boxing glove", "clapper board", "flying saucer", "table tennis paddle",
    "fried egg", "game controller", "piano keyboard", "teddy bear", "ferris wheel", "panda", "octopus", "snowman", "save button",
    "search field", "check box", "submit button", "volume slider",
)  # fmt: skip
"""Things that hardly any photograph shows; those in a name of the file are not asked about."""

PARTS = 2
"""Parts cut out of each foreign image, so that few images teach more."""

PART_SIDE = (0.4, 0.8)
"""Smallest and largest side of a part, as a share of the image's."""

LONGEST = (320, 480, 640)
"""Longer side in pixels of what is looked at, drawn for each: sizes must not tell foreign images."""


def collect_domain(
    pointer: LocalPointer,
    own: Iterable[Example],
    foreign: Sequence[str],
    questions: int,
    tell: Callable[[], object] = lambda: None,
) -> DomainSamples:
    """Look at all images, and ask about the foreign ones.

    Args:
        pointer: Without calibration.
        own: Each distinct image is looked at once; it may have several examples, side by side.
        foreign: Files.
        questions: About each foreign image.
        tell: Called after each image.

    Raises:
        ImageError: A foreign file is no image.
    """
    summaries: list[Vectors] = []
    last = None
    for example in own:
        if example.image is not last:
            last = example.image
            summaries.append(_summary(pointer, load_image(example.image)))
            tell()
    parts: list[Vectors] = []
    sources: list[int] = []
    answers: list[ForeignAnswer] = []
    for number, path in enumerate(foreign):
        rng = np.random.default_rng([number, 7])
        whole, *others = cut_parts(load_image(path), rng)
        for query in _absent(path, rng, questions):
            asked = collect(pointer, [Example(whole, query, [])])
            answers.append(ForeignAnswer(len(parts), asked.points))
        parts += [_summary(pointer, image) for image in (whole, *others)]
        sources += [number] * (1 + len(others))
        tell()
    if not summaries or not parts:
        raise UsageError("expected own and foreign images, got none of one kind")
    return DomainSamples(np.stack(summaries), np.stack(parts), sources, answers)


def cut_parts(image: Array, rng: np.random.Generator) -> list[Array]:
    """Return the image and PARTS parts of it, each scaled to one of the sides of LONGEST."""
    from PIL import Image

    height, width = image.shape[:2]
    boxes = [(0, 0, width, height)]
    for _ in range(PARTS):
        share = rng.uniform(*PART_SIDE)
        w, h = max(1, int(width * share)), max(1, int(height * share))
        left, top = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
        boxes.append((left, top, left + w, top + h))
    found = []
    for box in boxes:
        part = Image.fromarray(image).crop(box)
        scale = float(rng.choice(LONGEST)) / max(part.size)
        size = (max(1, round(part.width * scale)), max(1, round(part.height * scale)))
        found.append(np.asarray(part.resize(size, Image.Resampling.LANCZOS)))
    return found


def _absent(path: str, rng: np.random.Generator, count: int) -> list[str]:
    name = path.lower()
    queries = [query for query in ABSENT if not any(word in name for word in query.split())]
    return [queries[index] for index in rng.permutation(len(queries))[:count]]


def _summary(pointer: LocalPointer, image: Array) -> Vectors:
    engine = pointer.engine
    return engine.encoder.summary(engine.prepare(image))
