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
        asked = [(query, "point", [spot[:2] for spot in spots], [spot[2] for spot in spots])]
        if not held_out:
            for question in draw_questions(scene, rng, 5, QuestionStyle(plain=1.0, relations=0.0)):
                things = [scene.things[target] for target in question.targets]
                query = question.query.removeprefix("the ")
                places = [thing.point for thing in things]
                asked.append((query, question.mode, places, [thing.box for thing in things]))
        lines += [
            {"image": name, "query": words, "mode": mode, "points": points, "boxes": boxes}
            for words, mode, points, boxes in asked
        ]
    path = folder / "labels.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path
