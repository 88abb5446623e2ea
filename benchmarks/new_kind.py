"""Labelled images of a kind of thing that the synthetic worlds do not have: a fidget spinner, among things that they have."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from molmo_point.synthetic.scenes.questions import QuestionStyle, draw_questions
from molmo_point.synthetic.scenes.scene import NOTHING, Scene, Style, draw_scene
from molmo_point.synthetic.splits import held_out_seed, training_seed

NAMES = ("spinner", "spinners")
COLOURS = ((200, 60, 60), (60, 110, 200), (60, 160, 90), (230, 190, 60))
STYLE = Style(sizes=((224, 224),), things=(0, 4), scale=(0.14, 0.34))
SHARE = 0.7
"""Images that show the new kind."""

Spot = tuple[float, float, tuple[float, float, float, float]]
"""x, y of the centre and the box, in pixels."""


def spinner(rgb: tuple[int, int, int], side: int) -> Image.Image:
    """Draw a fidget spinner: three lobes with bearings around a cap."""
    image = Image.new("RGBA", (512, 512), (*rgb, 0))
    draw = ImageDraw.Draw(image)

    def disc(x: float, y: float, radius: float, colour: tuple[int, int, int]) -> None:
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=(*colour, 255))

    turns = [math.tau * k / 3 - math.pi / 2 for k in range(3)]
    lobes = [(256 + 150 * math.cos(turn), 280 + 150 * math.sin(turn)) for turn in turns]
    for lobe in lobes:
        draw.line([(256, 280), lobe], fill=(*rgb, 255), width=116)
    for x, y in lobes:
        disc(x, y, 90, rgb)
        disc(x, y, 58, (70, 72, 78))
        disc(x, y, 32, (190, 194, 200))
    disc(256, 280, 84, rgb)
    disc(256, 280, 60, (235, 236, 240))
    return image.resize((side, side), Image.Resampling.LANCZOS)


def add_spinners(scene: Scene, rng: np.random.Generator) -> tuple[Image.Image, list[Spot]]:
    """Paste spinners where nothing else is; return the image, and where they are."""
    image = Image.fromarray(scene.image)
    taken = scene.owner != NOTHING
    height, width = taken.shape
    spots: list[Spot] = []
    wanted = int(rng.integers(1, 4)) if rng.random() < SHARE else 0
    for _ in range(12 * wanted):
        side = int(rng.uniform(0.16, 0.34) * width)
        left, top = int(rng.integers(width - side)), int(rng.integers(height - side))
        if len(spots) == wanted or taken[top : top + side, left : left + side].any():
            continue
        drawn = spinner(COLOURS[int(rng.integers(len(COLOURS)))], side)
        drawn = drawn.rotate(float(rng.uniform(0, 120)), Image.Resampling.BILINEAR)
        image.paste(drawn, (left, top), drawn)
        taken[top : top + side, left : left + side] = True
        box = (float(left), float(top), float(left + side), float(top + side))
        spots.append((left + side / 2, top + side / 2, box))
    return image, spots


def write_labels(folder: Path, images: int, *, held_out: bool) -> Path:
    """Write labelled images; return the JSON Lines.

    Args:
        held_out: Evaluation images, with the one question about the new kind; training images also have up to five
            questions about what else they show, or do not, as somebody would label them completely.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines: list[dict[str, Any]] = []
    for index in range(images):
        seed = held_out_seed(5_000_000 + index) if held_out else training_seed(7, "spinner", index)
        scene = draw_scene(seed, STYLE)
        rng = np.random.default_rng([seed, 9])
        image, spots = add_spinners(scene, rng)
        name = f"{index:03d}.png"
        image.save(folder / name)
        query = NAMES[int(rng.integers(2))]
        places, boxes = [spot[:2] for spot in spots], [spot[2] for spot in spots]
        lines.append(_line(name, query, "point", places, boxes))
        if not held_out:
            lines += _questions(name, scene, rng, 5)
    return _write(folder, lines)


def write_rehearsal(folder: Path, images: int) -> Path:
    """Write labelled images of what nano knows, drawn as in its training; return the JSON Lines."""
    folder.mkdir(parents=True, exist_ok=True)
    lines: list[dict[str, Any]] = []
    for index in range(images):
        seed = training_seed(7, "rehearsal", index)
        scene = draw_scene(seed, Style(things=(1, 9), scale=(0.14, 0.38)))
        name = f"{index:03d}.png"
        Image.fromarray(scene.image).save(folder / name)
        rng = np.random.default_rng([seed, 9])
        lines += _questions(name, scene, rng, 8)
    return _write(folder, lines)


def _questions(
    name: str, scene: Scene, rng: np.random.Generator, most: int
) -> list[dict[str, Any]]:
    """Return lines about what a scene shows and does not show."""
    lines = []
    for question in draw_questions(scene, rng, most, QuestionStyle(plain=1.0, relations=0.0)):
        things = [scene.things[target] for target in question.targets]
        lines.append(
            _line(
                name,
                question.query.removeprefix("the "),
                question.mode,
                [thing.point for thing in things],
                [thing.box for thing in things],
            )
        )
    return lines


def _line(name: str, query: str, mode: str, points: Any, boxes: Any) -> dict[str, Any]:
    return {"image": name, "query": query, "mode": mode, "points": points, "boxes": boxes}


def _write(folder: Path, lines: list[dict[str, Any]]) -> Path:
    path = folder / "labels.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path
