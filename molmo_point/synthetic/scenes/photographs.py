"""Photographs of a folder as scenes without things, for questions about what is not in them.

A model that has seen drawings alone takes a photograph of a cup for the nearest drawing. The photographs are the user's, are read
where they are, and are no part of what is trained.
"""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from molmo_point.errors import ImageError, UsageError
from molmo_point.synthetic.scenes.questions import Question, QuestionStyle, draw_questions
from molmo_point.synthetic.scenes.scene import NOTHING, Scene
from molmo_point.synthetic.splits import is_held_out

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
HELD_OUT_SHARE = 8
"""One photograph in HELD_OUT_SHARE, by a hash of its name, is for evaluation only."""

SMALLEST_WINDOW = 0.4
"""Smallest share of a photograph's side that is cut out."""


@dataclass(frozen=True)
class PhotographStyle:
    """Photographs in a mixture.

    Attributes:
        folder: Searched with its folders for JPEG, PNG and WebP files.
        sizes: (width, height) pairs in pixels, drawn with equal chance.
    """

    folder: str
    sizes: tuple[tuple[int, int], ...] = ((224, 224), (320, 240), (240, 320), (640, 480))

    def __post_init__(self) -> None:
        if not self.sizes or min(min(size) for size in self.sizes) < 32:
            raise UsageError(f"expected sizes of at least 32x32, got {self.sizes}")


def draw_photograph(seed: int, style: PhotographStyle) -> Scene:
    """Return a window of a photograph, sometimes mirrored, without things.

    Raises:
        UsageError: The folder holds too few photographs.
        ImageError: The file is no image.
    """
    path = _file(seed, style)
    rng = np.random.default_rng([seed, 3])
    width, height = style.sizes[int(rng.integers(len(style.sizes)))]
    try:
        with Image.open(path) as file:
            photograph = file.convert("RGB")
    except (OSError, UnidentifiedImageError) as error:
        raise ImageError(f"{path} cannot be read as an image: {error}") from error
    scale = rng.uniform(SMALLEST_WINDOW, 1) * min(
        photograph.width / width, photograph.height / height
    )
    w, h = width * scale, height * scale
    left, top = rng.uniform(0, photograph.width - w), rng.uniform(0, photograph.height - h)
    window = photograph.resize(
        (width, height), Image.Resampling.LANCZOS, box=(left, top, left + w, top + h)
    )
    image = np.asarray(window)
    if rng.random() < 0.5:
        image = np.ascontiguousarray(image[:, ::-1])
    return Scene(seed, image, (), np.full((height, width), NOTHING, np.int16))


def absent_questions(
    scene: Scene,
    rng: np.random.Generator,
    count: int,
    asked: QuestionStyle,
    style: PhotographStyle,
) -> list[Question]:
    """Draw questions about what a photograph does not show: any kind but those that its path names.

    What it shows is not known; of some hundred kinds a photograph hardly ever shows the one that is drawn.
    """
    path = _file(scene.seed, style)
    named = _words(str(path.relative_to(style.folder)))
    return [
        question
        for question in draw_questions(scene, rng, count, asked)
        if not named & _words(question.query)
    ]


def _words(text: str) -> set[str]:
    return {word.removesuffix("s") for word in re.findall(r"[a-z]{3,}", text.lower())}


def _file(seed: int, style: PhotographStyle) -> Path:
    """Return the file of a photograph."""
    files = _files(style.folder, is_held_out(seed))
    if not files:
        raise UsageError(
            f"expected a folder with at least a few dozen photographs ({', '.join(SUFFIXES)}), got {style.folder}"
        )
    return files[int(np.random.default_rng([seed, 4]).integers(len(files)))]


@functools.cache
def _files(folder: str, held_out: bool) -> tuple[Path, ...]:
    found = (p for p in sorted(Path(folder).rglob("*")) if p.suffix.lower() in SUFFIXES)
    return tuple(path for path in found if _kept_for_evaluation(path) == held_out)


def _kept_for_evaluation(path: Path) -> bool:
    return hashlib.blake2b(path.name.encode(), digest_size=1).digest()[0] % HELD_OUT_SHARE == 0
